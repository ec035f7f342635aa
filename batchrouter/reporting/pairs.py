"""Pairs of answers side by side, for a person to read: Markdown, or JSON lines where the file's name ends so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from sqlite3 import Row

from batchrouter.core.evaluation import said
from batchrouter.reporting.export import write_file


def write_pairs(rows: Sequence[Row], path: Path) -> None:
    """Write the sampled records that were compared, whole or not at all."""
    pairs = [row for row in rows if row["other_answer"] is not None]
    texts = _json_lines(pairs) if path.suffix in (".jsonl", ".json") else _markdown(pairs)
    write_file((text.encode("utf-8", "replace") for text in texts), path, "--pairs")


_KEYS = ("line", "id", "task", "tier", "model", "answer", "against_tier", "other_model", "other_answer")
_SAID = ("how", "verdict", "gold", "forward", "backward")


def _json_lines(pairs: Sequence[Row]) -> Iterator[str]:
    for row in pairs:
        pair = {key: row[key] for key in _KEYS} | {"answer": said(row["answer"], row["response"])}
        request = json.loads(row["body"]) if row["body"] else None
        yield json.dumps({**pair, **{key: row[key] for key in _SAID}, "request": request}, ensure_ascii=False) + "\n"


def _markdown(pairs: Sequence[Row]) -> Iterator[str]:
    for row in pairs:
        verdict = row["gold"] or row["verdict"] or "not judged yet"
        yield f"## line {row['line']} ({row['id']}): {verdict}{' by ' + row['how'] if row['how'] else ''}\n\n"
        if row["body"]:
            messages = json.dumps(json.loads(row["body"]).get("messages"), ensure_ascii=False, indent=1)
            yield from _block("request", messages)
        yield from _block(f"{row['tier']}: {row['model']}", said(row["answer"], row["response"]))
        yield from _block(f"{row['against_tier']}: {row['other_model']}", row["other_answer"])


def _block(title: str, text: str) -> Iterator[str]:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    yield f"**{title}**\n\n{fence}\n{text}\n{fence}\n\n"
