"""Finding a limit that nobody configured, against gateways of three kinds in a simulated time."""

from __future__ import annotations

import heapq
import random
import statistics
import sys
from collections import deque
from dataclasses import dataclass, field

import pytest

from batchrouter.core.limits import RequestGrid, Turn
from batchrouter.core.rate_search import RateSearch

CALLS_IN_FLIGHT = {300: 32, 600: 32, 6_000: 64, 60_000: 1_000}


@dataclass
class Window:
    """At most so many requests in any so many seconds."""

    rpm: float
    seconds: float
    taken: deque[float] = field(default_factory=deque)

    def takes(self, now_s: float) -> bool:
        while self.taken and self.taken[0] <= now_s - self.seconds:
            self.taken.popleft()
        if len(self.taken) >= self.rpm / 60 * self.seconds:
            return False
        self.taken.append(now_s)
        return True


@dataclass
class Bucket:
    """Tokens for two seconds, filled up at the limit's rate."""

    rpm: float
    tokens: float = 0.0
    at_s: float = 0.0

    def takes(self, now_s: float) -> bool:
        self.tokens = min(self.rpm / 30, self.tokens + (now_s - self.at_s) * self.rpm / 60)
        self.at_s = now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class Noisy:
    """Refuses a share of all calls, whatever the pace, before its limit is asked."""

    limit: Window | Bucket
    share: float
    chance: random.Random = field(default_factory=lambda: random.Random(5))

    @property
    def rpm(self) -> float:
        return self.limit.rpm

    def takes(self, now_s: float) -> bool:
        return self.chance.random() >= self.share and self.limit.takes(now_s)


KINDS = {"a second": lambda rpm: Window(rpm, 1.0), "a minute": lambda rpm: Window(rpm, 60.0), "a bucket": Bucket}


class Client:
    """Sends whenever it may, as ``engine.pacing`` does; ``accepted`` and ``refused`` are times of sending."""

    def __init__(
        self,
        gateway: Window | Bucket | Noisy,
        seed: int,
        in_flight: int,
        found_rpm: float | None = None,
        latency_s: tuple[float, float] = (0.05, 3.0),
        refusal_s: tuple[float, float] = (0.02, 0.07),
    ) -> None:
        sys.stdout.write(f"seed {seed}\n")
        self.gateway = gateway
        self.search = RateSearch.from_found(found_rpm, 0.0) if found_rpm else RateSearch()
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self._chance = random.Random(seed)
        self._latency_s, self._refusal_s = latency_s, refusal_s
        self._grid = RequestGrid(10**9)
        self._in_flight: list[tuple[float, float, bool]] = []
        self._bound, self._most = in_flight, in_flight if found_rpm else 4
        self._answers = 0
        self._paused_until_s, self._pauses, self._is_careful = 0.0, 0, False
        self._last_s = -10.0
        self._now_s = 0.0

    def run(self, until_s: float) -> None:
        while self._now_s < until_s:
            send_s = self._next_turn_s() if len(self._in_flight) < self._most else None
            if self._in_flight and (send_s is None or self._in_flight[0][0] <= send_s):
                self._end(*heapq.heappop(self._in_flight))
            elif send_s is not None:
                self._send(send_s)

    def _next_turn_s(self) -> float:
        self._grid.rpm = self.search.rpm or 10**9
        next_s = max(self._now_s, self._paused_until_s, self._grid.next_s)
        return max(next_s, self._last_s + 1.0) if self._is_careful else next_s

    def _send(self, at_s: float) -> None:
        self._now_s = self._last_s = at_s
        self._grid.take(Turn(at_s))
        self.search.sent(at_s)
        taken = self.gateway.takes(at_s)
        (self.accepted if taken else self.refused).append(at_s)
        least_s, most_s = self._latency_s
        latency_s = min(most_s, least_s + self._chance.expovariate(12 / most_s))
        if not taken:
            latency_s = self._chance.uniform(*self._refusal_s)
        heapq.heappush(self._in_flight, (at_s + latency_s, at_s, taken))

    def _end(self, now_s: float, sent_s: float, taken: bool) -> None:
        self._now_s = now_s
        if taken:
            self.search.answered(sent_s, now_s)
            self._is_careful, self._pauses = (False, 0) if sent_s >= self._paused_until_s else (self._is_careful, 1)
            self._answers += 1
            if self._answers >= (1 if self.search.rpm is None else self._most):
                self._answers, self._most = 0, min(self._bound, self._most + 1)
        elif self.search.refused(sent_s, now_s) and now_s >= self._paused_until_s:
            self._paused_until_s = now_s + min(8, 2**self._pauses) * (0.5 + self._chance.random() / 2)
            self._pauses, self._is_careful = min(10, self._pauses + 1), True

    def used(self, from_s: float, until_s: float) -> float:
        """The share of the limit that was used."""
        calls = sum(from_s <= at_s < until_s for at_s in self.accepted)
        share = calls / (self.gateway.rpm / 60 * (until_s - from_s))
        sys.stdout.write(f"{from_s:.0f} to {until_s:.0f} s: {share:.2f} of the limit\n")
        return share

    def refused_share(self) -> float:
        share = len(self.refused) / (len(self.refused) + len(self.accepted))
        sys.stdout.write(f"{share:.2%} refused\n")
        return share


@pytest.mark.parametrize("rpm", CALLS_IN_FLIGHT)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hidden_limit_is_found_and_used(kind: str, rpm: int) -> None:
    refused = []
    for seed in range(3):
        client = Client(KINDS[kind](rpm), seed, CALLS_IN_FLIGHT[rpm])
        found = []
        for until_s in range(150, 241, 5):
            client.run(until_s)
            found.append(client.search.found_rpm)
        assert client.used(90, 240) >= 0.85
        if kind != "a minute":  # the burst with which a minute is begun tells of its limit only when it is over
            assert client.used(30, 90) >= 0.85
        refused.append(client.refused_share())
        assert statistics.median(found) == pytest.approx(rpm, rel=0.1)
    assert statistics.mean(refused) <= (0.03 if rpm >= 600 else 0.06)


@pytest.mark.parametrize(("rpm", "refused"), [(3, 0.05), (10, 0.04), (60, 0.03), (120, 0.02), (600, 0.01)])
def test_the_limit_of_a_minute_is_used_with_few_refusals_however_few_calls_it_allows(rpm: int, refused: float) -> None:
    for seed in range(2):
        client = Client(Window(rpm, 60.0), seed, 32)
        client.run(3_000)
        assert client.used(300, 3_000) >= 0.93
        assert sum(at_s >= 300 for at_s in client.refused) <= refused * sum(at_s >= 300 for at_s in client.accepted)


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_that_changes_is_followed(kind: str, factor: float) -> None:
    client = Client(KINDS[kind](600), 1, 32)
    client.run(150)
    client.gateway.rpm *= factor
    client.run(420)
    assert client.used(330, 420) >= 0.85
    assert client.refused_share() <= 0.05


@pytest.mark.parametrize("share", [0.005, 0.02, 0.05, 0.1])
def test_a_share_of_refusals_at_any_pace_is_no_limit(share: float) -> None:
    for seed in range(3):
        client = Client(Noisy(Window(10**9, 1.0), share, random.Random(seed)), seed, 32)
        client.run(120)
        calls = len(client.accepted) / 120
        sys.stdout.write(f"{calls:.0f} calls a second of about 110 that 32 in flight can make\n")
        assert calls >= 90
        assert client.refused_share() <= share * 1.5


@pytest.mark.parametrize("share", [0.005, 0.02, 0.05])
@pytest.mark.parametrize("rpm", [600, 1_200, 6_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_is_found_in_noise(kind: str, rpm: int, share: float) -> None:
    for seed in range(3):
        client = Client(Noisy(KINDS[kind](rpm), share, random.Random(seed)), seed, 64)
        client.run(240)
        assert client.used(90, 240) >= 0.8
        assert client.refused_share() <= share + 0.05


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_answers_that_take_half_a_minute_hide_no_limit_in_noise(share: float) -> None:
    """A refusal comes at once: for a long while nothing else is known of the calls that were sent with it."""
    for seed in range(3):
        gateway = Noisy(Window(1_200, 1.0), share, random.Random(seed))
        client = Client(gateway, seed, 1_000, found_rpm=1_200, latency_s=(5.0, 30.0))
        client.run(300)
        assert client.used(60, 300) >= 0.8
        assert client.refused_share() <= share + 0.03


@pytest.mark.parametrize("latency_s", [(0.5, 1.0), (3.0, 5.0)])
def test_refusals_that_come_late_are_kept_few(latency_s: tuple[float, float]) -> None:
    """A gateway with a queue refuses seconds later: until then a call that is refused looks like one that is not."""
    for seed in range(3):
        client = Client(Window(1_200, 1.0), seed, 500, refusal_s=latency_s)
        client.run(400)
        assert client.used(200, 400) >= 0.85
        late = sum(at_s >= 200 for at_s in client.refused) / sum(at_s >= 200 for at_s in client.accepted)
        assert late <= 0.05


def test_without_refusals_nothing_is_held_back() -> None:
    search = RateSearch()
    for n in range(1_000):
        answered(search, n * 0.01, 0.5)
    assert search.rpm is search.found_rpm is None


def refused_after(search: RateSearch, at_s: float, retry_after_s: float = 0.0) -> None:
    """As many refusals in a row as a limit needs to be believed."""
    for n in range(4):
        search.sent(at_s + n / 100)
        search.refused(at_s + n / 100, at_s + n / 100 + 0.1, retry_after_s)


def answered(search: RateSearch, at_s: float, latency_s: float = 0.2) -> None:
    """A call is sent and answered."""
    search.sent(at_s)
    search.answered(at_s, at_s + latency_s)


def test_one_refusal_alone_is_no_limit() -> None:
    search = RateSearch()
    for n in range(100):
        answered(search, n * 0.1)
    search.sent(10.0)
    assert not search.refused(10.0, 10.1)
    for n in range(100):
        answered(search, 10.1 + n * 0.1)
    assert search.rpm is None


def test_refusals_of_calls_from_before_a_cut_do_not_cut_again() -> None:
    search = RateSearch()
    for n in range(100):
        answered(search, n * 0.1)
    refused_after(search, 10.0)
    answered(search, 11.0)
    assert search.rpm == pytest.approx(600 * 0.8, rel=0.1)
    before = search.rpm
    assert not search.refused(11.1, 13.0)
    assert search.rpm == before
    for n in range(15):  # every other one is refused
        sent_s = 13.0 + n * 0.1
        search.sent(sent_s)
        if n % 2:
            assert not search.refused(sent_s, sent_s + 0.05)
    assert search.rpm == pytest.approx(300, rel=0.3)


def test_a_search_begins_below_what_was_found_and_grows_by_its_own_rules() -> None:
    search = RateSearch.from_found(1_200, 100.0)
    assert search.rpm == pytest.approx(1_080)
    assert search.found_rpm == 1_200
    paces = []
    now_s = 100.0
    while now_s < 160:
        answered(search, now_s)
        paces.append((now_s, search.rpm))
        now_s += 60 / search.rpm
    assert all(rpm <= 1_200 for at_s, rpm in paces if at_s < 119)
    assert all(rpm >= 1_200 for at_s, rpm in paces if at_s > 121)
    assert paces[-1][1] >= 2_400


def test_a_pace_that_is_not_used_grows_no_further() -> None:
    search = RateSearch.from_found(600, 0.0)
    for n in range(36_000):
        answered(search, n * 0.1)
    assert search.rpm == pytest.approx(1_200, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_begins_with_what_was_found_is_refused_less(kind: str) -> None:
    for seed in range(3):
        first, second = Client(KINDS[kind](1_200), seed, 64), Client(KINDS[kind](1_200), seed, 64, found_rpm=1_200)
        first.run(60)
        second.run(60)
        assert not [at_s for at_s in second.refused if 0 < at_s < 10]  # the bucket is empty at 0
        assert len(second.refused) < len(first.refused)
        assert second.used(0, 60) >= 0.9


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_that_is_out_of_date_is_corrected(kind: str, factor: float) -> None:
    client = Client(KINDS[kind](1_200), 1, 64, found_rpm=1_200 / factor)
    client.run(420)
    bursts = (kind, factor) == ("a minute", 2.0)  # what a minute allows comes in bursts until it is known to be one
    assert client.used(120, 420) >= (0.7 if bursts else 0.85)
    assert client.refused_share() <= 0.05


def test_the_gateways_word_tells_that_its_limit_is_of_a_minute() -> None:
    search = RateSearch()
    for n in range(1_200):
        answered(search, n * 0.005, 0.1)
    refused_after(search, 6.0, retry_after_s=54.0)
    answered(search, 60.2)
    assert search.found_rpm == 1_200


def test_a_refusal_while_the_first_answer_is_awaited_does_not_make_a_minute_of_a_second() -> None:
    search = RateSearch()
    for n in range(100):
        answered(search, n * 0.1)
    refused_after(search, 10.0)
    for sent_s in (11.0, 12.0, 13.0, 14.0):
        search.sent(sent_s)
    search.refused(14.0, 14.1)
    search.answered(11.0, 25.0)
    assert search.found_rpm == pytest.approx(600, rel=0.1)


@pytest.mark.parametrize("found_rpm", [None, 600])
def test_what_others_used_up_before_is_no_limit(found_rpm: float | None) -> None:
    """Refusals from the first call on, for 20 seconds: nothing that was accepted tells how much is allowed."""
    client = Client(Window(600, 60, deque([-40.0] * 600)), 1, 32, found_rpm)
    client.run(240)
    assert not [at_s for at_s in client.accepted if at_s < 20]
    assert client.used(60, 240) >= 0.8


def test_a_night_without_a_refusal_is_not_too_long_for_the_curve() -> None:
    search = RateSearch.from_found(600, 0.0)
    for hour in range(1, 24):
        answered(search, hour * 3600.0)
    assert search.rpm == 600
