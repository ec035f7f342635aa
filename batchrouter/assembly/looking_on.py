"""What the row of a run cannot tell: whether the process that worked on it still lives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from batchrouter.reporting import figures
from batchrouter.store.lock import run_at_work
from batchrouter.store.reading import open_reader

INTERRUPTED = "interrupted"


def statuses(db: Path) -> list[figures.RunStatus]:
    """Every run, oldest first; the calls of a dead process are not in flight any more."""
    before = run_at_work(db)
    with open_reader(db) as reader:
        found = figures.all_statuses(reader)
    alive = {before, run_at_work(db)}
    return [one if one.summary.run in alive else _left_by_the_dead(one) for one in found]


def summary(db: Path, run: str) -> figures.Summary:
    """Everything that a report of the run shows."""
    before = run_at_work(db)
    with open_reader(db) as reader:
        found = figures.summary(reader, figures.find_run(reader, run))
    if _is_dead(found.run, {before, run_at_work(db)}):
        return replace(found, run=replace(found.run, state=INTERRUPTED))
    return found


def _left_by_the_dead(one: figures.RunStatus) -> figures.RunStatus:
    """A run that no process works on, for itself or to evaluate it, has no call in flight."""
    state = INTERRUPTED if one.summary.state == "running" else one.summary.state
    return figures.RunStatus(replace(one.summary, state=state), ())


def _is_dead(run: figures.RunSummary, alive: set[int | None]) -> bool:
    """Whoever works on a run was seen before its row was read, or was seen after."""
    return run.state == "running" and run.run not in alive
