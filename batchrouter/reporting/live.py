"""Progress while a run works: a small live table on a terminal, one log line every 30 seconds elsewhere.

Nothing that happens to the stream may happen to the run: a terminal that was closed or a pipe nobody reads any more
ends the display, and the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import IO, TYPE_CHECKING

from batchrouter.reporting.progress import Progress, log
from batchrouter.reporting.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console, Group

REFRESH_S = 0.25
LOG_EVERY_S = 30.0
Now = Callable[[], float]


@asynccontextmanager
async def shown(
    progress: Progress,
    *,
    stream: IO[str] | None,
    quiet: bool,
    log_format: str = "text",
    log_every_s: float = LOG_EVERY_S,
    now_s: Now = time.monotonic,
) -> AsyncIterator[None]:
    """Show the progress on ``stream`` while the block runs (None: there is no stream). ``now_s`` gives seconds."""
    if quiet or stream is None:
        yield
        return
    progress.rate(now_s())  # from here on it is measured
    live = log_format == "text" and _draws(stream)
    task = asyncio.create_task(_live(progress, stream, now_s) if live else _log_lines(progress, log_every_s, now_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # whatever went wrong with the display


def _draws(stream: IO[str]) -> bool:
    """Whether a table can be drawn over and over again."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


async def _log_lines(progress: Progress, every_s: float, now_s: Now) -> None:
    while True:
        await asyncio.sleep(every_s)
        log.info("%s", progress.line(now_s()))


async def _live(progress: Progress, stream: IO[str], now_s: Now) -> None:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    from batchrouter.reporting.console import StreamConsole  # noqa: PLC0415

    console = StreamConsole(stream, soft_wrap=False)
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
    handlers, log.handlers = log.handlers, [_AboveTheTable(console)]
    try:
        with suppress(OSError, ValueError):  # ValueError: the stream was closed
            live.start()
            while True:
                live.update(_drawn(progress, now_s()), refresh=True)
                await asyncio.sleep(REFRESH_S)
    finally:
        log.handlers = handlers
        live.stop()


class _AboveTheTable(logging.Handler):
    """Log lines go where they do not tear the table."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            lines = (printable(line) for line in self.format(record).split("\n"))
            self._console.print("\n".join(lines))


def _drawn(progress: Progress, now_s: float) -> Group:
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(("tier", "done", "of", "failed", "in flight", "retries")):
        table.add_column(column, justify="left" if place == 0 else "right")
    for name, tier in progress.tiers.items():
        numbers = (tier.done, tier.records, tier.failed, tier.in_flight, tier.retries)
        table.add_row(Text(printable(name)), *(f"{number:,}" for number in numbers))
    return Group(table, Text(progress.outlook(now_s)))
