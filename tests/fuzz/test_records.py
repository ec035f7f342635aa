"""Every line becomes a record or a rejection that a person understands, and what is sent is what was read."""

import json
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.options import InputOptions
from batchrouter.core.records import Record, Rejection
from batchrouter.core.tables import ModelSettings
from batchrouter.gateway.encoding import encode
from batchrouter.intake.configuration import default_settings
from batchrouter.intake.lines import Line, line_digest
from batchrouter.intake.parser import LineParser
from batchrouter.ports import Call
from batchrouter.routing.rules import RuleRouter
from tests.fuzz.writing import HOSTILE_LINES, THOROUGH, json_values, lines

SETTINGS = default_settings()
PARSERS = {
    "plain": LineParser(SETTINGS, InputOptions()),
    "unrouted": LineParser(SETTINGS, InputOptions(no_routing=True)),
    "rows": LineParser(SETTINGS, InputOptions(template="Say {prompt}", id_field="id", task_field="task")),
}
ROUTER = RuleRouter(SETTINGS)


def parsed(line: bytes, parser: str = "plain") -> Record | Rejection:
    return PARSERS[parser].parse(Line(7, 70, line, line_digest(line)))


def check_row(row: Record | Rejection, line: bytes) -> None:
    assert (row.line, row.offset, row.digest) == (7, 70, line_digest(line))
    if isinstance(row, Rejection):
        assert 5 < len(row.reason) <= 300
        assert row.reason.isprintable()
        return
    body = orjson.loads(row.request.body)
    assert body["messages"]
    assert "model" not in body
    assert row.request.prompt_bytes > 0
    assert ROUTER.decide(row.text).tier in SETTINGS.tiers


@THOROUGH
@given(lines, st.sampled_from(sorted(PARSERS)))
def test_every_line_is_a_record_or_a_rejection_with_a_reason(line: bytes, parser: str) -> None:
    check_row(parsed(line, parser), line)


@pytest.mark.parametrize("number", range(len(HOSTILE_LINES)))
@pytest.mark.parametrize("parser", PARSERS)
def test_every_hostile_line_is_one_too(number: int, parser: str) -> None:
    check_row(parsed(HOSTILE_LINES[number], parser), HOSTILE_LINES[number])


def members(text: str) -> Iterator[tuple[str, str]]:
    """The keys of a JSON object and their values as they are written, read by the standard library."""
    decoder, at = json.JSONDecoder(parse_int=str), text.index("{") + 1
    while True:
        key, at = decoder.raw_decode(text, _behind(text, at, " \t\r"))
        begin = _behind(text, _behind(text, at, " \t\r") + 1, " \t\r")
        _, at = decoder.raw_decode(text, begin)
        yield key, text[begin:at]
        at = _behind(text, at, " \t\r")
        if text[at] == "}":
            return
        at += 1


def _behind(text: str, at: int, characters: str) -> int:
    while text[at] in characters:
        at += 1
    return at


RAW_VALUES = [
    "18446744073709551617",
    "-0.0",
    "1E+5",
    "1.10",
    "0.10000000000000000000000000001",
    '"\\u0068\\/\\ud83d\\ude00"',
    '"\u2028\u0085"',
    '[ 1 , {"a" : 1, "a":\t2} ]',
    "{ }",
    "null",
]
space = st.sampled_from(["", " ", "  ", "\t", "\r "])
raw_values = st.sampled_from(RAW_VALUES) | st.builds(
    lambda value, ascii_only: json.dumps(value, ensure_ascii=ascii_only), json_values, st.booleans()
)
raw_keys = st.sampled_from(['"seed"', '"se\\u0065d"', '"temperature"', '"x y"', '"x\\"y"', '"é"', '"\\u00e9"']) | (
    st.text(max_size=4).map(lambda key: json.dumps("x" + key))
)
MESSAGES = '[ {"role":"user", "content" : "a\\u0062" ,"n":1.0} ]'


@st.composite
def written_objects(draw: st.DrawFn, *own: tuple[str, str]) -> tuple[str, list[str]]:
    """An object with its own members and drawn ones, in any order and spacing; and its keys."""
    some = draw(st.permutations([*own, *draw(st.lists(st.tuples(raw_keys, raw_values), max_size=5))]))
    parts = [draw(space) + key + draw(space) + ":" + draw(space) + value + draw(space) for key, value in some]
    return "{" + ",".join(parts) + "}" + draw(space), [json.loads(key) for key, _ in some]


def check_sent(row: Record | Rejection, written: str, keys: list[str], expected_messages: str) -> None:
    """What leaves for the gateway has the bytes, and the order, that were read."""
    if len(set(keys)) < len(keys):
        assert isinstance(row, Rejection)
        assert "is there twice" in row.reason
        return
    assert isinstance(row, Record), row
    kept = [(key, value) for key, value in members(written) if key not in ("prompt", "messages", "model", "id")]
    plain = dict(members(encode(Call("m", row.request.body, 5, cap_is_ours=False), ModelSettings(), "wire").decode()))
    assert plain.pop("model") == '"wire"'
    assert plain.pop("messages") == expected_messages
    assert list(plain.items()) == kept
    dialect = ModelSettings(drop=("temperature",), set={"added": 1})
    changed = dict(members(encode(Call("m", row.request.body, 5, cap_is_ours=True), dialect, "wire").decode()))
    assert {key: changed[key] for key, _ in kept if key != "temperature"} == {
        key: value for key, value in kept if key != "temperature"
    }
    assert "temperature" not in changed


@THOROUGH
@given(written_objects(('"prompt"', '"h\\u0069"'), ('"id"', "1.50")))
def test_a_native_line_is_sent_as_it_was_read(written: tuple[str, list[str]]) -> None:
    line, keys = written
    row = parsed(line.encode())
    check_sent(row, line, keys, '[{"role":"user","content":"h\\u0069"}]')
    assert isinstance(row, Rejection) or row.id == "1.50"


@THOROUGH
@given(written_objects(('"messages"', MESSAGES), ('"model"', '"asked"')))
def test_messages_are_sent_as_they_were_read(written: tuple[str, list[str]]) -> None:
    line, keys = written
    check_sent(parsed(line.encode()), line, keys, MESSAGES)


@THOROUGH
@given(written_objects(('"messages"', MESSAGES), ('"model"', '"asked"')), st.data())
def test_the_body_of_a_batch_line_is_sent_as_it_was_read(written: tuple[str, list[str]], data: st.DataObject) -> None:
    body, keys = written
    own = (('"url"', '"/v1/chat/completions"'), ('"method"', '"POST"'), ('"custom_id"', '"a"'), ('"body"', body))
    parts = [key + data.draw(space) + ":" + data.draw(space) + value for key, value in data.draw(st.permutations(own))]
    row = parsed(("{" + ",".join(parts) + "}").encode())
    check_sent(row, body, keys, MESSAGES)
    assert row.id == "a"
