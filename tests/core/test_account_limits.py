"""Which models share one limit of their account, told by what is left of it, against gateways in a simulated time."""

from __future__ import annotations

import heapq
import random
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from batchrouter.core.account_limits import AccountLimits
from batchrouter.core.limits import Counted, RequestGrid, Turn

CONNECTING_S = 0.02


class Counter(Protocol):
    """A limit of requests a minute at a gateway."""

    def takes(self, now_s: float) -> bool: ...

    def told(self, now_s: float) -> Counted: ...


@dataclass
class Sliding:
    """At most so many within any minute; all is there again when the last call is a minute old."""

    limit: float
    taken: deque[float] = field(default_factory=deque)

    def takes(self, now_s: float) -> bool:
        while self.taken and self.taken[0] <= now_s - 60:
            self.taken.popleft()
        if len(self.taken) >= self.limit:
            return False
        self.taken.append(now_s)
        return True

    def told(self, now_s: float) -> Counted:
        reset_s = self.taken[-1] + 60 - now_s if self.taken else 0.0
        return Counted(self.limit, self.limit - len(self.taken), reset_s)


@dataclass
class Fixed:
    """At most so many within a minute of the clock."""

    limit: float
    used: int = 0
    began_s: float = -37.0

    def takes(self, now_s: float) -> bool:
        while self.began_s + 60 <= now_s:
            self.began_s, self.used = self.began_s + 60, 0
        if self.used >= self.limit:
            return False
        self.used += 1
        return True

    def told(self, now_s: float) -> Counted:
        return Counted(self.limit, self.limit - self.used, self.began_s + 60 - now_s)


@dataclass
class Bucket:
    """Filled up in a steady stream; the reset is the time until it is full."""

    limit: float
    used: float = 0.0
    at_s: float = 0.0

    def takes(self, now_s: float) -> bool:
        self.used = max(0.0, self.used - (now_s - self.at_s) * self.limit / 60)
        self.at_s = now_s
        if self.used + 1 > self.limit:
            return False
        self.used += 1
        return True

    def told(self, now_s: float) -> Counted:
        return Counted(self.limit, int(self.limit - self.used), self.used * 60 / self.limit)


KINDS = {"sliding": Sliding, "fixed": Fixed, "bucket": Bucket}


class Client:
    """Models that send whenever they may, each through the grid of those that it is held together with.

    ``counters``: model -> its limit at the gateway. ``busy``: the share of the time in which a model has work.
    """

    def __init__(
        self,
        counters: dict[str, Counter],
        rpm: float,
        *,
        seed: int = 0,
        in_flight: int = 30,
        latency_s: float = 0.25,
        busy: dict[str, tuple[float, float]] | None = None,
        tells_reset: bool = True,
        others_calls: Sequence[tuple[Counter, float]] = (),
    ) -> None:
        sys.stdout.write(f"seed {seed}\n")
        self.account = AccountLimits()
        self.refused: dict[str, int] = dict.fromkeys(counters, 0)
        self.accepted: dict[str, list[float]] = {name: [] for name in counters}
        self.together_s: dict[frozenset[str], float] = {}
        self.counters = counters
        self._rpm, self._in_flight, self._latency_s = rpm, in_flight, latency_s
        self._busy, self._tells_reset, self._others = busy or {}, tells_reset, others_calls
        self._chance = random.Random(seed)
        self._grids = {name: RequestGrid(rpm) for name in counters}
        self._flying = dict.fromkeys(counters, 0)
        self._events: list[tuple[float, int, str, str, float, Counted | None]] = []
        self._n = 0
        for name in counters:
            self._push(0.0, "may send", name)
        for number, (_, rate) in enumerate(others_calls):
            self._push(1 / rate, "another", str(number))

    def _push(self, at_s: float, kind: str, name: str, sent_s: float = 0.0, told: Counted | None = None) -> None:
        self._n += 1
        heapq.heappush(self._events, (at_s, self._n, kind, name, sent_s, told))

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] < until_s:
            now_s, _, kind, name, sent_s, told = heapq.heappop(self._events)
            match kind:
                case "may send":
                    self._may_send(name, now_s)
                case "arrives":
                    self._arrives(name, now_s, sent_s)
                case "another":
                    counter, rate = self._others[int(name)]
                    counter.takes(now_s)
                    self._push(now_s + 1 / rate, "another", name)
                case _:
                    self._answered(name, now_s, sent_s, told)

    def _may_send(self, name: str, now_s: float) -> None:
        from_s, until_s = self._busy.get(name, (0.0, 1e9))
        wait_s = self._grids[name].wait_s(now_s)
        if not from_s <= now_s < until_s:
            if now_s < from_s:
                self._push(from_s, "may send", name)
        elif wait_s > 0 or self._flying[name] >= self._in_flight:
            self._push(now_s + max(wait_s, 0.001), "may send", name)
        else:
            turn = Turn(now_s)
            self._grids[name].take(turn)
            self._grids[name].left(turn)
            self._flying[name] += 1
            self.account.sent(name, now_s)
            self._push(now_s + self._chance.random() * CONNECTING_S, "arrives", name, now_s)
            self._push(now_s + 0.0005, "may send", name)

    def _arrives(self, name: str, now_s: float, sent_s: float) -> None:
        counter = self.counters[name]
        taken = counter.takes(now_s)
        (self.accepted[name].append(now_s)) if taken else None
        latency_s = 0.02
        if taken:
            latency_s = min(12 * self._latency_s, 0.05 + self._chance.expovariate(1 / self._latency_s))
        self._push(now_s + latency_s, "answered", name, sent_s, counter.told(now_s) if taken else None)

    def _answered(self, name: str, now_s: float, sent_s: float, told: Counted | None) -> None:
        self._flying[name] -= 1
        if told is None:
            self.refused[name] += 1
            self.account.refused()
            return
        if not self._tells_reset:
            told = Counted(told.limit, told.remaining)
        before = self.account.together()
        self.account.answered(name, told, sent_s=sent_s, now_s=now_s)
        after = self.account.together()
        if after != before:
            self._regroup(after)
            sys.stdout.write(f"{now_s:6.2f} s: {sorted(map(sorted, after))}\n")

    def _regroup(self, groups: set[frozenset[str]]) -> None:
        grids = dict(self._grids)
        for name in self._grids:
            group = next((group for group in groups if name in group), frozenset({name}))
            first = min(group)
            if name == first:
                self._grids[name] = RequestGrid.in_place_of([grids[each] for each in sorted(group)])
        for group in groups:
            for name in group:
                self._grids[name] = self._grids[min(group)]

    def used(self, from_s: float, until_s: float, *names: str) -> float:
        calls = sum(from_s <= at_s < until_s for name in names for at_s in self.accepted[name])
        share = calls / (self._rpm / 60 * (until_s - from_s))
        sys.stdout.write(f"{from_s:.0f} to {until_s:.0f} s: {names} used {share:.2f} of the limit\n")
        return share

    def refused_share(self) -> float:
        refused, accepted = sum(self.refused.values()), sum(len(calls) for calls in self.accepted.values())
        sys.stdout.write(f"{refused} refused, {accepted} accepted\n")
        return refused / (refused + accepted)


def one_counter(counter: Counter, *names: str) -> dict[str, Counter]:
    return dict.fromkeys(names, counter)


SEEDS = range(2)
RPMS = (60, 1_200, pytest.param(6_000, marks=pytest.mark.long))


@pytest.mark.parametrize("rpm", RPMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_one_limit_is_recognised_and_kept_to_together(kind: str, rpm: int, names: str) -> None:
    for seed in SEEDS:
        client = Client(one_counter(KINDS[kind](rpm), *names), rpm, seed=seed)
        client.run(150)
        assert client.account.one_limit() == {frozenset(names)}
        assert client.refused_share() <= 0.02
        assert client.used(0, 150, *names) >= 0.85


@pytest.mark.parametrize("rpm", RPMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_equal_limits_of_two_models_are_both_used(kind: str, rpm: int, names: str) -> None:
    for seed in SEEDS:
        client = Client({name: KINDS[kind](rpm) for name in names}, rpm, seed=seed)
        client.run(150)
        assert client.account.one_limit() == client.account.together() == set()
        for name in names:
            assert client.used(60, 150, name) >= 0.85
        assert client.refused_share() <= 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_two_of_three_that_share_are_told_from_the_third(kind: str) -> None:
    for seed in SEEDS:
        counters = one_counter(KINDS[kind](600), "a", "b") | {"c": KINDS[kind](600)}
        client = Client(counters, 600, seed=seed)
        client.run(150)
        assert client.account.one_limit() == {frozenset("ab")}
        assert client.used(60, 150, "c") >= 0.85
        assert client.used(60, 150, "a", "b") >= 0.85
        assert client.refused_share() <= 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_comes_late_is_recognised_too(kind: str) -> None:
    for seed in SEEDS:
        client = Client(one_counter(KINDS[kind](1_200), "a", "b"), 1_200, seed=seed, busy={"b": (100.0, 200.0)})
        client.run(300)
        assert client.account.one_limit() == {frozenset("ab")}
        assert client.refused_share() <= 0.02
        assert client.used(100, 300, "a", "b") >= 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_program_uses_of_one_of_two_limits_is_no_sharing(kind: str) -> None:
    for seed in SEEDS:
        counters = {"a": KINDS[kind](1_200), "b": KINDS[kind](1_200)}
        client = Client(counters, 1_200, seed=seed, others_calls=[(counters["a"], 6.0)])
        client.run(150)
        assert client.account.one_limit() == set()
        assert client.used(60, 150, "b") >= 0.85


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_what_was_concluded_is_withdrawn_when_later_answers_contradict_it(kind: str) -> None:
    one, two = one_counter(KINDS[kind](1_200), "a", "b"), {name: KINDS[kind](1_200) for name in "ab"}
    client = Client(one, 1_200)
    client.run(100)
    assert client.account.one_limit() == {frozenset("ab")}
    client.counters = two
    client.run(200)
    assert client.account.together() == set()
    assert client.used(150, 200, "a") >= 0.85
    client.counters = one
    client.run(300)
    assert client.account.one_limit() == {frozenset("ab")}
    assert client.refused_share() <= 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_what_both_were_used_alike_by_another_program_before_is_no_sharing(kind: str) -> None:
    counters = {name: KINDS[kind](1_200) for name in "ab"}
    for n in range(100):
        for counter in counters.values():
            counter.takes(-30 + n * 0.3)
    client = Client(counters, 1_200)
    client.run(100)
    assert client.account.one_limit() == client.account.together() == set()


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_long_answers_only_take_longer_to_tell(kind: str) -> None:
    one = Client(one_counter(KINDS[kind](600), "a", "b"), 600, in_flight=200, latency_s=5.0)
    one.run(150)
    assert one.account.one_limit() == {frozenset("ab")}
    two = Client({name: KINDS[kind](600) for name in "ab"}, 600, in_flight=200, latency_s=5.0)
    two.run(150)
    assert two.account.together() == set()
    assert two.used(60, 150, "a") >= 0.85


def test_without_a_word_of_when_it_resets_windows_are_told_apart_too() -> None:
    for kind in ("sliding", "fixed"):
        one = Client(one_counter(KINDS[kind](1_200), "a", "b"), 1_200, tells_reset=False)
        one.run(60)
        assert one.account.one_limit() == {frozenset("ab")}
        two = Client({name: KINDS[kind](1_200) for name in "ab"}, 1_200, tells_reset=False)
        two.run(60)
        assert two.account.together() == set()


def test_different_limits_are_never_taken_for_one() -> None:
    client = Client({"a": Sliding(1_200), "b": Sliding(600)}, 600)
    client.run(60)
    assert client.account.together() == client.account.one_limit() == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_idle_is_not_judged_and_keeps_no_others_together(kind: str) -> None:
    shared = KINDS[kind](1_200)
    client = Client({"a": shared, "b": KINDS[kind](1_200), "c": shared}, 1_200, busy={"c": (0.0, 0.1)})
    client.run(60)
    assert client.account.one_limit() == set()
    assert not any({"a", "b"} <= group for group in client.account.together())
    assert client.used(20, 60, "a") >= 0.85
    assert client.used(20, 60, "b") >= 0.85
    client = Client(one_counter(KINDS[kind](1_200), *"abc"), 1_200, busy={"c": (0.0, 0.1)})
    client.run(60)
    assert client.account.one_limit() == {frozenset("ab")}


def test_where_no_answer_tells_of_a_limit_calls_are_not_remembered() -> None:
    limits = AccountLimits()
    limits.sent("a", 0.0)
    limits.unannounced()
    for call in range(1_000):
        limits.sent("a", call / 1_000)
    assert not limits._logs
    limits.answered("a", Counted(600, 599, 60.0), sent_s=1.0, now_s=1.1)
    limits.unannounced()  # an answer of another kind now and then
    limits.sent("a", 1.2)
    assert limits._logs["a"].times == [1.2]


def test_models_whose_limits_of_tokens_differ_are_not_held_together() -> None:
    limits = AccountLimits()
    for model, tpm in (("a", 40_000), ("b", 2_000_000), ("c", 40_000)):
        limits.sent(model, 0.0)
        limits.answered(model, Counted(500, 499, 60.0), sent_s=0.0, now_s=0.1, tpm=tpm)
    assert limits.together() == {frozenset("ac")}
