"""The real clock and the real guard of a rate."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

from asyncio_throttle.throttler import Throttler

from batchrouter.ports import Pacer

GUARD_PERIOD_S = 1.0
CENTURY_S = 100 * 365 * 86_400.0


class SystemClock:
    """Implements ``ports.Clock``."""

    def __init__(self) -> None:
        self._second, self._to_the_second = -1, ""
        self._millisecond, self._now = -1, ""

    monotonic_s = staticmethod(time.monotonic)
    """Seconds of the event loop's clock."""

    def utc(self) -> str:
        """Now, in UTC, to the millisecond."""
        milliseconds = time.time_ns() // 1_000_000
        if milliseconds != self._millisecond:
            second, rest = divmod(milliseconds, 1_000)
            if second != self._second:
                self._second, self._to_the_second = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._millisecond, self._now = milliseconds, f"{self._to_the_second}.{rest:03d}Z"
        return self._now

    def utc_ago(self, seconds: float) -> str:
        """So long ago, in UTC, to the millisecond; a century at most."""
        then = datetime.now(UTC) - timedelta(seconds=min(seconds, CENTURY_S))
        return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ThrottleGuard:
    """Implements ``ports.Pacer``: never more than a second's share of the limit in any second.

    The even grid gives the pace; this stands behind it for the case that grid slots bunch up, after a stall say. It is
    given one waiter at a time, because each of its waiters polls.
    """

    def __init__(self, rpm: float) -> None:
        self._throttler = Throttler(rate_limit=max(1, math.ceil(rpm / 60)), period=GUARD_PERIOD_S)

    async def wait(self) -> None:
        """Return when one more request may go out."""
        await self._throttler.acquire()


def guard_for(rpm: float | None) -> Pacer | None:
    """The guard of a model's rate. Below one request a second the grid alone is exact enough."""
    return ThrottleGuard(rpm) if rpm and rpm >= 60 else None
