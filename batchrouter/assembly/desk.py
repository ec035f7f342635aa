"""Everything that an invocation on a database needs, opened in order and closed whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchrouter.assembly.clock import SystemClock
from batchrouter.assembly.finding import Plan, RunFinder
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import InputMissing, StorageFailed
from batchrouter.core.options import RunOptions
from batchrouter.core.settings import Settings
from batchrouter.ports import Observer
from batchrouter.store import runs
from batchrouter.store.opening import WritingConnection, open_writer

if TYPE_CHECKING:
    from batchrouter.reporting.figures import RunReport

NAMED_MOST = 3


@dataclass(frozen=True, slots=True)
class Desk:
    """An open database with one process's settings and options."""

    connection: WritingConnection
    path: Path
    settings: Settings
    options: RunOptions
    observer: Observer
    clock: SystemClock

    @property
    def finder(self) -> RunFinder:
        """Finds the run that a command means."""
        return RunFinder(self.connection, self.path, self.settings, self.observer, self.clock)

    async def finish(self, plan: Plan) -> RunReport:
        """Work on a run if there is anything left of it, and report."""
        from batchrouter.assembly.finishing import finish  # noqa: PLC0415 - the input is compared while it loads

        await self._name_stopped_runs(plan.run.run)
        return await finish(self, plan)

    async def _name_stopped_runs(self, but: int) -> None:
        stopped = [run for run in await runs.unfinished_runs(self.connection) if run.run != but]
        for run in stopped[-NAMED_MOST:]:
            self.observer.notice(
                f"run {run.run} ({run.name or run.input}) stopped before its end: `batchrouter resume {run.run}` goes on"
            )

    async def unfinished(self) -> list[int]:
        """The runs that stopped, oldest first."""
        return [run.run for run in await runs.unfinished_runs(self.connection)]


@asynccontextmanager
async def open_desk(
    db: Path, settings: Settings, options: RunOptions, observer: Observer | None
) -> AsyncIterator[Desk]:
    """Lock and open the database; the moment that ``until`` means is told."""
    clock = SystemClock()
    was_there = False
    try:
        async with open_writer(db, clock.utc()) as connection:
            was_there = True
            desk = Desk(connection, db, settings, options, observer or Silent(), clock)
            if options.until:
                desk.observer.notice(f"no call after {options.until.astimezone().isoformat(' ', 'minutes')}")
            yield desk
    except (InputMissing, StorageFailed):
        if was_there and not db.exists():
            raise _vanished(db) from None
        raise
    if not db.exists():
        raise _vanished(db)


def _vanished(db: Path) -> StorageFailed:
    """SQLite writes on into a file that has no name any more, as if nothing were wrong."""
    return StorageFailed(
        f"{db} vanished while it was worked on: it was deleted or moved away, with all that was written into it",
        "Put it back if it was moved. Where it is lost, the same command begins anew and pays for every call again.",
    )
