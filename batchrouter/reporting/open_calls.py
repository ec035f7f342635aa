"""Calls that have no end yet: in flight, or about to be, while a process works on their run; lost once it has died."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from batchrouter.core.money import NANO

LISTED_MOST = 5


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call in flight, and for how long."""

    line: int
    model: str
    started_at: str
    age_s: float


@dataclass(frozen=True, slots=True)
class OpenCalls:
    """All of a run that are open, and what they may cost at most (None: not known), which is in no sum yet.

    Not ``in_flight``: no process works on the run. They may have been paid; the next start counts them as unknown.
    """

    calls: int
    cost: float | None
    in_flight: bool = False


def open_calls(connection: sqlite3.Connection, run: int) -> OpenCalls | None:
    """What the rows say, which is not whether a process lives; None where none is open."""
    calls, unpriced, nano = connection.execute(
        "SELECT count(*), coalesce(sum(reserved_nano IS NULL), 0), sum(reserved_nano) FROM attempts"
        " INDEXED BY attempts_open WHERE run = ? AND state = 'open'",
        (run,),
    ).fetchone()
    return OpenCalls(calls, None if unpriced else nano / NANO) if calls else None


def oldest_open_calls(connection: sqlite3.Connection, run: int, most: int = LISTED_MOST) -> tuple[OpenCall, ...]:
    """The calls that are in flight longest."""
    rows = connection.execute(
        "SELECT line, model, started_at, max(0.0, round((julianday('now') - julianday(started_at)) * 86400, 1))"
        " FROM attempts WHERE run = ? AND state = 'open' ORDER BY started_at LIMIT ?",
        (run, most),
    )
    return tuple(OpenCall(*row) for row in rows)
