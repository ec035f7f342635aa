"""What became of records in the tiers on their way: passed, or gone up; and what the way up cost."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from batchrouter.core.money import NANO


@dataclass(frozen=True, slots=True)
class TierPassage:
    """One tier: records that were done there, and those that went up from it (each time that they were done)."""

    tier: str
    passed: int
    escalated: int


@dataclass(frozen=True, slots=True)
class EscalationFigures:
    """Records that did not end where their router sent them.

    ``cost`` is what they cost in the tiers below the one where they ended; ``saved_before`` what the run saved against its
    baseline without that; so ``saved`` of the run is the difference. None: not known.
    """

    records: int
    failed: int
    cost: float | None
    saved_before: float | None
    tiers: tuple[TierPassage, ...]


def escalation_figures(connection: sqlite3.Connection, run: int, saved: float | None) -> EscalationFigures | None:
    """The escalations of a run; None where there was none. ``saved`` is that of the run."""
    rows = connection.execute(
        "SELECT decided, tier, state, results, below_nano, unpriced FROM escalation_counters WHERE run = ?", (run,)
    ).fetchall()
    if not rows:
        return None
    cost = None if any(row["unpriced"] for row in rows) else sum(row["below_nano"] for row in rows) / NANO
    return EscalationFigures(
        records=sum(row["results"] for row in rows),
        failed=sum(row["results"] for row in rows if row["state"] == "failed"),
        cost=cost,
        saved_before=None if saved is None or cost is None else saved + cost,
        tiers=_passages(connection, run, rows),
    )


def _passages(connection: sqlite3.Connection, run: int, rows: list[sqlite3.Row]) -> tuple[TierPassage, ...]:
    (fixed,) = connection.execute("SELECT fixed FROM runs WHERE run = ?", (run,)).fetchone()
    tiers: list[str] = json.loads(fixed)["tiers"]
    counts = connection.execute("SELECT tier, records FROM counters WHERE run = ? AND state = 'done'", (run,))
    passed: dict[str, int] = dict(counts.fetchall())
    escalated = dict.fromkeys(tiers, 0)
    for row in rows:
        for tier in tiers[tiers.index(row["decided"]) : tiers.index(row["tier"])]:
            escalated[tier] += row["results"]
    return tuple(TierPassage(tier, passed.get(tier, 0), escalated[tier]) for tier in tiers)
