"""Broken lines end as their table says: which of them are records, and in which words the others are rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchrouter.core.options import InputOptions
from batchrouter.core.records import Record, Rejection
from batchrouter.core.settings import Settings
from batchrouter.intake.lines import Line, line_digest
from batchrouter.intake.parser import LineParser
from batchrouter.intake.source import FileSource

SAMPLE = Path(__file__).parents[2] / "sample_inputs" / "broken_lines.jsonl"
TABLE = json.loads(Path(__file__).with_name("broken_lines_expected.json").read_text(encoding="utf-8"))


@pytest.fixture
async def rows(settings: Settings) -> dict[int, Record | Rejection]:
    source = FileSource(str(SAMPLE), settings, InputOptions())
    found = {row.line: row async for batch in source.batches() for row in batch.lines}
    await source.aclose()
    return found


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: f"{entry['line']} {entry['why']}")
async def test_a_line_of_the_sample_ends_as_the_table_says(
    rows: dict[int, Record | Rejection], entry: dict[str, str | int]
) -> None:
    row = rows.get(int(entry["line"]))
    match entry["kind"]:
        case "blank":
            assert row is None
        case "record":
            assert isinstance(row, Record)
        case "rejected":
            assert isinstance(row, Rejection)
            assert str(entry["says"]) in row.reason


def test_the_table_names_every_line_of_the_sample() -> None:
    assert [entry["line"] for entry in TABLE] == list(range(1, len(SAMPLE.read_bytes().split(b"\n")) + 1))
    assert all(len(entry["says"]) > 10 for entry in TABLE if entry["kind"] == "rejected")


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xef\xbb\xbf{}", "not valid JSON: a byte order mark may stand at the beginning of the file alone"),
        (b'{"a":1e400}', "not valid JSON at column 6: this number is larger than 10³⁰⁸"),
        (b'{"a":1,}', "not valid JSON at column 7: trailing comma is not allowed"),
        (b"{'a':1}", "not valid JSON at column 2: unexpected character, expected a string key"),
        (b'{"prompt":"a"}\x00', "not valid JSON at column 15: there is more after the end of the object"),
        (b"\x1f\x8b\x08", "not valid UTF-8 at byte 2: 0x8b"),
        (b'{"messages":[{"role":"user","content":"a","x":%b}]}' % nested(300), "message 1 is nested too deeply"),
        (
            b'{"messages":[{"role":"user","content":[{"type":"x","x":%b}]}]}' % nested(300),
            "message 1 is nested too deeply",
        ),
        (b'{"prompt":"a","n":%b}' % nested(1020), "not valid JSON: nested too deeply"),
        (
            b'{"prompt":"a","expect":{"regex":"a{99999999999999999999}"}}',
            "expect.regex: is not a regular expression: the repetition number is too large",
        ),
        (
            b'{"prompt":"a","expect":{"regex":"%b"}}' % (b"(" * 5000 + b")" * 5000),
            "expect.regex: is not a regular expression: it is nested too deeply",
        ),
        (b'{"prompt":"a","tier":"%b"}' % (b"x" * 10**6), "tier '" + "x" * 293 + "…"),
        (b'{"prompt":"a","%b":1,"%b":2}' % (b"k" * 10**6, b"k" * 10**6), "the key '" + "k" * 290 + "…"),
        (
            b'{"prompt":"a","expect":{"\\u001b[2J":1}}',
            "expect.·[2J: there is no such check",
        ),
        (
            b'{"prompt":"a","expect":{%b}}' % b",".join(b'"%d":1' % number for number in range(9)),
            "; ".join(f"expect.{number}: there is no such check" for number in range(5)),
        ),
    ],
)
def test_a_hostile_line_is_rejected_in_these_words(settings: Settings, line: bytes, reason: str) -> None:
    row = LineParser(settings, InputOptions()).parse(Line(3, 30, line, line_digest(line)))
    assert isinstance(row, Rejection)
    assert (row.line, row.offset, row.reason) == (3, 30, reason)
