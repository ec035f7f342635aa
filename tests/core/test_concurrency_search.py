"""Finding the calls in flight that are worth while, against gateways that serve so many at once and no more."""

from __future__ import annotations

import heapq
import random
import sys

import pytest

from batchrouter.core.concurrency_search import FIRST, ConcurrencySearch


class Server:
    """Serves so many calls at once; others wait in its queue. It fails a share of all calls, and those beyond ``most``."""

    def __init__(self, places: int, latency_s: float, seed: int, *, fails: float = 0.0, most: int = 10**6) -> None:
        sys.stdout.write(f"seed {seed}\n")
        self._fails, self._most = fails, most
        self.free_at_s = [0.0] * places
        self._latency_s = latency_s
        self._chance = random.Random(seed)

    def chokes(self, in_flight: int) -> bool:
        return in_flight > self._most or self._chance.random() < self._fails

    def ends_at_s(self, now_s: float) -> float:
        begins_s = max(now_s, heapq.heappop(self.free_at_s))
        ends_s = begins_s + self._latency_s * self._chance.uniform(0.5, 1.5)
        heapq.heappush(self.free_at_s, ends_s)
        return ends_s


def sizes(server: Server, search: ConcurrencySearch, answers: int) -> list[int]:
    """The size after each answer."""
    in_flight: list[tuple[float, float, bool]] = []
    seen, now_s = [], 0.0
    while len(seen) < answers:
        while len(in_flight) < search.size:
            search.sent(now_s)
            chokes = server.chokes(1 + sum(not chokes for _, _, chokes in in_flight))
            heapq.heappush(in_flight, (now_s + 0.1 if chokes else server.ends_at_s(now_s), now_s, chokes))
        is_full = len(in_flight) >= search.size
        now_s, sent_s, chokes = heapq.heappop(in_flight)
        if chokes:
            search.choked(sent_s, now_s)
            continue
        search.answered(sent_s, now_s, is_full=is_full)
        seen.append(search.size)
    return seen


@pytest.mark.parametrize("places", [50, 200, 500])
def test_calls_in_flight_grow_to_what_a_server_serves_at_once_and_not_far_beyond(places: int) -> None:
    for seed in range(5):
        seen = sizes(Server(places, 1.0, seed), ConcurrencySearch(1_000), 60_000)
        late = sorted(seen[len(seen) // 2 :])
        sys.stdout.write(f"{places} places: {late[len(late) // 2]} in flight\n")
        assert 0.8 * places <= late[len(late) // 2] <= 1.7 * places
        assert seen[0] == FIRST


def test_nothing_stops_the_growth_before_the_bound_where_a_server_takes_all() -> None:
    seen = sizes(Server(5_000, 1.0, 1), ConcurrencySearch(1_000), 20_000)
    assert seen[-1] == 1_000


@pytest.mark.parametrize("most", [60, 200])
@pytest.mark.parametrize("fails", [0.0, 0.02])
def test_calls_in_flight_keep_below_where_a_gateway_chokes(most: int, fails: float) -> None:
    for seed in range(3):
        seen = sizes(Server(5_000, 1.0, seed, fails=fails, most=most), ConcurrencySearch(1_000), 10_000)
        late = sorted(seen[len(seen) // 2 :])
        sys.stdout.write(f"{most} at most: {late[len(late) // 2]} in flight\n")
        assert 0.6 * most <= late[len(late) // 2] <= 1.1 * most


@pytest.mark.parametrize("fails", [0.002, 0.01, 0.05])
def test_calls_that_fail_however_few_are_in_flight_hold_nothing_back(fails: float) -> None:
    for seed in range(3):
        seen = sizes(Server(5_000, 1.0, seed, fails=fails), ConcurrencySearch(500), 60_000)
        late = sorted(seen[len(seen) // 2 :])
        sys.stdout.write(f"{late[len(late) // 2]} in flight\n")
        assert late[len(late) // 2] >= 300


def fail_at_once(search: ConcurrencySearch, at_s: float, calls: int) -> None:
    for n in range(calls):
        search.sent(at_s + n / 1_000)
    for n in range(calls):
        search.choked(at_s + n / 1_000, at_s + 1.0)


def test_a_gateway_that_fails_all_of_a_sudden_gets_fewer_calls_once_for_all_that_were_in_flight() -> None:
    search = ConcurrencySearch(1_000, size=100)
    fail_at_once(search, 1.0, 10)
    assert 70 <= search.size == search.found <= 90
    before = search.size
    search.choked(1.5, 2.1)
    assert search.size == before
    fail_at_once(search, 3.0, 10)
    assert search.size < 0.9 * before


def test_one_call_at_a_time_is_the_least() -> None:
    search = ConcurrencySearch(1_000)
    for at_s in range(20):
        fail_at_once(search, 2.0 * at_s, 10)
    assert search.size == 1


def test_calls_that_something_else_holds_back_are_no_reason_to_grow() -> None:
    search = ConcurrencySearch(1_000)
    for at_s in range(200):
        search.answered(at_s, at_s + 0.5, is_full=False)
    assert search.size == FIRST


def test_a_bound_below_the_first_size_holds() -> None:
    assert ConcurrencySearch(2).size == 2


def test_a_search_begins_with_what_was_found_and_goes_on_from_there() -> None:
    search = ConcurrencySearch.from_found(64, 1_000)
    assert search.size == search.found == 64
    assert max(sizes(Server(256, 0.2, 1), search, 20_000)) >= 128
    assert ConcurrencySearch.from_found(64, 10).size == 10


def test_a_finding_that_is_too_high_is_corrected_where_the_gateway_chokes() -> None:
    search = ConcurrencySearch.from_found(64, 1_000)
    fail_at_once(search, 1.0, 10)
    assert search.size < 64
