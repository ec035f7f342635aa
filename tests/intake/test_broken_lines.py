"""Every line of the sample of broken lines ends as the record or the rejection that its oracle names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchrouter.core.options import InputOptions
from batchrouter.core.records import Rejection
from batchrouter.core.settings import Settings
from batchrouter.intake.source import FileSource

SAMPLE = Path(__file__).parents[2] / "sample_inputs" / "broken_lines.jsonl"
ORACLE = Path(__file__).with_name("broken_lines_expected.json")


@pytest.mark.skipif(not (SAMPLE.exists() and ORACLE.exists()), reason="the sample or its oracle is not there yet")
async def test_broken_lines_end_as_the_oracle_says(settings: Settings) -> None:
    source = FileSource(str(SAMPLE), settings, InputOptions())
    rows = {row.line: row async for batch in source.batches() for row in batch.lines}
    await source.aclose()
    expected = json.loads(ORACLE.read_text(encoding="utf-8"))
    entries = expected["lines"] if isinstance(expected, dict) else expected
    assert {entry["line"] for entry in entries if entry["status"] != "blank"} == set(rows)
    for entry in entries:
        if entry["status"] == "blank":
            continue
        row = rows[entry["line"]]
        status = "rejected" if isinstance(row, Rejection) else "record"
        assert status == entry["status"], (entry, row)
        if isinstance(row, Rejection):
            assert entry.get("reason", "") in row.reason
