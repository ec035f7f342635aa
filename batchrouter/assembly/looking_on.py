"""What the row of a run cannot tell: whether the process that worked on it still lives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from batchrouter.reporting import figures
from batchrouter.store.lock import run_at_work
from batchrouter.store.opening import open_reader

INTERRUPTED = "interrupted"


def statuses(db: Path) -> list[figures.RunStatus]:
    """Every run, oldest first; the calls of a dead process are not in flight any more."""
    before = run_at_work(db)
    with open_reader(db) as reader:
        found = figures.all_statuses(reader)
    alive = {before, run_at_work(db)}
    return [
        figures.RunStatus(replace(one.summary, state=INTERRUPTED), ()) if _is_dead(one.summary, alive) else one
        for one in found
    ]


def summary(db: Path, run: str) -> figures.Summary:
    """Everything that a report of the run shows."""
    before = run_at_work(db)
    with open_reader(db) as reader:
        found = figures.summary(reader, figures.find_run(reader, run))
    if _is_dead(found.run, {before, run_at_work(db)}):
        return replace(found, run=replace(found.run, state=INTERRUPTED))
    return found


def _is_dead(run: figures.RunSummary, alive: set[int | None]) -> bool:
    """Whoever works on a run was seen before its row was read, or was seen after."""
    return run.state == "running" and run.run not in alive
