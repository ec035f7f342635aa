"""Each shape of line becomes the request it means, byte for byte, or a rejection that a person understands."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.checks import Expectation
from batchrouter.core.errors import ConfigurationError
from batchrouter.core.options import InputOptions
from batchrouter.core.records import Record, Rejection
from batchrouter.core.settings import Settings
from batchrouter.intake.configuration import default_settings
from batchrouter.intake.lines import Line, line_digest
from batchrouter.intake.parser import LineParser

BATCH = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":%b}'
HI = b'"messages":[{"role":"user","content":"hi"}]'


def parse(data: bytes, options: InputOptions | None = None, settings: Settings | None = None) -> Record | Rejection:
    parser = LineParser(settings or default_settings(), options or InputOptions())
    return parser.parse(Line(7, 70, data, line_digest(data)))


def record(data: bytes, options: InputOptions | None = None, settings: Settings | None = None) -> Record:
    parsed = parse(data, options, settings)
    assert isinstance(parsed, Record), parsed
    return parsed


def configured(**changes: object) -> Settings:
    return Settings.model_validate({**default_settings().model_dump(by_alias=True), **changes})


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (b'{"prompt":"hi"}', b'{"messages":[{"role":"user","content":"hi"}]}'),
        (
            b'{"id": 1, "prompt": "\\u0068i", "system": "s", "seed": 12345678901234567890123}',
            b'{"messages":[{"role":"system","content":"s"},{"role":"user","content":"\\u0068i"}],"seed":12345678901234567890123}',
        ),
        (b'{ %b , "temperature" :0.20, "model":"x" }' % HI, b'{%b,"temperature":0.20}' % HI),
        (
            b'{"system":"s", "messages": [ {"role":"user","content":"hi"} ]}',
            b'{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"} ]}',
        ),
        (BATCH % (b'{"model":"m",%b,"metadata":{"b":1,"a":2}}' % HI), b'{%b,"metadata":{"b":1,"a":2}}' % HI),
        (
            b'{%b,"max_tokens":null,"task":"t","tier":"simple","metadata":{},"expect":{"json":true}}' % HI,
            b"{%b}" % HI,
        ),
        (b'{%b,"\\u0074op_p":1e0}' % HI, b'{%b,"top_p":1e0}' % HI),
    ],
)
def test_body_is_sent_as_it_was_read(line: bytes, body: bytes) -> None:
    assert record(line).request.body == body


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        (b'{"prompt":"hi"}', "line-7"),
        (b'{"id":"x","prompt":"hi"}', "x"),
        (b'{"id":18446744073709551617,"prompt":"hi"}', "18446744073709551617"),
        (b'{"id":1.50,"prompt":"hi"}', "1.50"),
        (BATCH % (b"{%b}" % HI), "a"),
    ],
)
def test_ids_are_kept_as_text(line: bytes, id_: str) -> None:
    assert record(line).id == id_


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "must be a JSON object, not an array"),
        (b'"x"', "not a string"),
        (b'{"prompt":"hi"} x', "column 17: there is more after"),
        (b'{"prompt":"hi"', "column 15: the line ends too early"),
        (b'{"prompt":NaN}', "column 11: NaN is not"),
        (b'{"prompt":-Infinity}', "-Infinity is not"),
        (b'{"prompt":"\\ud800"}', "half of a surrogate pair"),
        (b'{"prompt":"\xff"}', "not valid UTF-8 at byte 12: 0xff"),
        (b'{"prompt":"a","prompt":"b"}', "the key 'prompt' is there twice"),
        (b'{"prompt":"a","pr\\u006fmpt":"b"}', "the key 'prompt' is there twice"),
        (BATCH % (b'{%b,"n":1,"n":2}' % HI), "the key 'n' is there twice in body"),
        (b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}", "nested too deeply"),
        (b'{"x":' + b"[" * 1020 + b"]" * 1020 + b"}", "nested too deeply"),
        (b'{"promt":"a"}', "neither a prompt nor messages, did you mean 'prompt'?"),
        (b'{"product":"a"}', "neither a prompt nor messages; is it a row? Then give --template"),
        (b'{"prompt":""}', "prompt is empty"),
        (b'{"prompt":1}', "prompt must be a string, not a number"),
        (b'{"prompt":"a","messages":[]}', "both a prompt and messages"),
        (b'{"messages":[]}', "messages is empty"),
        (b'{"messages":{}}', "messages must be an array"),
        (b'{"messages":[{"content":"a"}]}', "message 1 needs a role"),
        (b'{"messages":[{"role":"user"}]}', "message 1 has no content"),
        (b'{"messages":[{"role":"user","content":[{"type":"text"}]}]}', "part 1 of message 1 needs its text"),
        (b'{"prompt":"a","stream":true}', "stream"),
        (b'{"prompt":"a","n":0}', "n must be a positive whole number, not 0"),
        (b'{"prompt":"a","max_tokens":1.5}', "max_tokens must be a positive whole number"),
        (b'{"prompt":"a","max_tokens":99999999999999999999}', "max_tokens must be"),
        (b'{"prompt":"a","max_tokens":1,"max_completion_tokens":1}', "mean the same"),
        (b'{"prompt":"a","tier":"simpel"}', "did you mean 'simple'?"),
        (b'{"prompt":"a","id":true}', "id must be a string or a number, not a boolean"),
        (b'{"prompt":"a","expect":{"jsn":true}}', "expect.jsn: there is no such check, did you mean 'json'?"),
        (b'{"prompt":"a","expect":{"regex":"("}}', "expect.regex: is not a regular expression"),
        (b'{"prompt":"a","expect":{"schema":"nofile.json"}}', "expect.schema must be an object or a boolean"),
        (
            b'{"prompt":"a","expect":{"one_of":[1,2],"json":3}}',
            "expect.json must be true or false; expect.one_of must be",
        ),
        (b'{"prompt":"a","expect":{"max_words":1.5}}', "expect.max_words must be a whole number above 0"),
        (b'{"prompt":"a","task":3}', "task must be a string"),
        (b'{"custom_id":"a","prompt":"x"}', "needs a body"),
        (b'{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{}}', "url '/v1/embeddings'"),
        (b'{"custom_id":"a","method":"GET","url":"/v1/chat/completions","body":{}}', "method 'GET'"),
        (BATCH % b"{}", "body has no messages"),
        (BATCH % b"[]", "body must be an object"),
    ],
)
def test_bad_lines_are_rejected_with_a_reason(line: bytes, reason: str) -> None:
    parsed = parse(line)
    assert isinstance(parsed, Rejection)
    assert reason in parsed.reason
    assert (parsed.line, parsed.offset) == (7, 70)


def test_every_check_has_its_words() -> None:
    for name, field in Expectation.model_fields.items():
        check = field.alias or name
        rejected = parse(orjson.dumps({"prompt": "a", "expect": {check: [[]]}}))
        assert isinstance(rejected, Rejection)
        assert rejected.reason.startswith(f"expect.{check} must be ")
        assert ";" not in rejected.reason


def test_rejection_names_the_id_where_it_is_known() -> None:
    assert parse(b'{"id":"x","prompt":1}').id == "x"
    assert parse(BATCH % b"{}").id == "a"
    assert parse(b'{"id":"y","prompt":"a","tier":"nope"}').id == "y"


def test_weight_counts_text_tools_and_schemas_but_not_images() -> None:
    parts = [{"type": "text", "text": "ü?"}, {"type": "image_url", "image_url": {"url": "data:" + "x" * 9000}}]
    line = orjson.dumps(
        {"messages": [{"role": "user", "content": parts}], "tools": [{"a": 1}], "n": 3, "max_tokens": 9}
    )
    request = record(line).request
    assert request.prompt_bytes == 3 + 16 + len(b'[{"a":1}]')
    assert (request.images, request.choices, request.max_output_tokens) == (1, 3, 9)
    assert request.needs == {"tools", "vision"}
    assert {"image", "tools", "n"} <= record(line).text.keys


def test_calls_of_tools_weigh_the_same_with_and_without_an_empty_content() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 5_000}}]
    bare, with_null = (
        {"role": "assistant", "tool_calls": calls},
        {"role": "assistant", "tool_calls": calls, "content": None},
    )
    weights = {record(orjson.dumps({"messages": [message]})).request.prompt_bytes for message in (bare, with_null)}
    assert len(weights) == 1
    assert weights.pop() > 5_000


def test_rules_see_user_text_only() -> None:
    messages = [
        {"role": "system", "content": "debug"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        {"role": "tool", "content": "result"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
    ]
    text = record(orjson.dumps({"messages": messages, "task": "t"})).text
    assert (text.last_user, text.all_user, text.task) == ("two", "one\ntwo", "t")


def test_configuration_fills_in_what_a_record_does_not_name() -> None:
    settings = configured(
        request={"temperature": 0.5, "max_tokens": 50},
        task={"t": {"tier": "complex", "request": {"temperature": 0}, "expect": {"max_words": 3}}},
        expect={"json": True},
    )
    plain = record(b'{"prompt":"a"}', settings=settings)
    assert plain.request.body.endswith(b',"temperature":0.5,"max_tokens":50}')
    assert (plain.request.max_output_tokens, plain.expect, plain.pinned_tier) == (50, b'{"json":true}', None)
    of_task = record(b'{"prompt":"a","task":"t","max_completion_tokens":8}', settings=settings)
    assert of_task.request.body.endswith(b',"max_completion_tokens":8,"temperature":0}')
    assert (of_task.request.max_output_tokens, of_task.expect) == (8, b'{"max_words":3}')
    assert of_task.pinned_tier == "complex"
    own = record(b'{"prompt":"a","task":"t","tier":"simple","expect":{"one_of":["x"]}}', settings=settings)
    assert (own.pinned_tier, own.expect) == ("simple", b'{"one_of":["x"]}')


def test_without_routing_a_record_needs_a_model() -> None:
    options = InputOptions(no_routing=True)
    assert record(b'{"prompt":"a","model":"m"}', options).request.requested_model == "m"
    assert "names no model" in parse(b'{"prompt":"a"}', options).reason  # type: ignore[union-attr]


def test_rows_become_prompts_and_are_kept_as_metadata() -> None:
    options = InputOptions(template="Say {{{name}}} {n} {tags}", system="be brief", id_field="nr", task_field="kind")
    row = b'{"nr": 7, "name": "A \\"b\\"", "n": 1e2, "tags": ["x", 1], "kind": "k", "prompt": "ignored"}'
    parsed = record(row, options)
    assert orjson.loads(parsed.request.body)["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": 'Say {A "b"} 1e2 ["x", 1]'},
    ]
    assert (parsed.id, parsed.task) == ("7", "k")
    assert json.loads(parsed.metadata or b"") == json.loads(row)
    assert "no field 'n'" in parse(b'{"nr":1,"name":"a","kind":null}', options).reason  # type: ignore[union-attr]
    assert "no field 'nr'" in parse(b'{"name":"a"}', options).reason  # type: ignore[union-attr]


def test_defaults_that_fit_no_record_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"request\.messages"):
        LineParser(configured(request={"messages": []}), InputOptions())
    with pytest.raises(ConfigurationError, match="rows"):
        LineParser(default_settings(), InputOptions(system="x"))


@given(st.binary(max_size=200))
def test_any_bytes_make_a_row(data: bytes) -> None:
    assert isinstance(parse(data), Record | Rejection)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=6).map("x_".__add__), JSON, max_size=5), st.sampled_from([None, (",", ":")]))
def test_passed_on_values_are_the_bytes_that_were_read(extra: dict, separators: tuple[str, str] | None) -> None:
    written = json.dumps({"prompt": "hi", **extra}, separators=separators).encode()
    parsed = parse(written)
    if isinstance(parsed, Rejection):
        assert "surrogate" in parsed.reason  # text() makes none, but json.dumps may write halves of none either
        return
    for key, value in extra.items():
        assert json.dumps(key, ensure_ascii=False).encode() + b":" + json.dumps(
            value, separators=separators
        ).encode() in (parsed.request.body)


KEYS = st.sampled_from(['"a"', '"\\u0061"', '"b"', '"a b"', '"\\"a\\":1"', '"x,"'])
VALUES = st.sampled_from(["1", '"a"', '{"a": 1, "a": 2}', '"a\\":1,\\"a"', "[1, 2]", " 1.0 "])


@given(
    st.lists(st.tuples(KEYS, VALUES), max_size=5),
    st.sampled_from([":", ": ", " :"]),
    st.sampled_from([",", ", ", " ,\t"]),
)
def test_a_key_that_is_there_twice_is_always_noticed(members: list, colon: str, comma: str) -> None:
    line = "{" + comma.join(key + colon + value for key, value in [*members, ('"prompt"', '"hi"')]) + "}"
    keys = [json.loads(key) for key, _ in members]
    parsed = parse(line.encode())
    if len(set(keys)) == len(keys):
        assert isinstance(parsed, Record)
    else:
        assert isinstance(parsed, Rejection)
        assert "is there twice" in parsed.reason


@given(
    st.lists(st.tuples(KEYS | st.sampled_from(['"body"', '"metho\\u0064"', '"url"']), VALUES), max_size=2),
    st.lists(st.tuples(KEYS, VALUES), max_size=3),
    st.sampled_from([(",", ":"), (", ", ": "), (",", ": "), (" ,", ":")]),
)
def test_a_key_of_a_batch_line_that_is_there_twice_is_always_noticed(beside: list, inside: list, signs: tuple) -> None:
    comma, colon = signs
    body = "{" + comma.join(key + colon + value for key, value in [*inside, ('"messages"', HI[11:].decode())]) + "}"
    own = [('"custom_id"', '"a"'), ('"method"', '"POST"'), ('"url"', '"/v1/chat/completions"'), ('"body"', body)]
    parsed = parse(("{" + comma.join(key + colon + value for key, value in own + beside) + "}").encode())
    in_line, in_body = [[json.loads(key) for key, _ in members] for members in (own + beside, inside)]
    if len(set(in_line)) < len(in_line):
        assert isinstance(parsed, Rejection)
        assert parsed.reason.endswith("is there twice")
    elif len(set(in_body)) < len(in_body):
        assert isinstance(parsed, Rejection)
        assert parsed.reason.endswith("is there twice in body")
    else:
        assert isinstance(parsed, Record)
        assert all(
            f"{json.dumps(json.loads(key))}:{value.strip()}".encode() in parsed.request.body for key, value in inside
        )
