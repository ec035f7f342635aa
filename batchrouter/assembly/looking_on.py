"""What the row of a run cannot tell: whether the process that worked on it still lives.

Whoever works on a run, for itself or to evaluate it, was seen before its row was read, or is seen after.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from batchrouter.reporting import figures
from batchrouter.reporting.open_calls import OpenCalls
from batchrouter.store.lock import UNTOLD, run_at_work
from batchrouter.store.reading import open_reader

INTERRUPTED = "interrupted"


def statuses(db: Path) -> list[figures.RunStatus]:
    """Every run, oldest first; the calls of a dead process are not in flight any more."""
    before = run_at_work(db)
    with open_reader(db) as reader:
        found = figures.all_statuses(reader)
    alive = {before, run_at_work(db)}
    return [_worked_on(one) if _is_worked_on(one.summary, alive) else _left_alone(one) for one in found]


def summary(db: Path, run: str | int) -> figures.Summary:
    """Everything that a report of the run shows."""
    before = run_at_work(db)
    with open_reader(db) as reader:
        found = figures.summary(reader, figures.find_run(reader, run))
    if _is_worked_on(found.run, {before, run_at_work(db)}):
        return replace(found, open_calls=_in_flight(found.open_calls))
    return replace(found, run=_without_a_process(found.run))


def _is_worked_on(run: figures.RunSummary, alive: set[int | None]) -> bool:
    """Where nobody can tell, the row's word stands."""
    return run.run in alive or (UNTOLD in alive and run.state == "running")


def _worked_on(one: figures.RunStatus) -> figures.RunStatus:
    return replace(one, open_calls=_in_flight(one.open_calls))


def _left_alone(one: figures.RunStatus) -> figures.RunStatus:
    """A run that no process works on has no call in flight."""
    return replace(one, summary=_without_a_process(one.summary), oldest_open=())


def _in_flight(calls: OpenCalls | None) -> OpenCalls | None:
    return calls and replace(calls, in_flight=True)


def _without_a_process(run: figures.RunSummary) -> figures.RunSummary:
    return replace(run, state=INTERRUPTED) if run.state == "running" else run
