"""How much of a cost is known by no more than its bound."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from batchrouter.core.money import NANO


@dataclass(frozen=True, slots=True)
class WorstCase:
    """Calls that were answered without usage, and their share of the run's cost: the worst case reserved for them."""

    calls: int
    cost: float


def worst_case(connection: sqlite3.Connection, run: int) -> WorstCase | None:
    """None where every answer said what it used."""
    row = connection.execute("SELECT attempts, cost_nano FROM worst_case_counters WHERE run = ?", (run,)).fetchone()
    return WorstCase(row[0], row[1] / NANO) if row else None
