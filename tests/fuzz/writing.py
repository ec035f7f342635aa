r"""Lines as people, programs and enemies write them: bytes without ``\n``, some of them records, most of them not."""

import json
import random
from pathlib import Path
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from batchrouter.core.errors import InputUnfit
from batchrouter.intake.other_kinds import refuse_other_kinds

SAMPLES = Path(__file__).parents[2] / "sample_inputs"
THOROUGH = settings(max_examples=3 * settings.default.max_examples)
"""For properties that are cheap: 300 examples every time."""

SEPARATORS = "\u2028\u2029\u0085\x0b\x0c\r\x1c\x1d\x1e"
"""What other programs take for the end of a line."""


def deep(levels: int) -> bytes:
    """Arrays within arrays."""
    return b"[" * levels + b"]" * levels


GOOD_LINES = [
    b'{"prompt":"hi"}',
    b'{"id": "a", "prompt": "caf\xc3\xa9", "system": "s", "task": "t", "max_tokens": 5}',
    b'{"messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url"}]}],"tools":[{"a":1}]}',
    b'{"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"hi"}]}}',
    b'{"prompt":"hi","expect":{"regex":"a+","one_of":["x"],"max_words":3},"metadata":{"a":[1,2.50]},"seed":18446744073709551617}',
    f'{{"prompt":"raw {SEPARATORS[:3]} inside"}}'.encode(),
]
HOSTILE_LINES = [
    b'{"prompt":"a","n":%b}' % deep(1020),
    b'{"messages":[{"role":"user","content":"a","x":%b}]}' % deep(300),
    b'{"messages":[{"role":"user","content":[{"type":"x","x":%b}]}]}' % deep(300),
    b'{"prompt":"a","metadata":%b}' % deep(120),
    b'{"prompt":"a","expect":{"regex":"a{99999999999999999999}"}}',
    b'{"prompt":"a","expect":{"regex":"%b"}}' % (b"(" * 2000 + b")" * 2000),
    b'{"prompt":"a","expect":{"max_words":99999999999999999999999999}}',
    b'{"prompt":"a","n":1000000000,"max_tokens":1000000000}',
    b'{"prompt":"a","tier":"%b"}' % (b"x" * 5000),
    b'{"prompt":"a","%b":1,"%b":2}' % (b"k" * 5000, b"k" * 5000),
    b'{"prompt":"a","expect":{%b}}' % b",".join(b'"k%d":1' % n for n in range(2000)),
    b'{"prompt":"a","expect":{"\\u001b[2J":1}}',
    b'{"prompt":"a\\u0000b","id":"\\u0000","task":"\\u0000"}',
    b'{"prompt":"a","id":"\\u001b]0;owned\\u0007","tier":"\\u009b31m"}',
    b'{"prompt":"a","seed":1e400}',
    b'{"prompt":"a","seed":%b}' % (b"9" * 5000),
    b'{"prompt":"\\ud800"}',
    b"\xef\xbb\xbf{}",
    b'{"prompt":"a"}\x00',
    b"\xff\xfe{\x00}\x00",
    b"-",
    b'{"":1}',
    b"\r",
]

_TOKENS = st.sampled_from(
    [*'{}[]:,"\\ \t\r', "null", "true", "-0", "1e9", "NaN", '"prompt"', '"messages"', '"role"', '"body"', "\\ud83d"]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = [
    "id",
    "prompt",
    "messages",
    "system",
    "tier",
    "task",
    "metadata",
    "expect",
    "model",
    "n",
    "stream",
    "max_tokens",
    "custom_id",
    "method",
    "url",
    "body",
]
_objects = st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=4), json_values, max_size=5)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A good line with a few bytes taken out, put in or changed."""
    line = bytearray(draw(st.sampled_from(GOOD_LINES)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        line[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(line)


lines = st.one_of(
    st.sampled_from(GOOD_LINES),
    st.sampled_from(HOSTILE_LINES),
    _damaged(),
    _objects.map(json.dumps).map(str.encode),
    st.lists(_TOKENS, max_size=12).map("".join).map(str.encode),
    st.text(alphabet=SEPARATORS + 'a{}": ', max_size=12).map(str.encode),
    st.binary(max_size=40),
    st.sampled_from([b"", b"  ", b"\t\r", b"\x0b\x0c"]),
).map(lambda line: line.replace(b"\n", b" "))


def _begins_with_a_line(data: bytes) -> bool:
    try:
        refuse_other_kinds(data, "")
    except InputUnfit:
        return False
    return True


files = st.builds(
    lambda parts, ended: b"\n".join(parts) + (b"\n" if ended else b""), st.lists(lines, max_size=12), st.booleans()
).filter(_begins_with_a_line)


class Written(NamedTuple):
    """A line as it stands in a file, without its newline."""

    number: int
    offset: int
    data: bytes


def lines_of(data: bytes) -> list[Written]:
    """What the lines of a file are, blank ones too, found in the simplest way there is."""
    found, offset = [], 0
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces, start=1):
        if piece or number < len(pieces):
            found.append(Written(number, offset, piece))
        offset += len(piece) + 1
    return found


def hostile_file(seed: int, lines_wanted: int) -> bytes:
    """A whole file of good, hostile and damaged lines and of rubbish, the same for the same seed."""
    chance = random.Random(seed)
    samples = [line for path in SAMPLES.glob("*.jsonl") for line in path.read_bytes().split(b"\n")]
    written = []
    for _ in range(lines_wanted):
        line = bytearray(chance.choice(chance.choice([GOOD_LINES, HOSTILE_LINES, samples])))
        if chance.random() < 0.4:
            at = chance.randrange(len(line) + 1)
            line[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
        written.append(bytes(line).replace(b"\n", b" "))
    return b"\n".join(written)
