"""Figures of runs, read from the views over a read-only connection whose rows have names."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from batchrouter.core.errors import BatchRouterError, ExitCode, InputMissing
from batchrouter.core.money import NANO
from batchrouter.reporting.decisions import RoutingFigures, routing_figures
from batchrouter.reporting.escalations import EscalationFigures, escalation_figures
from batchrouter.reporting.open_calls import LISTED_MOST, OpenCall, OpenCalls, oldest_open_calls, open_calls
from batchrouter.reporting.worst_case import WorstCase, worst_case


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A row of the view ``run_summary``; amounts in units of ``currency``, None where unknown."""

    run: int
    name: str | None
    input: str
    state: str
    started_at: str
    finished_at: str | None
    records: int
    done: int
    failed: int
    rejected: int
    pending: int
    cost: float | None
    answer_cost: float | None
    classify_cost: float | None
    judge_cost: float | None
    wasted: float | None
    unknown_cost: float | None
    unknown_calls: int
    baseline: float | None
    saved: float | None
    saved_pct: float | None
    currency: str
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class TierSummary:
    """A row of the view ``tier_summary``."""

    run: int
    tier: str
    model: str
    records: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    avg_latency_ms: float | None
    p95_latency_ms: int | None


@dataclass(frozen=True, slots=True)
class FrequentError:
    """An error of final results: how many records have it, and one of them."""

    error_class: str
    error: str
    records: int
    line: int


@dataclass(frozen=True, slots=True)
class ReuseFigures:
    """Records that got the answer of an identical request, and what that had cost (None: not known of all of them)."""

    records: int
    saved: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a report of one run shows.

    ``found_limits``: limits that nobody configured, model -> rpm, tpm, concurrency; ``shared_limits``: groups of models
    that share one of their account. ``routing`` None: no model was asked for a tier. ``open_calls`` None: no call is open.
    ``worst_case`` None: nothing of the cost is estimated. ``stop_reason`` None: it did not stop before its end.
    ``demo``: its answers came from the demo gateway, and nothing was billed. ``cut``: the rest of its input was not to be had
    any more when it went on. ``unread``: its input was not read to its end yet.
    """

    run: RunSummary
    tiers: tuple[TierSummary, ...]
    errors: tuple[FrequentError, ...]
    found_limits: dict[str, dict[str, int]] = field(default_factory=dict)
    shared_limits: list[list[str]] = field(default_factory=list)
    routing: RoutingFigures | None = None
    reuse: ReuseFigures | None = None
    escalations: EscalationFigures | None = None
    open_calls: OpenCalls | None = None
    worst_case: WorstCase | None = None
    stop_reason: str | None = None
    demo: bool = False
    cut: bool = False
    unread: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The object of ``--json``; keys as the views' columns."""
        return {
            "run": dataclasses.asdict(self.run),
            "tiers": [dataclasses.asdict(tier) for tier in self.tiers],
            "found_limits": self.found_limits,
            "shared_limits": self.shared_limits,
            "routing": dataclasses.asdict(self.routing) if self.routing else None,
            "escalations": dataclasses.asdict(self.escalations) if self.escalations else None,
            "reuse": dataclasses.asdict(self.reuse) if self.reuse else None,
            "open_calls": dataclasses.asdict(self.open_calls) if self.open_calls else None,
            "worst_case": dataclasses.asdict(self.worst_case) if self.worst_case else None,
            "stop_reason": self.stop_reason,
            "demo": self.demo,
            "cut": self.cut,
            "unread": self.unread,
        }


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run's figures, its calls that have no end, and the oldest of those in flight."""

    summary: RunSummary
    oldest_open: tuple[OpenCall, ...]
    open_calls: OpenCalls | None = None
    stop_reason: str | None = None
    demo: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            **dataclasses.asdict(self.summary),
            "oldest_open": [dataclasses.asdict(call) for call in self.oldest_open],
            "open_calls": dataclasses.asdict(self.open_calls) if self.open_calls else None,
            "stop_reason": self.stop_reason,
            "demo": self.demo,
        }


@dataclass(frozen=True, slots=True)
class RunReport:
    """How one invocation ended: figures, the exit code of the command line, and why it stopped, if it did.

    ``export_failure``: why the file that was asked for could not be written.
    """

    summary: Summary
    exit_code: ExitCode
    stop_reason: str = ""
    hint: str = ""
    export_failure: BatchRouterError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is pending."""
        return self.summary.run.pending == 0

    def as_dict(self) -> dict[str, Any]:
        """The object of ``--json``."""
        value = self.summary.as_dict()
        if failure := self.export_failure:
            value["error"] = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        return value


def run_summary(connection: sqlite3.Connection, run: int) -> RunSummary:
    """The figures of a run that exists."""
    row = connection.execute("SELECT * FROM run_summary WHERE run = ?", (run,)).fetchone()
    return RunSummary(**dict(row))


_TIERS = """
SELECT t.* FROM tier_summary t
LEFT JOIN json_each((SELECT fixed FROM runs WHERE run = ?), '$.tiers') o ON o.value = t.tier
WHERE t.run = ? ORDER BY o.key, t.records DESC, t.model
"""


def summary(connection: sqlite3.Connection, run: int) -> Summary:
    """Everything that a report shows, from one state of the database."""
    connection.execute("BEGIN")
    try:
        rows = connection.execute(_TIERS, (run, run))
        tiers = tuple(TierSummary(**dict(row)) for row in rows)
        figures = run_summary(connection, run)
        stop_reason, demo, intake = _of_the_row(connection, run)
        return Summary(
            figures,
            tiers,
            top_errors(connection, run),
            *found_limits(connection, run),
            routing_figures(connection, run, figures.classify_cost, figures.cost),
            reuse_figures(connection, run),
            escalation_figures(connection, run, figures.saved),
            open_calls(connection, run),
            worst_case(connection, run),
            stop_reason,
            demo,
            cut=intake == "cut",
            unread=intake == "reading",
        )
    finally:
        connection.execute("COMMIT")


def _of_the_row(connection: sqlite3.Connection, run: int) -> tuple[str | None, bool, str]:
    """(why it stopped before its end, unless it has been queued again since; whether it is a demo; how far its input is read)."""
    sql = "SELECT iif(exit_code IS NULL, NULL, stop_reason), demo, intake_state FROM runs WHERE run = ?"
    reason, demo, intake = connection.execute(sql, (run,)).fetchone()
    return reason, bool(demo), intake


def found_limits(connection: sqlite3.Connection, run: int) -> tuple[dict[str, dict[str, int]], list[list[str]]]:
    """What the calls of a run told of limits that nobody configured, and which models share one."""
    found, shared = connection.execute("SELECT found_limits, shared_limits FROM runs WHERE run = ?", (run,)).fetchone()
    return json.loads(found or "{}"), json.loads(shared or "[]")


def reuse_figures(connection: sqlite3.Connection, run: int) -> ReuseFigures | None:
    """What identical requests saved; None where nothing was reused."""
    row = connection.execute("SELECT records, cost_nano, unpriced FROM reuse_counters WHERE run = ?", (run,)).fetchone()
    return ReuseFigures(row[0], None if row[2] else row[1] / NANO) if row else None


def top_errors(connection: sqlite3.Connection, run: int, most: int = LISTED_MOST) -> tuple[FrequentError, ...]:
    """The most frequent errors of failed and rejected records."""
    rows = connection.execute(
        "SELECT s.error_class, s.error, count(*) AS records, min(s.line) AS line"
        " FROM records r INDEXED BY records_unanswered"
        " JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation"
        " WHERE r.run = ? AND r.state IN ('failed', 'rejected')"
        " GROUP BY 1, 2 ORDER BY records DESC, line LIMIT ?",
        (run, most),
    )
    return tuple(FrequentError(row[0] or "", row[1] or "", row[2], row[3]) for row in rows)


def all_statuses(connection: sqlite3.Connection) -> list[RunStatus]:
    """Every run, oldest first."""
    runs = [RunSummary(**dict(row)) for row in connection.execute("SELECT * FROM run_summary ORDER BY run")]
    return [_status(connection, run) for run in runs]


def _status(connection: sqlite3.Connection, run: RunSummary) -> RunStatus:
    number = run.run
    calls, oldest = open_calls(connection, number), oldest_open_calls(connection, number)
    stop_reason, demo, _ = _of_the_row(connection, number)
    return RunStatus(run, oldest, calls, stop_reason, demo)


def find_run(connection: sqlite3.Connection, selector: str | int) -> int:
    """The run that a person means: a number, a name (the newest of that name), or ``latest``."""
    selector = str(selector)
    conditions = ["name = ?1"]
    if selector == "latest":
        conditions = ["?1 = 'latest'"]
    elif selector.isdecimal():
        conditions.insert(0, "run = ?1")
    for condition in conditions:
        number = connection.execute(f"SELECT max(run) FROM runs WHERE {condition}", (selector,)).fetchone()[0]
        if number is not None:
            return int(number)
    known = connection.execute("SELECT run, name, input FROM runs ORDER BY run DESC LIMIT ?", (LISTED_MOST,)).fetchall()
    listed = ", ".join(f"{run} ({name or source})" for run, name, source in known)
    raise InputMissing(
        f"there is no run {selector!r} in this database", f"The newest are: {listed}." if listed else "It holds no run."
    )
