"""A database as a run leaves it: built from the migrations, filled row by row."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

MIGRATIONS = Path(__file__).parents[2] / "migrations"
KEY = ("run", "line", "attempt")
WHEN = "2026-01-31T00:00:0{}.000000Z"


@dataclass
class Book:
    """Writes rows, and keeps what it wrote so that a test can add it up by itself."""

    path: Path
    writer: sqlite3.Connection
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def insert(self, table: str, **values: Any) -> int:
        columns = ", ".join(f'"{column}"' for column in values)
        sql = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})"
        cursor = self.writer.execute(sql, tuple(values.values()))
        self.writer.commit()
        return cursor.lastrowid or 0

    def run(self, name: str | None = None, source: str = "/data/in.jsonl", state: str = "finished", **more: Any) -> int:
        fixed = json.dumps({"tiers": ["simple", "medium", "complex"]})
        values = {"name": name, "input": source, "state": state, "started_at": WHEN.format(0), "currency": "INR"}
        number = self.insert("runs", **values, fixed=fixed, **more)
        self.insert("run_configs", config=number, run=number, started_at=WHEN.format(0), version="0", settings="{}")
        return number

    def record(self, run: int, line: int, state: str = "done", *, tier: str | None = "simple", **more: Any) -> None:
        id_, task = more.pop("id", f"id-{line}"), more.pop("task", None)
        request = {"body": '{"messages":[]}', "metadata": None, **more}
        self.insert("records", run=run, line=line, id=id_, task=task, state=state, tier=tier, offset=0, digest=b"d")
        if state != "rejected":
            self.insert("requests", run=run, line=line, prompt_bytes=1, images=0, choices=1, needs="", **request)
            self.insert("decisions", run=run, line=line, tier=tier, router="rules", reason="because")

    def attempt(self, run: int, line: int, number: int, state: str = "ok", **more: Any) -> None:
        values = {
            "run": run,
            "line": line,
            "attempt": number,
            "generation": 1,
            "purpose": "answer",
            "tier": "simple",
            "model": "small",
            "gateway": "default",
            "config": run,
            "state": state,
            "started_at": WHEN.format(number),
            "ended_at": None if state == "open" else WHEN.format(number + 1),
            "output_cap": 10,
            "cost_nano": 0,
            **more,
        }
        self.attempts.append(values)
        self.insert("attempts", **{**values, "state": "open", "ended_at": None})
        if state != "open":
            end = f"UPDATE attempts SET state = ?, ended_at = ? WHERE {' AND '.join(f'{key} = ?' for key in KEY)}"
            self.writer.execute(end, (state, values["ended_at"], run, line, number))
            self.writer.commit()

    def result(self, run: int, line: int, state: str = "done", **more: Any) -> None:
        values = {"generation": 1, "state": state, "tier": "simple", "model": "small", "finished_at": WHEN.format(9)}
        self.insert("results", run=run, line=line, **{**values, **more})

    def sum(self, **conditions: Any) -> float:
        """The known costs of attempts that meet the conditions (a tuple: one of), in units of the currency."""
        known = [
            attempt["cost_nano"]
            for attempt in self.attempts
            if all(attempt[key] in (one if isinstance(one, tuple) else (one,)) for key, one in conditions.items())
        ]
        return sum(known) / 1e9


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    path = tmp_path / "batch.db"
    writer = sqlite3.connect(path)
    for migration in sorted(MIGRATIONS.glob("*.sql")):
        writer.executescript(migration.read_text("utf-8"))
    yield Book(path, writer)
    writer.close()


@pytest.fixture
def reader(book: Book) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{book.path}?mode=ro", uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


@pytest.fixture
def mixed(book: Book) -> int:
    """A run with a bit of everything: 3 done, 1 failed, 1 rejected, 1 pending; retries, lost calls, one in flight."""
    run = book.run("night", exit_code=75, state="stopped")
    for line in (1, 2, 3):
        book.record(run, line, tier="complex" if line == 3 else "simple", task="t" if line == 1 else None)
    book.record(run, 4, "failed")
    book.record(run, 5, "rejected", tier=None, id=None)
    book.record(run, 6, "queued", tier="medium")
    tokens = {"input_tokens": 100, "output_tokens": 10, "latency_ms": 50}
    book.attempt(run, 1, 1, "error", cost_nano=1_000_000, error_class="empty")
    book.attempt(run, 1, 2, cost_nano=2_000_000, **tokens)
    book.attempt(run, 2, 1, "unknown", cost_nano=7_000_000, error_class="lost")
    book.attempt(run, 2, 2, cost_nano=3_000_000, **tokens)
    book.attempt(run, 3, 1, cost_nano=90_000_000, **{**tokens, "tier": "complex", "model": "large", "latency_ms": 400})
    book.attempt(run, 3, 2, purpose="classify", cost_nano=500_000)
    book.attempt(run, 4, 1, "error", cost_nano=0, error_class="server")
    book.attempt(run, 6, 1, "open", cost_nano=None, tier="medium", model="middle")
    for line, attempt, baseline in ((1, 2, 80_000_000), (2, 2, 80_000_000), (3, 1, 90_000_000)):
        tier, model = ("complex", "large") if line == 3 else ("simple", "small")
        more = {"attempt": attempt, "tier": tier, "model": model, "baseline_nano": baseline}
        book.result(run, line, answer=f"answer {line}", response=f'{{"n": {line}}}', **more)
    book.result(run, 4, "failed", attempt=1, error_class="server", error="HTTP 500")
    book.result(run, 5, "rejected", tier=None, model=None, error_class="rejected", error="not JSON")
    return run
