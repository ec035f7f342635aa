"""A JSON object as its values and as the bytes they were written in.

orjson validates and gives the values, msgspec the span of each top-level value, so that what is sent on is what was
read: big integers, escapes, the order of keys. Neither tells of a key that is there twice, so that is checked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

Spans = dict[str, msgspec.Raw]
_SPANS = msgspec.json.Decoder(Spans)
_NOT_FINITE = re.compile(r"-?(?:NaN|Infinity)")
_SYNTAX = {
    "infinity": "this number is larger than 10³⁰⁸",
    "surrogate": "half of a surrogate pair (\\ud800 to \\udfff) stands alone",
    "after document": "there is more after the end of the object",
    "end of data": "the line ends too early",
}
_KINDS = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}


class BadLine(Exception):
    """Why a line is not a valid record, in words for the person who wrote it; ``id`` where it was readable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.id: str | None = None


def read_object(data: bytes) -> tuple[dict[str, Any], Spans]:
    """The values and the spans of one line. Raises BadLine where it is not one JSON object with each key once."""
    return read_values(data), read_spans(data, "")


def read_values(data: bytes) -> dict[str, Any]:
    """The values of one line, whose keys may be there twice. Raises BadLine where it is not one JSON object."""
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadLine(_syntax_reason(data, error)) from None
    if type(values) is not dict:
        raise BadLine(f"a line must be a JSON object, not {kind_of(values)}")
    return values


def read_spans(data: bytes, where: str) -> Spans:
    """The spans of an object known to be valid JSON. Raises BadLine where a key is there twice (``where``: in what)."""
    try:
        spans = _SPANS.decode(data)
    except (msgspec.DecodeError, RecursionError):
        raise BadLine("not valid JSON: nested too deeply") from None
    if not _is_spelled_out(data, spans):
        repeated = _repeated_key(data)
        if repeated is not None:
            raise BadLine(f"the key {repeated!r} is there twice{where}")
    return spans


def kind_of(value: Any) -> str:
    """What a JSON value is, for a message."""
    return _KINDS.get(type(value), "an object")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What of an object's JSON follows from its keys alone: the pieces around its values, with a gap for each of them.

    The pieces of a and b are ``{"a":``, gap, ``,"b":``, gap, ``}``.
    """

    names: frozenset[str]
    pieces: tuple[bytes, ...]

    def around(self, values: Iterable[bytes | msgspec.Raw]) -> bytes:
        """The JSON of the object with these values."""
        filled: list[bytes | msgspec.Raw] = [*self.pieces]
        filled[1::2] = [*values]
        return b"".join(filled)


class _WrittenKeys(dict[str, bytes]):
    """Keys as they stand in JSON behind another member, remembered while they are few and short, as most are."""

    def __init__(self, before: bytes, after: bytes) -> None:
        super().__init__()
        self._before, self._after = before, after

    def __missing__(self, key: str) -> bytes:
        written = self._before + orjson.dumps(key) + self._after
        if len(key) <= 64 and len(self) < 4096:
            self[key] = written
        return written


class _Frames(dict[tuple[str, ...], Frame]):
    """The frames of keys in one spacing, remembered as the keys are: most lines of a file have the same."""

    def __init__(self, comma: bytes, colon: bytes) -> None:
        super().__init__()
        self._comma, self._written = comma, _WrittenKeys(comma, colon)

    def __missing__(self, keys: tuple[str, ...]) -> Frame:
        written = self._written
        pieces: list[bytes] = []
        for key in keys:
            pieces += (written[key], b"")
        pieces.append(b"}")
        pieces[0] = b"{" + pieces[0].removeprefix(self._comma)
        frame = Frame(frozenset(keys), tuple(pieces))
        if len(keys) <= 32 and sum(map(len, keys)) <= 512 and len(self) < 1024:
            self[keys] = frame
        return frame


COMPACT_FRAMES = _Frames(b",", b":")
_SPACED_FRAMES = _Frames(b", ", b": ")


def _is_spelled_out(data: bytes, spans: Spans) -> bool:
    """Whether the spans, put together in one of the two usual spacings, are the data: then no key was there twice."""
    is_spaced = data.startswith(b": ", data.find(b":"))
    frames = _SPACED_FRAMES if is_spaced else COMPACT_FRAMES
    return frames[tuple(spans)].around(spans.values()) == data


def _repeated_key(data: bytes) -> str | None:
    """The first top-level key that is there twice, read by a parser that shows every key."""
    repeated: list[str | None] = [None]

    def pairs(members: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        repeated[0] = None  # the outermost object comes last
        for key, _ in members:
            if key in seen:
                repeated[0] = key
                return
            seen.add(key)

    try:
        json.loads(data.decode(), object_pairs_hook=pairs, parse_int=str, parse_float=str)
    except RecursionError:
        raise BadLine("not valid JSON: nested too deeply") from None
    return repeated[0]


def _syntax_reason(data: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as wrong:
        return f"not valid UTF-8 at byte {wrong.start + 1}: 0x{data[wrong.start]:02x}"
    if text.startswith("\ufeff"):
        return "not valid JSON: a byte order mark may stand at the beginning of the file alone"
    if not text.lstrip().startswith("{"):
        return "not JSON: a line must be an object, which begins with {"
    start = error.pos - 1 if text[error.pos - 1 : error.pos] == "-" else error.pos
    if (number := _NOT_FINITE.match(text, start)) is not None:
        return f"not valid JSON at column {start + 1}: {number[0]} is not a JSON value"
    if "depth" in error.msg or "recursion" in error.msg.lower():
        return "not valid JSON: nested too deeply"
    what = next((words for sign, words in _SYNTAX.items() if sign in error.msg), error.msg)
    return f"not valid JSON at column {error.pos + 1}: {what}"
