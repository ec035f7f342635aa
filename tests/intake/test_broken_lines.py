"""Every line of the sample of broken lines ends as the record or the rejection that its oracle names."""

from __future__ import annotations

import json
from pathlib import Path

from batchrouter.core.options import InputOptions
from batchrouter.core.records import Rejection
from batchrouter.core.settings import Settings
from batchrouter.intake.source import FileSource

SAMPLE = Path(__file__).parents[2] / "sample_inputs" / "broken_lines.jsonl"
ORACLE = Path(__file__).with_name("broken_lines_expected.json")


async def test_broken_lines_end_as_the_oracle_says(settings: Settings) -> None:
    source = FileSource(str(SAMPLE), settings, InputOptions())
    rows = {row.line: row async for batch in source.batches() for row in batch.lines}
    await source.aclose()
    entries = json.loads(ORACLE.read_text(encoding="utf-8"))
    assert {entry["line"] for entry in entries if entry["kind"] != "blank"} == set(rows)
    for entry in entries:
        if entry["kind"] == "blank":
            continue
        row = rows[entry["line"]]
        status = "rejected" if isinstance(row, Rejection) else "record"
        assert status == entry["kind"], (entry, row)
        assert not isinstance(row, Rejection) or row.reason
