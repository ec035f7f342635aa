"""Kinds of values that options take: times, durations, amounts, and how many failures are allowed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from batchrouter.core.options import MaxFailed

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_CLOCK_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Duration(click.ParamType[float]):
    """``90s``, ``15m``, ``6h``, ``1h30m``, or seconds as a number; gives seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, more than none."""
        text = str(value).strip()
        match = _DURATION.fullmatch(text)
        if match and any(match.groups()):
            factors = (_UNITS_S["d"], _UNITS_S["h"], _UNITS_S["m"], _UNITS_S["s"])
            return float(sum(int(number or 0) * factor for number, factor in zip(match.groups(), factors, strict=True)))
        if text.isdecimal():
            return float(text)
        return self.fail(f"{value!r} is not a duration: write 90s, 15m, 6h or 1h30m", param, ctx)


class TimeOfStop(click.ParamType[datetime]):
    """``06:30`` (local, the next one to come) or an ISO time with its offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware time."""
        if isinstance(value, datetime):
            return value
        if match := _CLOCK_TIME.fullmatch(str(value).strip()):
            now = datetime.now().astimezone()
            at = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
            return at if at > now else at + timedelta(days=1)
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time: write 06:30, or 2026-01-31T06:30:00+05:30", param, ctx)
        if at.tzinfo is None:
            self.fail(f"{value!r} has no offset: write it as {value}+05:30, or as HH:MM for local time", param, ctx)
        return at


class Amount(click.ParamType[Decimal]):
    """An amount of the configured currency."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """A finite Decimal, not negative."""
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal(-1)
        if not amount.is_finite() or amount < 0:
            self.fail(f"{value!r} is not an amount such as 500 or 12.50", param, ctx)
        return amount


class Failures(click.ParamType[MaxFailed]):
    """``20`` or ``1%``."""

    name = "n|p%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> MaxFailed:
        """A number of records or a share of them."""
        if isinstance(value, MaxFailed):
            return value
        try:
            return MaxFailed.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
