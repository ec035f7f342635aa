"""The few multi-row statements that write a run's rows.

Each statement is a fight for the interpreter's lock with the busy event loop, so a batch is a handful of large
statements, never one a record. They come in few sizes, filled up with rows that are left out, so that a statement is
prepared once and not for each number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

ROWS_MOST = 512
"""Below SQLite's limit of bound values; the sizes are the powers of two up to it."""
NO_ROW = 0
"""What fills a statement up begins with this, and is left out. NULL would take ten times as long to be bound."""
Row = tuple[Any, ...]
Statement = tuple[str, list[Any], int]
"""SQL, its bound values, and how many rows it must change."""

_KEY = ("run", "line")


def _insert(table: str, *columns: str) -> tuple[str, int]:
    quoted = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({quoted}) SELECT * FROM (VALUES {{rows}}) WHERE column1 <> {NO_ROW}", len(columns)


def _update(table: str, keys: Sequence[str], columns: Sequence[str], only: str) -> tuple[str, int]:
    """Update many rows at once: those of ``keys`` that also meet ``only`` (``v.column1`` … are the bound values)."""
    values = [f"v.column{place}" for place in range(1, len(keys) + len(columns) + 1)]
    where = " AND ".join(f"{table}.{key} = {value}" for key, value in zip(keys, values, strict=False))
    sql = (
        f"UPDATE {table} SET ({', '.join(columns)}) = ({', '.join(values[len(keys) :])})"
        f" FROM (VALUES {{rows}}) AS v WHERE {where} AND {only}"
    )
    return sql, len(values)


INSERT_RECORDS = _insert("records", *_KEY, "id", "task", "state", "tier", "offset", "digest")
INSERT_REQUESTS = _insert(
    "requests",
    *_KEY,
    *(
        "body",
        "prompt_bytes",
        "images",
        "choices",
        "max_output_tokens",
        "needs",
        "requested_model",
        "metadata",
        "expect",
    ),
)
INSERT_DECISIONS = _insert("decisions", *_KEY, "tier", "router", "reason", "origin")
_REMEMBER, _REMEMBERED_COLUMNS = _insert(
    "decision_cache", "key", "kind", "task", "tier", "model", "prompt_version", "run", "line", "decided_at"
)
REMEMBER_DECISIONS = (
    f"{_REMEMBER} ON CONFLICT DO UPDATE SET tier = excluded.tier, run = excluded.run, line = excluded.line,"
    " decided_at = excluded.decided_at",
    _REMEMBERED_COLUMNS,
)
INSERT_ATTEMPTS = _insert(
    "attempts",
    *(*_KEY, "attempt", "generation", "purpose", "tier", "model", "gateway", "config", "state", "started_at"),
    *("reserved_nano", "output_cap"),
)
INSERT_EVALUATION_CALLS = _insert("evaluation_calls", *_KEY, "attempt", "evaluation")
END_ATTEMPTS = _update(
    "attempts",
    (*_KEY, "attempt"),
    (
        *("state", "ended_at", "status_code", "error_class", "error"),
        *("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cache_write_tokens"),
        *("cost_nano", "cost_source", "latency_ms", "model_served", "response_id"),
    ),
    only="attempts.state = 'open'",
)
INSERT_RESULTS = _insert(
    "results",
    *(*_KEY, "generation", "state", "attempt", "tier", "model", "answer", "finish_reason", "response"),
    *("error_class", "error", "escalated_from", "baseline_nano", "finished_at"),
)
INSERT_REUSED = _insert(
    "results",
    *(*_KEY, "generation", "state", "attempt", "tier", "model", "answer", "finish_reason", "response"),
    *("error_class", "error", "escalated_from", "baseline_nano", "finished_at", "reused_run", "reused_line"),
)
_OFFER, _OFFERED_COLUMNS = _insert("reusable", "digest", *_KEY, "generation")
OFFER_FOR_REUSE = (
    f"{_OFFER} ON CONFLICT DO UPDATE SET run = excluded.run, line = excluded.line, generation = excluded.generation",
    _OFFERED_COLUMNS,
)
FINISH_RECORDS = _update("records", _KEY, ("state", "tier"), only="records.state = 'queued'")
JUDGE = _update(
    "judgements",
    ("evaluation", "line"),
    (
        *("other_attempt", "other_model", "other_answer", "forward", "backward"),
        *("how", "verdict", "judged_at"),
    ),
    only="judgements.verdict IS NULL",
)
MOVE_RECORDS = (
    "UPDATE records SET tier = v.column3 FROM (VALUES {rows}) AS v WHERE records.run = v.column1 AND records.line = v.column2 AND records.state = 'queued'",
    3,
)
CLEAR_REQUESTS = (
    "UPDATE requests SET body = NULL, metadata = CASE WHEN"
    " (SELECT json_extract(u.fixed, '$.template') FROM runs u WHERE u.run = requests.run) IS NULL THEN metadata END"
    " FROM (VALUES {rows}) AS v WHERE requests.run = v.column1 AND requests.line = v.column2",
    2,
)
"""With a template the metadata is the row that the request was made of."""
SET_POSITION = (
    "UPDATE runs SET intake_offset = ?, intake_line = ?, intake_digest = ?, intake_ended = ?, intake_blank = ?"
    " WHERE run = ?"
)


def filled(statement: tuple[str, int], rows: Sequence[Row]) -> Iterator[Statement]:
    """The statement with these rows, in pieces of the sizes that are kept prepared."""
    sql, width = statement
    for start in range(0, len(rows), ROWS_MOST):
        piece = rows[start : start + ROWS_MOST]
        size = 1 << (len(piece) - 1).bit_length()
        padding = (NO_ROW,) * (width * (size - len(piece)))
        yield _of_size(sql, width, size), [*chain.from_iterable(piece), *padding], len(piece)


@cache
def _of_size(sql: str, width: int, rows: int) -> str:
    one = "(" + ", ".join("?" * width) + ")"
    return sql.format(rows=", ".join([one] * rows))
