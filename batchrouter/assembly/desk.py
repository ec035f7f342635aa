"""Everything that an invocation on a database needs, opened in order and closed whatever happens."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from batchrouter.assembly import wiring
from batchrouter.assembly.clock import SystemClock
from batchrouter.assembly.demo_room import demo_settings
from batchrouter.assembly.finding import Plan, RunFinder
from batchrouter.assembly.machine import doubts
from batchrouter.assembly.session import Session
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import RunOptions
from batchrouter.core.settings import Settings
from batchrouter.core.version import VERSION
from batchrouter.ports import Gateway, Observer, RunEnd
from batchrouter.reporting import export, figures
from batchrouter.store import runs
from batchrouter.store.opening import WritingConnection, open_reader, open_writer

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

    async def finish(self, plan: Plan) -> figures.RunReport:
        """Work on a run if there is anything left of it, and report."""
        await self._name_stopped_runs(plan.run.run)
        if plan.is_finished:
            code = ExitCode(plan.run.exit_code or 0)
            return self.reported(plan.run.run, code, RunEnd(code))
        async with AsyncExitStack() as stack:
            if plan.source:
                stack.push_async_callback(plan.source.aclose)
            for doubt in doubts(self.path, self.settings, self.options.concurrency):
                self.observer.notice(doubt)
            demo = self.options.demo or plan.run.demo
            settings, gateway = await stack.enter_async_context(self.open_gateway(self.settings, demo=demo))
            session = Session(
                self.connection,
                self.path,
                settings,
                self.options,
                gateway=gateway,
                observer=self.observer,
                clock=self.clock,
            )
            code, end = await session.work(plan)
        return self.reported(plan.run.run, code, end)

    @asynccontextmanager
    async def open_gateway(self, settings: Settings, *, demo: bool) -> AsyncIterator[tuple[Settings, Gateway]]:
        """(the settings with the gateway that is really asked, that gateway)."""
        from batchrouter.gateway import open_gateway, read_keys  # noqa: PLC0415 - the input is compared while it loads

        async with AsyncExitStack() as stack:
            if demo:
                settings = await stack.enter_async_context(demo_settings(settings, self.observer.notice))
            wiring.check_prices(settings)
            keys = read_keys(settings, os.environ)
            yield settings, await stack.enter_async_context(open_gateway(settings, keys, version=VERSION))

    def reported(self, run: int, code: ExitCode, end: RunEnd) -> figures.RunReport:
        """The run's figures, read like any reader does; the export too, if one was asked for."""
        with open_reader(self.path) as reader:
            if self.options.output:
                export.export(reader, run, self.options.output, format="jsonl", statuses=())
            return figures.RunReport(figures.summary(reader, run), code, end.reason, end.hint)

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
    """Lock and open the database; the others runs that stopped in it are named."""
    clock = SystemClock()
    async with open_writer(db, clock.utc()) as connection:
        yield Desk(connection, db, settings, options, observer or Silent(), clock)
