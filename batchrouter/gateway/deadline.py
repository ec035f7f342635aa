"""The deadline of one call, which asks first whether this process itself was late.

A process that was frozen, or an event loop that was held up, has not looked at its sockets meanwhile: an answer that
arrived, and was paid for, may lie there. So a deadline that is noticed late is put off a little, and the answer is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LATE_S = 0.1
"""Timers that fire so late mean that the loop did not run."""
READING_S = 1.0
"""Time for reading what arrived meanwhile."""
PUT_OFF_MOST = 5


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """TimeoutError when the block takes longer, time in which this process did not run apart."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None
    async with asyncio.timeout(None) as timeout:

        def due(at_s: float, put_off: int) -> None:
            nonlocal timer
            now_s = loop.time()
            if now_s - at_s < LATE_S or put_off == PUT_OFF_MOST:
                timeout.reschedule(now_s)
            else:
                timer = loop.call_later(READING_S, due, now_s + READING_S, put_off + 1)

        ends_s = loop.time() + seconds
        timer = loop.call_at(ends_s, due, ends_s, 0)
        try:
            yield
        finally:
            timer.cancel()
