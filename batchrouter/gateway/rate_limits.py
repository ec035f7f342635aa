"""Rate limits as the headers of an answer tell them, in the dialects of OpenAI, Azure, Together, LiteLLM and Anthropic.

The names say neither whether a limit counts over a second, a minute or a day, nor whether ``reset`` is the time until
all of it is there again or until a window ends; what was used and how long it takes to come back tell the first. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from batchrouter.core.limits import Announced, Counted
from batchrouter.gateway.headers import answered_at

OPENAI, ANTHROPIC = "X-Ratelimit-{}-{}", "Anthropic-Ratelimit-{1}-{0}"
EXHAUSTED_MOST_S = 1.0
LONGER_THAN_A_MINUTE_S = 90.0
_MINUTE_S = 60.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


class _Limit(NamedTuple):
    limit: float
    remaining: float | None
    reset_s: float | None

    @property
    def a_minute(self) -> float | None:
        """The limit by the minute; None where it counts over a longer time."""
        if self.reset_s is None or self.remaining is None:
            return self.limit
        if self.reset_s > LONGER_THAN_A_MINUTE_S:
            return None
        used = self.limit - self.remaining
        is_of_a_second = used > 0 < self.reset_s and self.reset_s <= min(1.0, _MINUTE_S * used / self.limit / 2)
        return self.limit * _MINUTE_S if is_of_a_second else self.limit

    @property
    def counted(self) -> Counted | None:
        """The count of a minute; None where it is one of a shorter or a longer time, or not told."""
        if self.remaining is None or self.a_minute != self.limit:
            return None
        return Counted(self.limit, self.remaining, self.reset_s)

    @property
    def exhausted_s(self) -> float:
        """Where nothing is left, the time in which one more comes back: ``reset`` may be that until all of it is there."""
        if self.remaining != 0 or self.reset_s is None:
            return 0.0
        return min(EXHAUSTED_MOST_S, self.reset_s, _MINUTE_S / self.limit)


def announced(headers: Mapping[str, str]) -> Announced | None:
    """The limits of requests and tokens by the minute; None: the headers say nothing."""
    if "X-Ratelimit-Limit-Requests" in headers or "X-Ratelimit-Limit-Tokens" in headers:
        requests, tokens = _limit(headers, OPENAI, "Requests"), _limit(headers, OPENAI, "Tokens")
    elif "Anthropic-Ratelimit-Requests-Limit" in headers or "Anthropic-Ratelimit-Tokens-Limit" in headers:
        requests, tokens = _limit(headers, ANTHROPIC, "Requests"), _limit(headers, ANTHROPIC, "Tokens")
    else:
        return None
    found = [limit for limit in (requests, tokens) if limit]
    return Announced(
        rpm=requests.a_minute if requests else None,
        tpm=tokens.a_minute if tokens else None,
        exhausted_s=max((limit.exhausted_s for limit in found), default=0.0),
        requests=requests.counted if requests else None,
    )


def _limit(headers: Mapping[str, str], name: str, of: str) -> _Limit | None:
    limit = _number(headers.get(name.format("Limit", of)))
    if not limit or limit < 0:  # Azure: 0 or -1 where it does not know
        return None
    remaining = _number(headers.get(name.format("Remaining", of)))
    reset = headers.get(name.format("Reset", of))
    return _Limit(limit, remaining, None if reset is None else _seconds(reset.strip(), headers))


def _number(text: str | None) -> float | None:
    try:
        return float(int(text)) if text is not None else None
    except (ValueError, OverflowError):
        return None


def _seconds(text: str, headers: Mapping[str, str]) -> float | None:
    """``12ms``, ``6m0s``, a number of seconds, or a time of RFC 3339, which is compared with the answer's ``Date``."""
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    now = answered_at(headers) or datetime.now(UTC)
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
