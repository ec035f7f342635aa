"""Limits hold in every window, whatever the arrivals."""

from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.limits import CATCH_UP_S, MARGIN, WINDOW_S, RequestGrid, TokenWindow

gaps = st.lists(st.floats(0, 5), min_size=1, max_size=200)


@given(gaps, st.sampled_from([30, 60, 600, 6000]))
def test_no_window_of_a_minute_has_more_requests_than_the_limit(pauses: list[float], rpm: int) -> None:
    grid, now, sent = RequestGrid(rpm), 100.0, []
    for pause in pauses:
        now += pause
        slot = max(now, grid.take(now))
        sent.append(slot)
    for first in sent:
        assert sum(first <= slot < first + WINDOW_S for slot in sent) <= rpm


def test_a_missed_slot_is_not_made_up_for() -> None:
    grid = RequestGrid(60)
    grid.take(0.0)
    late = [grid.take(500.0) for _ in range(3)]
    assert late[0] >= 500.0 - CATCH_UP_S
    assert late[2] - late[0] >= 2 / MARGIN - 1e-9


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400), st.floats(0, 20)), max_size=100))
def test_no_window_of_a_minute_holds_more_tokens_than_the_limit(calls: list[tuple[int, int, float]]) -> None:
    window, now, used = TokenWindow(1000), 0.0, []
    for estimate, real, pause in calls:
        now += pause
        while (wait := window.wait_s(estimate, now)) > 0:
            now += max(wait, 1e-6)
        reservation = window.reserve(estimate, now)
        window.settle(reservation, min(real, estimate))
        used.append((now, min(real, estimate)))
    for first, _ in used:
        assert sum(tokens for at, tokens in used if first <= at < first + WINDOW_S) <= 1000


def test_a_request_above_the_whole_limit_waits_for_an_empty_window_and_not_for_ever() -> None:
    window = TokenWindow(100)
    assert window.wait_s(5_000, 0.0) == 0
    window.reserve(5_000, 0.0)
    assert window.wait_s(1, 1.0) == WINDOW_S - 1.0
    assert window.wait_s(5_000, WINDOW_S) == 0


def test_settling_after_the_minute_is_over_changes_nothing() -> None:
    window = TokenWindow(100)
    reservation = window.reserve(50, 0.0)
    assert window.wait_s(60, WINDOW_S) == 0
    window.settle(reservation, 90)
    assert window.total == 0
