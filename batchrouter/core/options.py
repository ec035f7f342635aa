"""What a person asks of one invocation, beyond the configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class MaxFailed:
    """How many records may fail or be rejected in a run that still counts as clean: a number, or a share in percent."""

    limit: Decimal
    is_percent: bool = False

    @classmethod
    def parse(cls, text: str) -> MaxFailed:
        """``"20"`` or ``"1.5%"``; ValueError otherwise."""
        number = text.removesuffix("%")
        try:
            limit = Decimal(number)
        except ArithmeticError:
            limit = Decimal(-1)
        is_percent = text.endswith("%")
        if not limit.is_finite() or limit < 0 or (not is_percent and limit != int(limit)):
            raise ValueError(f"{text!r} is neither a whole number nor a percentage such as 1%")
        return cls(limit, is_percent)

    def allows(self, not_answered: int, records: int) -> bool:
        """Whether so many failed and rejected records of so many are few enough."""
        return not_answered <= (records * self.limit / 100 if self.is_percent else self.limit)

    def __str__(self) -> str:
        return f"{self.limit}%" if self.is_percent else str(self.limit)


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How lines become requests. Template and system are texts, already read from their files."""

    template: str | None = None
    system: str | None = None
    id_field: str | None = None
    task_field: str | None = None
    no_routing: bool = False


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How far and how one invocation of ``run`` goes. ``until`` carries its offset; durations are seconds.

    ``force_after_s``: if the run is not at its end so long after the grace that a signal left it, end the process
    (None: never; the command does).
    """

    name: str | None = None
    new: bool = False
    demo: bool = False
    limit: int | None = None
    until: datetime | None = None
    max_duration_s: float | None = None
    grace_s: float = 20.0
    force_after_s: float | None = None
    concurrency: int | None = None
    max_failed: MaxFailed | None = None
    output: str | Path | None = None

    def seconds_left(self, now: datetime) -> float | None:
        """Until the run should stop claiming, by ``until`` or ``max_duration_s``, whichever comes first; None: no end."""
        ends = [] if self.max_duration_s is None else [self.max_duration_s]
        if self.until is not None:
            ends.append((self.until - now).total_seconds())
        return max(0.0, min(ends)) if ends else None


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What an evaluation draws and compares. ``judge`` None: the top tier's first model; ``exact``: no model at all.

    ``threshold`` is the share that should be as good, ``gold`` a file of what people say of records, ``pairs`` a file to
    write the compared answers to.
    """

    sample: int = 100
    against: Literal["next", "top"] = "next"
    judge: str | None = None
    seed: int = 0
    stratify: tuple[Literal["tier", "task"], ...] = ()
    threshold: float = 0.95
    gold: str | Path | None = None
    pairs: str | Path | None = None
    grace_s: float = 20.0


@dataclass(frozen=True, slots=True)
class RetrySelection:
    """Which ended records ``retry`` does again; a record must meet every condition that is given."""

    statuses: tuple[str, ...] = ("failed",)
    error_classes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    tier: str | None = None
