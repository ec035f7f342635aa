"""What all work on a run stands on: signals that are heard, room kept in hand, an open ledger, the budget that is left."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from batchrouter.assembly.durable_news import DurableNews
from batchrouter.core.budget import Budget
from batchrouter.core.errors import StorageFailed
from batchrouter.core.settings import Settings
from batchrouter.engine.budgeting import Budgeting
from batchrouter.engine.context import RunContext
from batchrouter.engine.signals import stopped_by_signals
from batchrouter.engine.stopping import Stop
from batchrouter.ports import Clock, Gateway, Observer, RunEnd
from batchrouter.store import runs
from batchrouter.store.ballast import ballast_beside, ballast_bytes
from batchrouter.store.ledger import open_ledger
from batchrouter.store.opening import WritingConnection
from batchrouter.store.runs import Invocation


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where work is done: an open database, the gateway, whoever looks on, and how a stop goes."""

    connection: WritingConnection
    path: Path
    settings: Settings
    gateway: Gateway
    observer: Observer
    clock: Clock
    grace_s: float
    force_after_s: float | None = None

    @asynccontextmanager
    async def open(
        self, run: int, invocation: Invocation, *, calls_most: int | None, clear_requests: bool
    ) -> AsyncIterator[RunContext]:
        """The context of one invocation. ``calls_most``: in flight at once (None: as many as the settings allow)."""
        stop = Stop()
        room = ballast_bytes(self.settings, calls_most)
        with (
            stopped_by_signals(stop, self.grace_s, self.observer.notice, force_after_s=self.force_after_s),
            ballast_beside(self.path, room, self.observer.notice) as ballast,
        ):
            async with open_ledger(
                self.connection,
                path=self.path,
                invocation=invocation,
                clear_requests=clear_requests,
                clock=self.clock,
                ballast=ballast,
                stop=lambda failure: self._stop_for(stop, failure),
            ) as ledger:
                spent = await runs.spent_nano(self.connection, run)
                yield RunContext(
                    settings=self.settings,
                    ledger=ledger,
                    gateway=self.gateway,
                    observer=DurableNews(self.observer, ledger),
                    clock=self.clock,
                    chance=random.Random(run),  # noqa: S311 - spreads retries, guards nothing
                    budgeting=Budgeting(Budget(limit=self.settings.budget_nano, spent=spent)),
                    stop=stop,
                )

    def _stop_for(self, stop: Stop, failure: StorageFailed) -> None:
        self.observer.notice(f"{failure.message}: no new calls; answers that come within {self.grace_s:g} s are saved")
        stop.request(RunEnd(failure.exit_code, failure.message, failure.hint), grace_s=self.grace_s)
