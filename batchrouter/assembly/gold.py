"""A person's word on records of a sample: read from a file, matched by id or line, compared with both answers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchrouter.core.errors import InputMissing, InputUnfit
from batchrouter.quality.equality import equality

_VERDICTS = ("match", "worse", "better")


Entry = dict[str, Any]


def read_gold(path: Path) -> list[Entry]:
    """The entries of a file of JSON lines; InputUnfit names the first line that is none.

    Each is ``{"id" or "line": …, "verdict": "match" | "worse" | "better"}`` or ``{…, "answer": …}``.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            return [_entry(path, number, text) for number, text in enumerate(file, start=1) if text.strip()]
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}", "Name a JSON lines file with --gold.") from None
    except UnicodeDecodeError:
        raise InputUnfit(f"{path} is not UTF-8 text", "Name a JSON lines file with --gold.") from None


def gold_verdicts(entries: Sequence[Entry], sample: Sequence[sqlite3.Row]) -> dict[int, str]:
    """Line -> verdict for the records of the sample that the entries speak of.

    With an answer, the one of both that says the same is the better one.
    """
    by_line = {row["line"]: row for row in sample}
    by_id: dict[str, list[sqlite3.Row]] = {}
    for row in sample:
        by_id.setdefault(row["id"], []).append(row)
    verdicts = {}
    for entry in entries:
        rows = [by_line[entry["line"]]] if entry.get("line") in by_line else by_id.get(str(entry.get("id")), [])
        for row in rows:
            verdict = entry["verdict"] if "verdict" in entry else _of_answer(entry["answer"], row)
            if verdict:
                verdicts[row["line"]] = verdict
    return verdicts


def _entry(path: Path, number: int, text: str) -> Entry:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        raise _unfit(path, number, "is not JSON") from None
    if not isinstance(entry, dict):
        raise _unfit(path, number, "is not a JSON object")
    if not isinstance(entry.get("line", 0), int) or not ("id" in entry or "line" in entry):
        raise _unfit(path, number, "needs an id, or a line as a number")
    if "verdict" in entry:
        if entry["verdict"] not in _VERDICTS:
            raise _unfit(path, number, f"verdict must be one of {', '.join(_VERDICTS)}")
    elif not isinstance(entry.get("answer"), str):
        raise _unfit(path, number, "needs a verdict, or an answer that is a text")
    return entry


def _of_answer(gold: str, row: sqlite3.Row) -> str | None:
    if row["other_answer"] is None:
        return None
    ours, theirs = (equality(row[column], gold) is not None for column in ("answer", "other_answer"))
    return "match" if ours is theirs else "better" if ours else "worse"


def _unfit(path: Path, number: int, what: str) -> InputUnfit:
    return InputUnfit(
        f"{path}, line {number}: {what}", 'Write {"id": "T-1", "verdict": "worse"} or {"id": "T-1", "answer": "…"}.'
    )
