"""The work on a run that was found, from its gateway to its report.

With it come the engine and the HTTP client, which are loaded while the input is compared.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from batchrouter.assembly import wiring
from batchrouter.assembly.demo_room import demo_settings
from batchrouter.assembly.desk import Desk
from batchrouter.assembly.finding import STDIN, Plan
from batchrouter.assembly.machine import doubts
from batchrouter.assembly.session import Session
from batchrouter.core.errors import BatchRouterError, ExitCode, InputUnfit, StorageFailed
from batchrouter.core.settings import Settings
from batchrouter.core.version import VERSION
from batchrouter.gateway import open_gateway, read_keys
from batchrouter.ports import Gateway, RunEnd
from batchrouter.reporting import export, figures
from batchrouter.store.reading import open_reader


async def finish(desk: Desk, plan: Plan) -> figures.RunReport:
    """Work on the run if there is anything left of it, and report."""
    if plan.is_finished:
        code = ExitCode(plan.run.exit_code or 0)
        return _reported(desk, plan.run.run, code, RunEnd(code))
    async with AsyncExitStack() as stack:
        if plan.source:
            stack.push_async_callback(plan.source.aclose)
        for doubt in doubts(desk.path, desk.settings, desk.options.concurrency):
            desk.observer.notice(doubt)
        demo = desk.options.demo or plan.run.demo
        settings, gateway = await stack.enter_async_context(gateway_of(desk, desk.settings, demo=demo))
        session = Session(
            desk.connection,
            desk.path,
            settings,
            desk.options,
            gateway=gateway,
            observer=desk.observer,
            clock=desk.clock,
        )
        code, end = await session.work(plan)
    return _reported(desk, plan.run.run, code, end)


@asynccontextmanager
async def gateway_of(desk: Desk, settings: Settings, *, demo: bool) -> AsyncIterator[tuple[Settings, Gateway]]:
    """(the settings with the gateway that is really asked, that gateway)."""
    async with AsyncExitStack() as stack:
        if demo:
            settings = await stack.enter_async_context(demo_settings(settings, desk.observer.notice))
        wiring.check_prices(settings)
        keys = read_keys(settings, os.environ)
        yield settings, await stack.enter_async_context(open_gateway(settings, keys, version=VERSION))


def _reported(desk: Desk, run: int, code: ExitCode, end: RunEnd) -> figures.RunReport:
    """The run's figures, read like any reader does; the export too, if one was asked for."""
    with open_reader(desk.path) as reader:
        failure = _exported(desk, reader, run)
        if failure and code in (ExitCode.OK, ExitCode.SOME_FAILED):
            code = failure.exit_code
        summary = figures.summary(reader, run)
    if code is ExitCode.OK and not summary.run.records:
        desk.observer.notice(f"{'stdin' if summary.run.input == STDIN else summary.run.input} holds no lines")
    return figures.RunReport(summary, code, end.reason, end.hint, failure)


def _exported(desk: Desk, reader: sqlite3.Connection, run: int) -> BatchRouterError | None:
    """Write the file that was asked for; what went wrong with it must not hide how the run ended."""
    if desk.options.output is None:
        return None
    try:
        export.export(reader, run, Path(desk.options.output))
    except (StorageFailed, InputUnfit) as error:
        again = f"batchrouter export {run} --db {shlex.quote(str(desk.path))} -o FILE"
        return type(error)(error.message, f"The answers are safe in the database: `{again}` writes them.")
    return None
