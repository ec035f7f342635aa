"""A person's word on records of a sample: read from a file, matched by id or line, compared with both answers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchrouter.core.errors import InputMissing, InputUnfit
from batchrouter.core.evaluation import said
from batchrouter.quality.equality import equality

_VERDICTS = ("match", "worse", "better")


@dataclass(frozen=True, slots=True)
class GoldEntry:
    """What one line of the file says of the records with this line or, without one, this id: a verdict, or an answer."""

    line: int | None
    id: str | None
    verdict: str | None
    answer: str | None


def read_gold(path: Path) -> list[GoldEntry]:
    """The lines of a file of ``{"id" or "line": …, "verdict": "match" | "worse" | "better"}`` or ``{…, "answer": …}``.

    InputUnfit names the first line that is neither.
    """
    return [_entry(path, number, text) for number, text in _lines(path)]


def gold_verdicts(entries: Sequence[GoldEntry], sample: Sequence[sqlite3.Row]) -> tuple[dict[int, str], int]:
    """(line -> verdict for the records of the sample that are spoken of, how many gold answers were neither answer).

    Of a gold answer the one of both that says the same is the better one. Where neither does, that says nothing of which is
    worse: what else is known of the record stands.
    """
    by_line = {row["line"]: row for row in sample}
    by_id: dict[str, list[sqlite3.Row]] = {}
    for row in sample:
        by_id.setdefault(row["id"], []).append(row)
    verdicts, neither = {}, 0
    for entry in entries:
        named = by_line.get(entry.line) if entry.line is not None else None
        rows = [named] if named else by_id.get(entry.id, []) if entry.line is None and entry.id is not None else []
        for row in rows:
            verdict = entry.verdict or _of_answer(entry.answer or "", row)
            if verdict:
                verdicts[row["line"]] = verdict
            neither += verdict is None
    return verdicts, neither


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, text
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}", "Name a JSON lines file with --gold.") from None
    except UnicodeDecodeError:
        raise InputUnfit(f"{path} is not UTF-8 text", "Name a JSON lines file with --gold.") from None


def _entry(path: Path, number: int, text: str) -> GoldEntry:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        raise _unfit(path, number, "is not JSON") from None
    if not isinstance(entry, dict):
        raise _unfit(path, number, "is not a JSON object")
    line, name, verdict, answer = (entry.get(key) for key in ("line", "id", "verdict", "answer"))
    if type(line) is not int and type(name) not in (str, int, float):
        raise _unfit(path, number, "needs an id or the number of a line")
    if line is not None and type(line) is not int:
        raise _unfit(path, number, "line must be a whole number")
    if verdict is not None and verdict not in _VERDICTS:
        raise _unfit(path, number, f"verdict must be one of {', '.join(_VERDICTS)}")
    if verdict is None and not isinstance(answer, str):
        raise _unfit(path, number, "needs a verdict, or an answer that is a text")
    return GoldEntry(line, None if name is None else str(name), verdict, answer)


def _of_answer(gold: str, row: sqlite3.Row) -> str | None:
    if row["other_answer"] is None:
        return None
    ours = equality(said(row["answer"], row["response"]), gold) is not None
    theirs = equality(row["other_answer"], gold) is not None
    if not ours and not theirs:
        return None
    return "match" if ours is theirs else "better" if ours else "worse"


def _unfit(path: Path, number: int, what: str) -> InputUnfit:
    return InputUnfit(
        f"{path}, line {number}: {what}", 'Write {"id": "T-1", "verdict": "worse"} or {"id": "T-1", "answer": "…"}.'
    )
