"""A database of any size, filled with the statements of a run."""

import sqlite3
from collections.abc import Sequence

from batchrouter.core.outcome import Answer, Outcome
from batchrouter.core.pricing import Usage
from batchrouter.core.records import Batch, Decision, Position, Record, Request, RequestText
from batchrouter.ports import AttemptEnd, AttemptStart, ResultRow
from batchrouter.store import migrations
from batchrouter.store.changes import Changes

NOW = "2026-01-01T00:00:00.000Z"
ENVELOPE_BYTES = 500
"""What a gateway's JSON holds around an answer."""


def fill(connection: sqlite3.Connection, lines: Sequence[int], answers: Sequence[int], *, open_calls: int = 0) -> None:
    """A run with lines of so many bytes; the first have answers of so many bytes, the next are in flight."""
    for migration in migrations.shipped():
        connection.executescript(migrations.script(migration, NOW))
    run = "INSERT INTO runs (input, state, started_at, currency, fixed) VALUES ('/i', 'running', '', '', '{\"tiers\":[\"simple\"]}')"
    connection.execute(run)
    connection.execute("INSERT INTO run_configs (run, started_at, version, settings) VALUES (1, '', '', '')")
    taken, started, ended = Changes(1, 1), Changes(1, 1), Changes(1, 1)
    records = tuple(_record(line, line_bytes) for line, line_bytes in enumerate(lines, start=1))
    decision = Decision("simple", "12 words, fewer than 50", "rules")
    taken.take_in(Batch(records, Position()), [decision] * len(records), NOW)
    for line in range(1, len(answers) + open_calls + 1):
        started.open(AttemptStart(line, 1, 1, "answer", "simple", "openai/gpt-4o-mini", "default", NOW, 1_000, 4_096))
    for line, answer_bytes in enumerate(answers, start=1):
        _answer(ended, line, answer_bytes)
    for changes in (taken, started, ended):
        for sql, values, _ in changes.statements():
            connection.execute(sql, values)
        connection.commit()


def _record(line: int, line_bytes: int) -> Record:
    body = b'{"messages":[{"role":"user","content":"%s"}]}' % (b"x" * (line_bytes - 60))
    return Record(line, line * line_bytes, b"d" * 16, f"r{line}", Request(body, len(body)), RequestText("", ""))


def _answer(changes: Changes, line: int, answer_bytes: int) -> None:
    response = b"z" * (answer_bytes + ENVELOPE_BYTES)
    latency_ms = 100 + line % 50
    answer = Answer("y" * answer_bytes, "stop")
    outcome = Outcome("ok", usage=Usage(12, 34), answer=answer, response=response, latency_ms=latency_ms)
    changes.end(AttemptEnd(line, 1, outcome, None, None, 1_000, "table", NOW))
    changes.finish(ResultRow(line, 1, "done", 1, "simple", "openai/gpt-4o-mini", outcome, None, None, None, 1_000, NOW))
