"""What models decided for types of requests, and what asking them came to."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RememberedDecision:
    """The tier of a type of request as a model decided it, and the record for which it was decided.

    ``kind`` says what makes the type: ``task`` (then ``task`` is its name), ``template`` or ``text``.
    """

    kind: str
    task: str | None
    tier: str
    model: str
    run: int
    line: int
    decided_at: str


@dataclass(frozen=True, slots=True)
class RoutingFigures:
    """Decisions of a model: records for which it was ``asked``, or whose type was remembered, or that fell back.

    ``calls`` are all that were made for it, failed ones included; ``cost`` is what they cost, ``share_pct`` of all costs.
    """

    asked: int
    cached: int
    fallback: int
    calls: int
    cost: float | None
    share_pct: float | None

    @property
    def hit_rate_pct(self) -> float | None:
        """Share of the decisions that were remembered."""
        records = self.asked + self.cached + self.fallback
        return round(100 * self.cached / records, 2) if records else None


def routing_figures(
    connection: sqlite3.Connection, run: int, classify_cost: float | None, cost: float | None
) -> RoutingFigures | None:
    """What a model's decisions came to; None where none was asked."""
    rows = connection.execute("SELECT origin, records FROM decision_counters WHERE run = ?", (run,))
    records: dict[str, int] = dict(rows.fetchall())
    sql = "SELECT coalesce(sum(attempts), 0) FROM attempt_counters WHERE run = ? AND purpose = 'classify'"
    (calls,) = connection.execute(sql, (run,)).fetchone()
    if not (records or calls):
        return None
    share = round(100 * classify_cost / cost, 2) if classify_cost is not None and cost else None
    asked, cached, fallback = (records.get(origin, 0) for origin in ("asked", "cache", "fallback"))
    return RoutingFigures(asked, cached, fallback, calls, classify_cost, share)


def remembered_decisions(connection: sqlite3.Connection) -> list[RememberedDecision]:
    """What models decided for types of requests, the newest first."""
    rows = connection.execute(
        "SELECT kind, task, tier, model, run, line, decided_at FROM decision_cache ORDER BY decided_at DESC, run, line"
    )
    return [RememberedDecision(*row) for row in rows]
