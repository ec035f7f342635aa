"""The deadline of one call, which asks first whether this process itself was late.

A process that was frozen, or an event loop that was held up, has not looked at its sockets meanwhile: an answer that
arrived, and was paid for, may lie there. So a deadline that is noticed late is put off a little, and the answer is read.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

LATE_S = 0.1
"""Timers that fire so late mean that the loop did not run."""
READING_S = 1.0
"""Time for reading what arrived meanwhile."""
PUT_OFF_MOST = 5


class Deadline:
    """TimeoutError when the block takes longer than so many seconds, time in which this process did not run apart."""

    __slots__ = ("_loop", "_put_off", "_seconds", "_timeout", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._put_off = 0
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        ends_s = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(ends_s, self._due, ends_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _due(self, at_s: float) -> None:
        now_s = self._loop.time()
        if now_s - at_s < LATE_S or self._put_off == PUT_OFF_MOST:
            self._timeout.reschedule(now_s)
        else:
            self._put_off += 1
            self._timer = self._loop.call_later(READING_S, self._due, now_s + READING_S)
