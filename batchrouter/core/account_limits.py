"""Which models count against one limit of their account, as what is left after their calls tells.

Models that announce the same limit may share it, or each may have one of its own. Between two answers of a model its
count rises by the model's own calls, or by the calls of all of them, less what came back meanwhile: nothing (a window
that begins anew), the calls of a minute ago (one that slides), or a steady stream (a bucket). Each such stretch of time
is one vote where only one of the two explains it. Until there are votes enough, models with the same limit are held to
it together, for as long as it takes to see something. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from batchrouter.core.limits import WINDOW_S, Counted

STRETCH_LEAST_S, STRETCH_MOST_S = 1.0, 30.0
OTHERS_LEAST, EACH_LEAST = 4, 2
"""So many calls of other models make a stretch of time tell something, and so many of one of them something of it."""
TOLERANCE, TOLERANCE_SHARE = 2.0, 0.1
"""Calls that may arrive in another order than they left in, and what else is not known exactly."""
BUCKET_WITHIN_S = 1.0
"""A bucket tells as its reset how long what is used takes to come back, rounded to seconds by some."""
FRESH_S = 2.0
SURE, SUREST = 3, 6
OPEN_LOOKS = 12
"""After so many looks that told nothing two models are let go, each at its own full pace."""
LOG_S = WINDOW_S + 2 * STRETCH_MOST_S


class Span(NamedTuple):
    """What a number is at least and at most."""

    least: float
    most: float


@dataclass(slots=True)
class CallLog:
    """When the calls of one model left, in order."""

    times: list[float] = field(default_factory=list)
    _cut_at: int = 1_000

    def add(self, at_s: float) -> None:
        """A call leaves; what is too old to tell anything is forgotten now and then."""
        self.times.append(at_s)
        if len(self.times) >= self._cut_at:
            del self.times[: bisect_right(self.times, at_s - LOG_S)]
            self._cut_at = max(1_000, 2 * len(self.times))

    def count(self, after_s: float, until_s: float) -> int:
        """Calls that left after one time, up to and with another."""
        return max(0, bisect_right(self.times, until_s) - bisect_right(self.times, after_s))


@dataclass(frozen=True, slots=True)
class Reading:
    """A count as one answer told it: it was read when the call came, or when it was answered."""

    sent_s: float
    now_s: float
    counted: Counted
    tpm: float | None

    def is_of_the_same_limits(self, other: Reading) -> bool:
        """Whether both announce the same number of requests, and of tokens."""
        return self.counted.limit == other.counted.limit and self.tpm == other.tpm

    @property
    def used(self) -> float:
        """What counts against the limit."""
        return self.counted.limit - self.counted.remaining

    @property
    def coming_back_s(self) -> float:
        """How soon one more comes back, where a steady stream does."""
        return WINDOW_S / self.counted.limit

    @property
    def is_of_a_bucket(self) -> bool:
        """Whether the reset is the time that all of what is used takes to come back in a steady stream."""
        reset_s = self.counted.reset_s
        return reset_s is not None and abs(reset_s - self.used * self.coming_back_s) <= BUCKET_WITHIN_S


@dataclass(frozen=True, slots=True)
class Stretch:
    """From one reading of a model's count to a later one."""

    before: Reading
    after: Reading

    def calls(self, logs: Iterable[CallLog], ago_s: float = 0.0) -> Span:
        """Calls that were counted meanwhile, or so long before: those in flight at an end of it may or may not be."""
        before, after = self.before, self.after
        least = most = 0
        for log in logs:
            least += log.count(before.now_s - ago_s, after.sent_s - ago_s)
            most += log.count(before.sent_s - ago_s, after.now_s - ago_s)
        return Span(least, most)

    @property
    def is_of_a_bucket(self) -> bool:
        """Whether both readings are those of a bucket."""
        return self.before.is_of_a_bucket and self.after.is_of_a_bucket

    @property
    def refill(self) -> Span:
        """What came back to a bucket that was never full meanwhile."""
        least_s, most_s = self.after.sent_s - self.before.now_s, self.after.now_s - self.before.sent_s
        return Span(max(0.0, least_s) / self.after.coming_back_s, most_s / self.after.coming_back_s)

    @property
    def tells_nothing(self) -> bool:
        """Whether nothing was left, or a bucket may have been full: the count cannot show all that came and went."""
        is_used_up = self.before.counted.remaining <= 0 or self.after.counted.remaining <= 0
        return is_used_up or (self.is_of_a_bucket and self.before.used < self.refill.most)

    def is_explained_by(self, logs: Sequence[CallLog]) -> bool:
        """Whether the count rose as it would if exactly the calls of these models counted."""
        rose, calls = self.after.used - self.before.used, self.calls(logs)
        came_back = [self.refill] if self.is_of_a_bucket else [Span(0, 0), self.calls(logs, WINDOW_S)]
        return any(_is_near(rose, Span(calls.least - back.most, calls.most - back.least), calls) for back in came_back)

    def is_a_minute_of(self, logs: Sequence[CallLog]) -> bool:
        """Whether the count is that of the last minute's calls of exactly these models."""
        after = self.after
        least = sum(log.count(after.now_s - WINDOW_S, after.sent_s) for log in logs)
        most = sum(log.count(after.sent_s - WINDOW_S, after.now_s) for log in logs)
        return _is_near(after.used, Span(least, most), Span(least, most))


def _is_near(value: float, span: Span, calls: Span) -> bool:
    tolerance = TOLERANCE + TOLERANCE_SHARE * calls.most
    return span.least - tolerance <= value <= span.most + tolerance


@dataclass(slots=True)
class Pair:
    """Whether two models count against one limit: votes for it less votes against it."""

    score: int = 0
    looks: int = 0
    is_one_limit: bool = False

    def look(self, vote: int) -> None:
        """One more stretch of time: 1 for one limit, -1 for two, 0 where it told nothing."""
        self.looks += 1
        self.score = max(-SUREST, min(SUREST, self.score + vote))
        if abs(self.score) >= SURE:
            self.is_one_limit = self.score > 0

    @property
    def is_two_limits(self) -> bool:
        """Whether that is sure by now."""
        return self.score <= -SURE

    @property
    def is_held_together(self) -> bool:
        """Whether both keep to one limit, for it is one or may still be."""
        return self.is_one_limit or (self.looks < OPEN_LOOKS and not self.is_two_limits)


class AccountLimits:
    """The models of one gateway that announce their limit of requests."""

    def __init__(self) -> None:
        self._logs: dict[str, CallLog] = {}
        self._latest: dict[str, Reading] = {}
        self._since: dict[str, Reading] = {}
        self._pairs: dict[frozenset[str], Pair] = {}
        self._is_announced = True

    def sent(self, model: str, at_s: float) -> None:
        """A call of a model leaves now, after all others that did."""
        if self._is_announced:
            self._logs.setdefault(model, CallLog()).add(at_s)

    def unannounced(self) -> None:
        """An answer says nothing of a limit: until one does, a fast gateway's calls are too many to be remembered."""
        if self._is_announced and not self._latest:
            self._is_announced = False
            self._logs.clear()

    def refused(self) -> None:
        """A call was refused: gateways differ in whether it counts, so what comes before it tells nothing any more."""
        self._since.clear()

    def answered(self, model: str, counted: Counted, *, sent_s: float, now_s: float, tpm: float | None = None) -> bool:
        """A call of a model that left then was answered now, with what is left of its limit; True if that told something.

        ``tpm``: the limit of tokens that is announced with it.
        """
        reading = Reading(sent_s, now_s, counted, tpm)
        self._is_announced = True
        self._logs.setdefault(model, CallLog())
        is_news = self._meet(model, reading)
        self._latest[model] = reading
        before = self._since.get(model)
        if before and before.counted.limit == counted.limit and now_s - before.now_s <= STRETCH_MOST_S:
            stretch = Stretch(before, reading)
            if not self._is_long_enough(model, stretch):
                return is_news
            self._look(model, stretch)
            is_news = True
        self._since[model] = reading
        return is_news

    def together(self) -> set[frozenset[str]]:
        """Groups of models that keep to one limit each, for it is one or may be one of all of them."""
        groups = self.one_limit()
        held = {pair for pair, one in self._pairs.items() if one.is_held_together}
        for pair in sorted(held, key=sorted):
            joined = _joined(groups, pair)
            if all(each in held for group in joined - groups for each in _pairs_in(group)):
                groups = joined
        return groups

    def one_limit(self) -> set[frozenset[str]]:
        """Groups of models of which it is known that they share one limit."""
        groups: set[frozenset[str]] = set()
        for pair, one in self._pairs.items():
            if one.is_one_limit:
                groups = _joined(groups, pair)
        return groups

    def _meet(self, model: str, reading: Reading) -> bool:
        pairs = len(self._pairs)
        for other, its in self._latest.items():
            if other != model and its.is_of_the_same_limits(reading):
                self._pairs.setdefault(frozenset((model, other)), Pair())
        return len(self._pairs) > pairs

    def _pairs_of(self, model: str) -> dict[str, Pair]:
        return {other: one for pair, one in self._pairs.items() if model in pair for other in pair - {model}}

    def _is_long_enough(self, model: str, stretch: Stretch) -> bool:
        if stretch.after.sent_s - stretch.before.now_s < STRETCH_LEAST_S:
            return False
        others = [self._logs[other] for other in self._pairs_of(model)]
        return stretch.calls(others).least >= OTHERS_LEAST

    def _look(self, model: str, stretch: Stretch) -> None:
        pairs = self._pairs_of(model)
        open_to = [other for other, pair in pairs.items() if not pair.is_two_limits] or list(pairs)
        vote = self._vote(stretch, model, open_to)
        for other, pair in pairs.items():
            if self._differ(stretch.after, self._latest[other], model, other):
                pair.look(-1)
            elif other in open_to and stretch.calls([self._logs[other]]).least >= EACH_LEAST:
                pair.look(vote)

    def _vote(self, stretch: Stretch, model: str, others: Sequence[str]) -> int:
        if stretch.tells_nothing:
            return 0
        own = [self._logs[model]]
        all_of_them = [*own, *(self._logs[other] for other in others)]
        by_all, by_own = stretch.is_explained_by(all_of_them), stretch.is_explained_by(own)
        if by_all and by_own and not stretch.is_of_a_bucket:
            by_all, by_own = stretch.is_a_minute_of(all_of_them), stretch.is_a_minute_of(own)
        return int(by_all) - int(by_own)

    def _differ(self, reading: Reading, other: Reading, model: str, its: str) -> bool:
        """Whether two counts that were read one shortly after the other cannot be one."""
        if not other.is_of_the_same_limits(reading):
            return True
        if other.now_s < reading.now_s - FRESH_S:
            return False
        logs = [self._logs[model], self._logs[its]]
        from_s, until_s = min(reading.sent_s, other.sent_s), reading.now_s
        calls = sum(log.count(from_s, until_s) for log in logs)
        gone = sum(log.count(from_s - WINDOW_S, until_s - WINDOW_S) for log in logs)
        most = calls + max(gone, (until_s - from_s) / reading.coming_back_s)
        return abs(reading.used - other.used) > TOLERANCE + (1 + TOLERANCE_SHARE) * most


def _joined(groups: set[frozenset[str]], pair: frozenset[str]) -> set[frozenset[str]]:
    """The groups once the two models of a pair are in one."""
    touched = {group for group in groups if group & pair}
    return groups - touched | {pair.union(*touched)}


def _pairs_in(group: frozenset[str]) -> Iterator[frozenset[str]]:
    return (frozenset(pair) for pair in combinations(group, 2))
