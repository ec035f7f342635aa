"""Stopping: one place that knows whether the run should end, why, and how long calls in flight may still take."""

from __future__ import annotations

import asyncio

from batchrouter.ports import RunEnd


class Stop:
    """The first request to stop decides how the run ends; waits that go through here are cut short by it."""

    def __init__(self) -> None:
        self.end: RunEnd | None = None
        self.grace_s: float | None = None
        self.requested = asyncio.Event()
        self.at_once = asyncio.Event()
        self._sleepers: set[asyncio.Future[None]] = set()

    def request(self, end: RunEnd, *, grace_s: float | None = None) -> None:
        """Stop claiming. Calls in flight get ``grace_s`` seconds (None: as long as their own timeout lets them)."""
        if self.end is None:
            self.end = end
            self.requested.set()
        if grace_s is not None and (self.grace_s is None or grace_s < self.grace_s):
            self.grace_s = grace_s
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    def leave_now(self) -> None:
        """Give up the calls in flight too."""
        self.at_once.set()

    @property
    def is_requested(self) -> bool:
        """Whether nothing new should be started."""
        return self.end is not None

    async def sleep(self, seconds: float) -> bool:
        """Wait so long; False as soon as the run should stop."""
        if self.end is None and seconds > 0:
            loop = asyncio.get_running_loop()
            sleeper = loop.create_future()
            self._sleepers.add(sleeper)
            timer = loop.call_later(seconds, _wake, sleeper)
            try:
                await sleeper
            finally:
                timer.cancel()
                self._sleepers.discard(sleeper)
        return self.end is None


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
