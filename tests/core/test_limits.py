"""Limits hold in every window, whatever the arrivals."""

import heapq
import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.limits import CATCH_UP_S, MARGIN, WINDOW_S, RequestGrid, TokenWindow, Turn

gaps = st.lists(st.floats(0, 5), min_size=1, max_size=200)


def sent_at(grid: RequestGrid, now_s: float) -> float:
    at_s = now_s + max(0.0, grid.wait_s(now_s))
    sent_now(grid, at_s)
    return at_s


def sent_now(grid: RequestGrid, at_s: float) -> None:
    turn = Turn(at_s)
    grid.take(turn)
    grid.left(turn)


@given(gaps, st.sampled_from([30, 60, 600, 6000]))
def test_no_window_of_a_minute_has_more_requests_than_the_limit(pauses: list[float], rpm: int) -> None:
    grid, sent = RequestGrid(rpm), [100.0]
    for pause in pauses:
        sent += [sent_at(grid, sent[-1] + pause)]
    sent = sent[1:]
    for first in sent:
        assert sum(first <= slot < first + WINDOW_S for slot in sent) <= rpm


def test_a_missed_slot_is_not_made_up_for() -> None:
    grid = RequestGrid(60)
    sent_now(grid, 0.0)
    late = [sent_at(grid, 500.0) for _ in range(3)]
    assert late[0] == 500.0
    assert late[2] - late[0] >= 2 / MARGIN - CATCH_UP_S - 1e-9


def left_late(grid: RequestGrid, delays_s: Iterable[float]) -> list[float]:
    """When requests left that took so long to leave after their turn."""
    now, leaving, left = 100.0, [], []
    for delay_s in delays_s:
        while True:
            while leaving and leaving[0][0] <= now:
                left_s, _, turn = heapq.heappop(leaving)
                turn.left(left_s)
                grid.left(turn)
                left.append(left_s)
            if (wait_s := grid.wait_s(now)) <= 0:
                break
            now = min(now + wait_s, leaving[0][0]) if leaving else now + wait_s
        turn = Turn(now)
        grid.take(turn)
        heapq.heappush(leaving, (now + delay_s, id(turn), turn))
    return sorted([*left, *(left_s for left_s, _, _ in leaving)])


@given(st.sampled_from([60, 600, 1_200]), st.data())
def test_requests_that_left_late_keep_their_distance_in_every_second(rpm: int, data: st.DataObject) -> None:
    delays_s = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.03, 0.4, 3.0]), max_size=rpm // 12)
    left = left_late(RequestGrid(rpm), data.draw(delays_s))
    for first_s in left:
        assert sum(first_s <= at_s < first_s + 1 for at_s in left) <= rpm // 60


@given(st.sampled_from([10, 30, 61, 119]), st.data())
def test_of_few_requests_one_that_leaves_late_brings_no_more_into_a_minute(rpm: int, data: st.DataObject) -> None:
    delays_s = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.7, 3.0]), min_size=2 * rpm, max_size=2 * rpm)
    left = left_late(RequestGrid(rpm), data.draw(delays_s))
    for first_s in left:
        assert sum(first_s <= at_s < first_s + WINDOW_S for at_s in left) <= rpm


def test_what_a_process_before_this_one_sent_counts_in_the_second_too() -> None:
    grid = RequestGrid(600)
    for n in range(10):
        grid.recall(99.75 + n / 1_000)
    assert grid.wait_s(100.0) >= 0.75


def test_connections_that_are_ready_together_do_not_bring_more_than_a_second_may_have() -> None:
    left = left_late(RequestGrid(600), [max(0.0, 3.1 - n * 0.1) for n in range(60)])
    assert max(sum(first_s <= at_s < first_s + 1 for at_s in left) for first_s in left) == 10


def test_a_call_that_never_left_takes_no_room_once_it_is_over() -> None:
    grid, turn = RequestGrid(60), Turn(0.0)
    grid.take(turn)
    assert 0 < grid.wait_s(500.0) < 1
    grid.settle(turn)
    assert grid.wait_s(500.0) <= 0


def test_a_pace_that_grows_does_not_wait_for_the_slot_of_the_slow_one() -> None:
    grid = RequestGrid(1)
    sent_now(grid, 0.0)
    assert grid.wait_s(5.0) > 50
    grid.set_rpm(600)
    assert grid.wait_s(5.0) <= 0


def test_requests_that_left_late_hold_up_no_others_than_a_second_later() -> None:
    left = left_late(RequestGrid(6_000), [0.0 if n % 10 else 0.3 for n in range(2_000)])
    assert left[-1] - left[0] <= 20 * 1.05


def test_tokens_of_a_call_that_left_late_count_until_a_minute_after_it_left() -> None:
    window, late, early = TokenWindow(1000), Turn(0.0, 900), Turn(1.0, 50)
    for turn, left_s in ((late, 30.0), (early, 1.0)):
        window.reserve(turn)
        turn.left(left_s)
        window.settle(turn, turn.tokens)
    assert window.wait_s(1000, 61.5) == pytest.approx(28.5)


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400), st.floats(0, 20)), max_size=100))
def test_no_window_of_a_minute_holds_more_tokens_than_the_limit(calls: list[tuple[int, int, float]]) -> None:
    window, now, used = TokenWindow(1000), 0.0, []
    for estimate, real, pause in calls:
        now += pause
        while (wait := window.wait_s(estimate, now)) > 0:
            now += max(wait, 1e-6)
        reservation = window.reserve(Turn(now, estimate))
        window.settle(reservation, min(real, estimate))
        used.append((now, min(real, estimate)))
    for first, _ in used:
        assert sum(tokens for at, tokens in used if first <= at < first + WINDOW_S) <= 1000


def test_a_request_above_the_whole_limit_waits_for_an_empty_window_and_not_for_ever() -> None:
    window = TokenWindow(100)
    assert window.wait_s(5_000, 0.0) == 0
    window.settle(window.reserve(Turn(0.0, 5_000)), 5_000)
    assert window.wait_s(1, 1.0) == WINDOW_S - 1.0
    assert window.wait_s(5_000, WINDOW_S) == 0


def test_settling_after_the_minute_is_over_changes_nothing() -> None:
    window = TokenWindow(100)
    reservation = window.reserve(Turn(0.0, 50))
    assert window.wait_s(60, WINDOW_S) == 0
    window.settle(reservation, 90)
    assert window.total == 0


def test_a_call_that_leaves_after_the_minute_is_over_changes_nothing() -> None:
    window = TokenWindow(100)
    turn = window.reserve(Turn(0.0, 50))
    assert window.wait_s(60, WINDOW_S) == 0
    turn.left(WINDOW_S + 1)
    window.settle(turn, 90)
    assert window.total == 0


def test_tokens_are_sent_at_an_even_pace_and_not_in_bursts() -> None:
    window, now, sent = TokenWindow(6_000), 100.0, []
    for _ in range(30):
        now += window.wait_s(100, now)
        window.settle(window.reserve(Turn(now, 100)), 100)
        sent.append(now)
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert gaps_s == pytest.approx([1 / MARGIN] * 29)


def test_an_answer_that_was_shorter_than_estimated_brings_the_next_call_forward() -> None:
    window = TokenWindow(6_000)
    reservation = window.reserve(Turn(100.0, 100))
    assert window.wait_s(100, 100.0) == pytest.approx(1 / MARGIN)
    window.settle(reservation, 40)
    assert window.wait_s(100, 100.0) == pytest.approx(0.4 / MARGIN)


def test_room_is_kept_for_what_calls_in_flight_may_take_beyond_their_estimates() -> None:
    sure, unsure = TokenWindow(1_000), TokenWindow(1_000)
    for n in range(8):
        sure.settle(sure.reserve(Turn(float(n), 100)), 100)
        unsure.settle(unsure.reserve(Turn(float(n), 100)), 100 + (50 if n % 2 else -50))
    assert sure.total == unsure.total == 800
    assert sure.wait_s(100, 50.0) == 0
    assert unsure.wait_s(100, 50.0) > 0


def test_a_call_whose_count_stays_unknown_is_no_longer_in_flight() -> None:
    window = TokenWindow(1_000)
    window.settle(window.reserve(Turn(0.0, 100)), None)
    assert (window.in_flight, window.total) == (0, 100)


def test_tokens_of_a_process_before_this_one_hold_the_pace() -> None:
    window = TokenWindow(6_000)
    window.recall(200, 100.0)
    window.recall(200, 100.5)
    assert window.wait_s(100, 101.0) == pytest.approx(100 + 4 / MARGIN - 101)
    assert window.in_flight == 0
