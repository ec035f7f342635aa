"""Progress while a run works: a small live table on a terminal, one log line every 30 seconds elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from batchrouter.core.money import format_amount
from batchrouter.reporting.terminal import duration, printable

if TYPE_CHECKING:
    from rich.table import Table

REFRESH_S = 0.25
LOG_EVERY_S = 30.0
RATE_OVER_S = 30.0

log = logging.getLogger("batchrouter")


@dataclass(slots=True)
class TierProgress:
    """Counters of one tier."""

    records: int = 0
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    retries: int = 0

    @property
    def ended(self) -> int:
        """Records with a result."""
        return self.done + self.failed


@dataclass(slots=True)
class Progress:
    """Implements ``ports.Observer``: counts what happens. Amounts are nano-units of ``currency``."""

    currency: str = "INR"
    tiers: dict[str, TierProgress] = field(default_factory=dict)
    rejected: int = 0
    cost_nano: int = 0
    baseline_nano: int = 0
    ended_here: int = 0
    notices: list[str] = field(default_factory=list)
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def resumed(self, tier: str | None, state: str, records: int) -> None:
        """Records from earlier invocations."""
        if state == "rejected":
            self.rejected += records
            return
        one = self._tier(tier)
        one.records += records
        one.done += records if state == "done" else 0
        one.failed += records if state == "failed" else 0

    def taken_in(self, tier: str | None, records: int, rejected: int) -> None:
        """New lines."""
        self.rejected += rejected
        if records:
            self._tier(tier).records += records

    def started(self, tier: str | None) -> None:
        """A call begins."""
        self._tier(tier).in_flight += 1

    def ended(self, tier: str | None, cost_nano: int | None, *, retried: bool) -> None:
        """A call ended."""
        one = self._tier(tier)
        one.in_flight -= 1
        one.retries += retried
        self.cost_nano += cost_nano or 0

    def finished(self, tier: str | None, state: str, baseline_nano: int | None) -> None:
        """A record has its result."""
        one = self._tier(tier)
        self.ended_here += 1
        self.baseline_nano += baseline_nano or 0
        if state == "done":
            one.done += 1
        else:
            one.failed += 1

    def moved(self, before: str | None, after: str) -> None:
        """A record goes on in another tier."""
        self._tier(before).records -= 1
        self._tier(after).records += 1

    def notice(self, message: str) -> None:
        """Something that a person should know."""
        self.notices.append(message)
        log.info("%s", printable(message))

    def _tier(self, tier: str | None) -> TierProgress:
        return self.tiers.setdefault(tier or "-", TierProgress())

    @property
    def total(self) -> int:
        """Records taken in so far."""
        return sum(tier.records for tier in self.tiers.values())

    @property
    def answered(self) -> int:
        """Records with a result."""
        return sum(tier.ended for tier in self.tiers.values())

    def rate(self, now_s: float) -> float:
        """Records a second over the last half minute."""
        self._recent.append((now_s, self.ended_here))
        while self._recent[0][0] < now_s - RATE_OVER_S:
            self._recent.popleft()
        first_s, first = self._recent[0]
        return (self.ended_here - first) / (now_s - first_s) if now_s > first_s else 0.0

    def outlook(self, now_s: float) -> str:
        """Rate, cost so far and projected, saved, time left: one line."""
        rate, left = self.rate(now_s), self.total - self.answered
        parts = [f"{rate:,.1f}/s", f"cost {format_amount(self.cost_nano, self.currency)}"]
        if self.ended_here and left:
            projected = self.cost_nano + self.cost_nano * left // self.ended_here
            parts.append(f"projected {format_amount(projected, self.currency)}")
        parts.append(f"saved {format_amount(self.baseline_nano - self.cost_nano, self.currency)}")
        if rate and left:
            parts.append(f"{duration(left / rate)} left")
        return ", ".join(parts)


@asynccontextmanager
async def shown(progress: Progress, *, stream: IO[str], quiet: bool, log_format: str) -> AsyncIterator[None]:
    """Show the progress on ``stream`` while the block runs. A stream that breaks never breaks the run."""
    if quiet:
        yield
        return
    live = log_format == "text" and stream.isatty()
    task = asyncio.create_task(_live(progress, stream) if live else _log_lines(progress))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _log_lines(progress: Progress) -> None:
    while True:
        await asyncio.sleep(LOG_EVERY_S)
        tiers = "; ".join(
            f"{name} {tier.ended:,}/{tier.records:,}, {tier.in_flight} in flight, {tier.retries} retries"
            for name, tier in progress.tiers.items()
        )
        log.info("%s; %s", tiers or "no records yet", progress.outlook(time.monotonic()))


async def _live(progress: Progress, stream: IO[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.live import Live  # noqa: PLC0415

    console = Console(file=stream, highlight=False)
    handlers, log.handlers = log.handlers, []  # their lines would tear the table; notices are shown in it
    live = Live(console=console, auto_refresh=False, transient=True)
    try:
        with suppress(OSError):
            live.start()
            while True:
                live.update(_table(progress), refresh=True)
                await asyncio.sleep(REFRESH_S)
    finally:
        log.handlers = handlers
        with suppress(OSError):
            live.stop()
            for notice in progress.notices:
                console.print(printable(notice), markup=False)


def _table(progress: Progress) -> Table:
    from rich.table import Table  # noqa: PLC0415

    notice = f"\n{printable(progress.notices[-1])}" if progress.notices else ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), caption=progress.outlook(time.monotonic()) + notice)
    table.caption_justify = "left"
    for place, column in enumerate(("tier", "done", "of", "failed", "in flight", "retries")):
        table.add_column(column, justify="left" if place == 0 else "right")
    for name, tier in progress.tiers.items():
        table.add_row(name, *(f"{n:,}" for n in (tier.done, tier.records, tier.failed, tier.in_flight, tier.retries)))
    return table
