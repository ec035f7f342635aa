"""Kinds of values that options take: times, durations, amounts, and how many failures are allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from batchrouter.core.errors import InputMissing
from batchrouter.core.options import MaxFailed

_UNITS_S = (7 * 86400, 86400, 3600, 60, 1)
_CLOCK_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Duration(click.ParamType[float]):
    """``90s``, ``15m``, ``6h``, ``1h30m``, ``30d``, ``2w``, or seconds as a number; gives seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, more than none."""
        text = str(value).strip()
        match = _DURATION.fullmatch(f"{text}s" if text.isdecimal() else text)
        seconds = _seconds(match.groups()) if match else 0.0
        return seconds or self.fail(f"{value!r} is not a duration: write 90s, 15m, 6h, 1h30m or 30d", param, ctx)


def _seconds(parts: Sequence[str | None]) -> float:
    """Of weeks, days, hours, minutes and seconds."""
    return float(sum(int(number or 0) * unit_s for number, unit_s in zip(parts, _UNITS_S, strict=True)))


class TimeOfStop(click.ParamType[datetime]):
    """``06:30`` (local, the next one to come) or an ISO time with its offset."""

    name = "time"

    def __init__(self, wall_clock: Callable[[], datetime] = datetime.now) -> None:
        self._wall_clock = wall_clock

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware time."""
        if isinstance(value, datetime):
            return value
        if match := _CLOCK_TIME.fullmatch(str(value).strip()):
            now = self._wall_clock()  # without offset: each day has one of its own
            at = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
            return (at if at > now else at + timedelta(days=1)).astimezone()
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time: write 06:30, or 2026-01-31T06:30:00+05:30", param, ctx)
        if at.tzinfo is None:
            self.fail(f"{value!r} has no offset: write it as {value}+05:30, or as HH:MM for local time", param, ctx)
        if at <= self._wall_clock().astimezone():
            self.fail(f"{value!r} is over already: no call would be made", param, ctx)
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
            failures = MaxFailed.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if failures.is_percent and failures.limit > 100:
            self.fail(f"{value!r} is more than all records: write a share up to 100%", param, ctx)
        return failures


class Some(click.ParamType[tuple[str, ...]]):
    """Some of a few words, with commas between them."""

    name = "words"

    def __init__(self, *words: str) -> None:
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The words, at least one."""
        if isinstance(value, tuple):
            return value
        chosen = tuple(word.strip() for word in str(value).split(",") if word.strip())
        if not chosen or not set(chosen) <= set(self.words):
            self.fail(f"{value!r}: write some of {', '.join(self.words)}, with commas", param, ctx)
        return chosen


class Share(click.ParamType[float]):
    """``95%`` or ``0.95``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A number from 0 to 1."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        return share if 0 <= share <= 1 else self.fail(f"{value!r} is not a share: write 95% or 0.95", param, ctx)


class ListOfWords(click.ParamType[tuple[str, ...]]):
    """The lines of a file."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Its lines, blank ones apart. InputMissing: there is no such file; an empty one is a mistake too."""
        if isinstance(value, tuple):
            return value
        try:
            lines = tuple(line.strip() for line in Path(value).read_text("utf-8-sig").split("\n") if line.strip())
        except OSError as error:
            raise InputMissing(f"{value} cannot be read: {error.strerror}", "Name a file with one id a line.") from None
        except UnicodeDecodeError:
            raise InputMissing(f"{value} is not UTF-8 text", "Name a file with one id a line.") from None
        return lines or self.fail(f"{value} holds no id", param, ctx)
