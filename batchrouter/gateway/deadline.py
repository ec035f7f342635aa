"""The deadlines of one gateway's calls, which first ask whether this process itself was late.

A process that was frozen, or an event loop that was held up, has not looked at its sockets meanwhile: an answer that
arrived, and was paid for, may lie there. So a deadline that is noticed late is put off a little, and the answer is read.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

LATE_S = 0.1
"""Timers that fire so late mean that the loop did not run."""
READING_S = 1.0
"""Time for reading what arrived meanwhile."""
PUT_OFF_MOST = 5


class Deadlines:
    """TimeoutError where a ``with`` block takes longer than so many seconds, time in which this process did not run apart.

    All blocks have the same time, so the one that was entered first is due first, and one timer serves them all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._ends_s: dict[asyncio.Task[object], float] = {}
        self._cut_off: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._put_off = 0

    def __enter__(self) -> None:
        self._ends_s[_this_task()] = ends_s = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(ends_s, self._due, ends_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = _this_task()
        self._ends_s.pop(task, None)
        if task in self._cut_off:
            self._cut_off.discard(task)
            if task.uncancel() == 0 and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def close(self) -> None:
        """No block is entered any more."""
        if self._timer:
            self._timer.cancel()

    def _due(self, at_s: float) -> None:
        now_s = self._loop.time()
        if now_s - at_s >= LATE_S and self._put_off < PUT_OFF_MOST:
            self._put_off += 1
            self._look_again(now_s + READING_S)
            return
        self._put_off = 0
        while self._ends_s:
            task, ends_s = next(iter(self._ends_s.items()))
            if ends_s > now_s:
                self._look_again(ends_s)
                return
            del self._ends_s[task]
            self._cut_off.add(task)
            task.cancel()
        self._timer = None

    def _look_again(self, at_s: float) -> None:
        self._timer = self._loop.call_at(at_s, self._due, at_s)


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a deadline needs a task that it can cut off")
    return task
