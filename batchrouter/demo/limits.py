"""Rate limits over a sliding minute, and the headers that tell of them. Pure: the time is an argument, in seconds."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Refused:
    """A request above a limit. ``retry_after_s``: None where waiting cannot help, for it is larger than the limit."""

    kind: str
    limit: int
    used: int
    requested: int
    retry_after_s: float | None


class SlidingWindow:
    """How much was used in the last 60 seconds of a limit; holds at most ``limit`` entries, for each uses 1 or more."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._entries: deque[tuple[float, int]] = deque()

    def advance(self, now: float) -> None:
        """Forget what is older than the window."""
        entries = self._entries
        while entries and entries[0][0] + WINDOW_S <= now:
            self.used -= entries.popleft()[1]

    def use(self, now: float, amount: int) -> None:
        """Book an amount that fits."""
        self._entries.append((now, amount))
        self.used += amount

    def fits_in_s(self, now: float, amount: int) -> float | None:
        """Seconds until the amount fits (0: now); None: never."""
        excess = self.used + amount - self.limit
        if excess <= 0:
            return 0.0
        for at, used in self._entries:
            excess -= used
            if excess <= 0:
                return at + WINDOW_S - now
        return None

    def full_again_in_s(self, now: float) -> float:
        """Seconds until nothing is used any more."""
        return self._entries[-1][0] + WINDOW_S - now if self._entries else 0.0


class RateLimits:
    """Requests and tokens a minute of one model; a request that is refused uses neither."""

    def __init__(self, rpm: float | None, tpm: float | None) -> None:
        self._requests = None if rpm is None else SlidingWindow(int(rpm))
        self._tokens = None if tpm is None else SlidingWindow(int(tpm))
        named = (("requests", self._requests), ("tokens", self._tokens))
        self._windows = [(kind, window) for kind, window in named if window is not None]

    def admit(self, now: float, tokens: int) -> Refused | None:
        """Book one request of so many tokens, or say why it has to wait."""
        amounts = {"requests": 1, "tokens": tokens}
        for kind, window in self._windows:
            window.advance(now)
            wait_s = window.fits_in_s(now, amounts[kind])
            if wait_s is None or wait_s > 0:
                return Refused(kind, window.limit, window.used, amounts[kind], wait_s)
        for kind, window in self._windows:
            window.use(now, amounts[kind])
        return None

    def headers(self, now: float) -> dict[str, str]:
        """``x-ratelimit-{limit,remaining,reset}-{requests,tokens}`` for the limits that there are."""
        headers = {}
        for kind, window in self._windows:
            window.advance(now)
            headers[f"x-ratelimit-limit-{kind}"] = str(window.limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(window.limit - window.used)
            headers[f"x-ratelimit-reset-{kind}"] = duration(window.full_again_in_s(now))
        return headers


def retry_headers(wait_s: float) -> dict[str, str]:
    """When to come back, in whole seconds and, exactly, in milliseconds."""
    return {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}


def duration(seconds: float) -> str:
    """As OpenAI writes it, rounded up: ``12ms``, ``1s``, ``6m0s``, ``1h2m3s``."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, left = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
