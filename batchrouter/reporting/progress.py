"""Progress as numbers: what the engine tells while a run works, and what can be expected of the rest."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from dataclasses import dataclass, field

from batchrouter.core.counting import counted
from batchrouter.core.money import format_amount
from batchrouter.reporting.terminal import duration, printable

RATE_OVER_S = 30.0

log = logging.getLogger("batchrouter")


@dataclass(slots=True)
class TierProgress:
    """Counters of one tier; ``cost_nano`` and ``ended_here`` are of this invocation."""

    records: int = 0
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    retries: int = 0
    cost_nano: int = 0
    ended_here: int = 0

    @property
    def ended(self) -> int:
        """Records with a result."""
        return self.done + self.failed

    @property
    def left(self) -> int:
        """Records without one."""
        return max(0, self.records - self.ended)


@dataclass(slots=True)
class Progress:
    """Implements ``ports.Observer``: counts what happens. Amounts are nano-units of ``currency``.

    ``unpriced_calls`` cost something that nobody knows; ``no_baseline`` answers have none to be compared with.
    """

    currency: str = "INR"
    tiers: defaultdict[str, TierProgress] = field(default_factory=lambda: defaultdict(TierProgress))
    rejected: int = 0
    baseline_nano: int = 0
    unpriced_calls: int = 0
    no_baseline: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def resumed(self, tier: str | None, state: str, records: int) -> None:
        """Records from earlier invocations."""
        if state == "rejected":
            self.rejected += records
            return
        one = self._tier(tier)
        one.records += records
        one.done += records if state == "done" else 0
        one.failed += records if state == "failed" else 0

    def taken_in(self, tier: str | None, records: int, rejected: int) -> None:
        """New lines."""
        self.rejected += rejected
        if records:
            self._tier(tier).records += records

    def started(self, tier: str | None) -> None:
        """A call begins."""
        self._tier(tier).in_flight += 1

    def ended(self, tier: str | None, cost_nano: int | None, *, retried: bool) -> None:
        """A call ended."""
        one = self._tier(tier)
        one.in_flight -= 1
        one.retries += retried
        if cost_nano is None:
            self.unpriced_calls += 1
        else:
            one.cost_nano += cost_nano

    def finished(self, tier: str | None, state: str, baseline_nano: int | None) -> None:
        """A record has its result."""
        one = self._tier(tier)
        one.ended_here += 1
        if state != "done":
            one.failed += 1
            return
        one.done += 1
        if baseline_nano is None:
            self.no_baseline += 1
        else:
            self.baseline_nano += baseline_nano

    def moved(self, before: str | None, after: str) -> None:
        """A record goes on in another tier."""
        self._tier(before).records -= 1
        self._tier(after).records += 1

    def notice(self, message: str) -> None:
        """Something that a person should know."""
        log.info("%s", printable(message))

    def _tier(self, tier: str | None) -> TierProgress:
        return self.tiers[tier or "-"]

    @property
    def left(self) -> int:
        """Records without a result."""
        return sum(tier.left for tier in self.tiers.values())

    @property
    def ended_here(self) -> int:
        """Records that got their result in this invocation."""
        return sum(tier.ended_here for tier in self.tiers.values())

    @property
    def cost_nano(self) -> int:
        """The known costs of this invocation."""
        return sum(tier.cost_nano for tier in self.tiers.values())

    def projected_nano(self) -> int | None:
        """What this invocation costs in the end: each tier goes on at its own mean; None before anything ended."""
        ended, cost = self.ended_here, self.cost_nano
        if not ended:
            return None
        for tier in self.tiers.values():
            share, of = (tier.cost_nano, tier.ended_here) if tier.ended_here else (self.cost_nano, ended)
            cost += share * tier.left // of
        return cost

    def rate(self, now_s: float) -> float:
        """Records a second over the last half minute, or since this was first asked."""
        self._samples.append((now_s, self.ended_here))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - RATE_OVER_S:
            self._samples.popleft()
        first_s, first = self._samples[0]
        return (self.ended_here - first) / (now_s - first_s) if now_s > first_s else 0.0

    def outlook(self, now_s: float) -> str:
        """Rate, cost so far and projected, saved, time left: one line."""
        rate, left = self.rate(now_s), self.left
        cost = format_amount(self.cost_nano, self.currency)
        if self.unpriced_calls:
            cost += f" and {counted(self.unpriced_calls, 'call')} of unknown cost"
        parts = [f"{rate:,.1f}/s", f"cost {cost}"]
        projected = self.projected_nano()
        if left and projected is not None and not self.unpriced_calls:
            parts.append(f"projected {format_amount(projected, self.currency)}")
        saved = None if self.unpriced_calls or self.no_baseline else self.baseline_nano - self.cost_nano
        parts.append(f"saved {format_amount(saved, self.currency)}")
        if rate and left:
            parts.append(f"{duration(left / rate)} left")
        return ", ".join(parts)

    def line(self, now_s: float) -> str:
        """Everything in one line, for a log."""
        tiers = "; ".join(
            f"{name} {tier.ended:,}/{tier.records:,}, {tier.in_flight} in flight, {tier.retries} retries"
            for name, tier in self.tiers.items()
        )
        return f"{tiers or 'no records yet'}; {self.outlook(now_s)}"
