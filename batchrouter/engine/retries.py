"""Retries of one lane that wait for their time, with one timer for the first of them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from batchrouter.ports import Clock, Job


class Retries:
    """``wake`` is called when the first one's time has come, if somebody had looked for it in vain."""

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._jobs: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job, delay_s: float) -> None:
        """The job waits for so many seconds."""
        heapq.heappush(self._jobs, (self._clock.monotonic_s() + delay_s, next(self._order), job))

    def due(self, lets_through: Callable[[Job], bool]) -> Job | None:
        """The first job, if its time has come and it is let through."""
        if not self._jobs:
            return None
        due_s, _, job = self._jobs[0]
        if due_s > self._clock.monotonic_s():
            self._timer_at(due_s)
            return None
        if not lets_through(job):
            return None
        heapq.heappop(self._jobs)
        return job

    def take_all(self) -> list[Job]:
        """All of them, whether their time has come or not; none waits any more."""
        jobs = [job for _, _, job in self._jobs]
        self._jobs.clear()
        return jobs

    def close(self) -> None:
        """Nobody is woken any more."""
        if self._timer:
            self._timer.cancel()

    def _timer_at(self, due_s: float) -> None:
        if self._timer and self._timer_due_s <= due_s:
            return
        if self._timer:
            self._timer.cancel()
        wait_s = max(0.0, due_s - self._clock.monotonic_s())
        self._timer, self._timer_due_s = asyncio.get_running_loop().call_later(wait_s, self._time_is_up), due_s

    def _time_is_up(self) -> None:
        self._timer = None
        self._wake()
