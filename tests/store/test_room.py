"""The room that doctor asks for is the room that the rows take, whatever their size."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchrouter.core.outcome import Answer, Outcome
from batchrouter.core.pricing import Usage
from batchrouter.core.records import Batch, Decision, Position, Record, Request, RequestText
from batchrouter.core.room import record_bytes
from batchrouter.core.tokens import BYTES_A_TOKEN
from batchrouter.ports import AttemptEnd, AttemptStart, ResultRow
from batchrouter.store import migrations
from batchrouter.store.changes import Changes

NOW = "2026-01-01T00:00:00.000Z"
RECORDS = 1_000
ENVELOPE_BYTES = 500
"""What a gateway's JSON holds around an answer."""


def record(line: int, line_bytes: int) -> Record:
    body = b'{"messages":[{"role":"user","content":"%s"}]}' % (b"x" * (line_bytes - 60))
    return Record(line, line * line_bytes, b"d" * 16, f"r{line}", Request(body, len(body)), RequestText("", ""))


def write(connection: sqlite3.Connection, changes: Changes) -> None:
    for sql, values, _ in changes.statements():
        connection.execute(sql, values)
    connection.commit()


def run_of(connection: sqlite3.Connection, lines: list[int], answers: list[int]) -> None:
    connection.execute("INSERT INTO runs (input, state, started_at, currency, fixed) VALUES ('/i', 'running', '', '', '')")
    connection.execute("INSERT INTO run_configs (run, started_at, version, settings) VALUES (1, '', '', '')")
    taken, started, ended = Changes(1, 1), Changes(1, 1), Changes(1, 1)
    records = tuple(record(line, line_bytes) for line, line_bytes in enumerate(lines, start=1))
    decision = Decision("simple", "12 words, fewer than 50", "rules")
    taken.take_in(Batch(records, Position()), [decision] * len(records), NOW)
    for line, answer_bytes in enumerate(answers, start=1):
        started.open(AttemptStart(line, 1, 1, "answer", "simple", "openai/gpt-4o-mini", "default", NOW, 1_000, 4_096))
        text = "y" * answer_bytes
        response = b"z" * (answer_bytes + ENVELOPE_BYTES)
        outcome = Outcome("ok", usage=Usage(12, 34), answer=Answer(text, "stop"), response=response, latency_ms=line)
        ended.end(AttemptEnd(line, 1, outcome, None, None, 1_000, "table", NOW))
        ended.finish(
            ResultRow(line, 1, "done", 1, "simple", "openai/gpt-4o-mini", outcome, None, None, None, 1_000, NOW)
        )
    for changes in (taken, started, ended):
        write(connection, changes)


@pytest.mark.parametrize("line_bytes", [200, 700, 1_500, 2_500, 5_000, 12_000])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_run_takes_the_room_that_was_told_to_within_a_fifth(tmp_path: Path, line_bytes: int, mixed: bool) -> None:
    chance = random.Random(line_bytes)
    lines = [int(line_bytes * chance.uniform(0.5, 1.5)) if mixed else line_bytes for _ in range(RECORDS)]
    answers = [chance.randrange(100, 900) if mixed else 480 for _ in lines]
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        for migration in migrations.shipped():
            connection.executescript(migrations.script(migration, NOW))
        run_of(connection, lines, answers)
    told = sum(record_bytes(line, 2 * answer // BYTES_A_TOKEN) for line, answer in zip(lines, answers, strict=True))
    assert path.stat().st_size == pytest.approx(told, rel=0.2)
