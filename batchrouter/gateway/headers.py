"""What headers say about trying again. Pure, but for a date that comes without the answer's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date); None: nothing usable.

    A date is measured against the answer's own ``Date``, so that a wrong clock here changes nothing.
    """
    milliseconds = _number(headers.get("Retry-After-Ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    at, now = _date(value), _date(headers.get("Date")) or datetime.now(UTC)
    return None if at is None else max(0.0, (at - now).total_seconds())


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """The gateway's explicit word, ``x-should-retry``."""
    return {"true": True, "false": False}.get(headers.get("X-Should-Retry", "").strip().lower())


def answered_at(headers: Mapping[str, str]) -> datetime | None:
    """The gateway's clock when it answered, by its ``Date``; None: none, or a cache has kept the answer."""
    return None if "Age" in headers else _date(headers.get("Date"))


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(value: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
