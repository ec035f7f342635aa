"""Telling a limit's refusals from those that come at any pace."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from batchrouter.core.refusals import RefusalLog


def send(log: RefusalLog, from_s: float, rpm: float, outcomes: Iterable[bool]) -> float:
    """Calls at one pace, each of them refused or not; returns when the next one would be sent."""
    log.paced(rpm, from_s - 1e-6)
    for refused in outcomes:
        log.sent(from_s)
        if refused:
            log.refused(from_s)
        from_s += 60 / rpm
    return from_s


def one_in(most: int, calls: int) -> list[bool]:
    return [n % most == most // 2 for n in range(calls)]


def test_one_refusal_past_many_clean_calls_is_the_limits() -> None:
    log = RefusalLog()
    now_s = send(log, 0.0, 540, [False] * 180)
    now_s = send(log, now_s, 590, [False] * 200)
    now_s = send(log, now_s, 630, [*[False] * 9, True])
    limit_rpm = log.likely_limit(0.0, 600, now_s)
    assert limit_rpm is not None
    assert 540 <= limit_rpm <= 630


def test_the_same_share_at_every_pace_is_noise() -> None:
    log, now_s = RefusalLog(), 0.0
    for rpm in (540, 570, 600, 630, 660):
        now_s = send(log, now_s, rpm, one_in(20, 200))
        assert log.likely_limit(0.0, 600, now_s) is None


def test_a_limit_shows_above_the_noise() -> None:
    log, now_s = RefusalLog(), 0.0
    for rpm in (540, 570, 600):
        now_s = send(log, now_s, rpm, one_in(20, 200))
    now_s = send(log, now_s, 750, one_in(4, 40))
    limit_rpm = log.likely_limit(0.0, 600, now_s)
    assert limit_rpm is not None
    assert 550 <= limit_rpm <= 700


def test_what_was_refused_at_a_slower_pace_before_tells_of_the_noise() -> None:
    log, now_s = RefusalLog(), 0.0
    now_s = cut_at_s = send(log, now_s, 540, one_in(20, 400))
    now_s = send(log, now_s, 620, one_in(7, 42))
    assert log.likely_limit(cut_at_s, 600, now_s) is None
    without = RefusalLog()
    now_s = send(without, cut_at_s, 620, one_in(7, 42))
    assert without.likely_limit(cut_at_s, 600, now_s) is not None


@pytest.mark.parametrize(
    ("noise", "last", "is_surge"),
    [
        (0, [True], False),
        (0, [True] * 3, True),
        (0, [True, False] * 5, True),
        (50, [True, False, False, True], False),
        (10, [True] * 5, False),
        (10, [True] * 9, True),
        (10, one_in(10, 60), False),
    ],
)
def test_a_surge_is_far_more_than_usual(noise: int, last: list[bool], is_surge: bool) -> None:
    log = RefusalLog()
    now_s = send(log, 0.0, 600, one_in(noise, 300) if noise else [False] * 300)
    outcomes = [*last, True]
    send(log, now_s, 600, outcomes)
    surge = log.surge(now_s + (len(outcomes) - 1) * 0.1)
    assert (surge is not None) is is_surge
    if surge:
        assert surge.since_s >= now_s - 1


def test_refusals_that_are_told_out_of_order_are_a_surge_all_the_same() -> None:
    log = RefusalLog()
    for n in range(1_000):
        log.sent(n * 0.001)
    for n in (990, 970, 995, 980, 975, 985):
        log.refused(n * 0.001)
    assert log.surge(0.995) is None
    for n in range(985, 995):
        log.refused(n * 0.001)
    assert log.surge(0.995)


def test_what_is_sent_and_what_is_taken_are_measured_over_the_last_second_or_ten_calls() -> None:
    log = RefusalLog()
    send(log, 0.0, 1_200, one_in(4, 200))
    assert log.pace(10.0) == pytest.approx(1_200, rel=0.06)
    assert log.accepted_pace(10.0) == pytest.approx(900, rel=0.06)
    slow = RefusalLog()
    send(slow, 0.0, 12, [False] * 20)
    assert slow.pace(100.0) == pytest.approx(12)


def test_a_night_of_calls_is_not_kept() -> None:
    log = RefusalLog()
    for n in range(100_000):
        log.sent(n * 0.1)
        if n % 50 == 0:
            log.refused(n * 0.1)
            log.paced(500 + n % 100, n * 0.1)
    assert log.accepted(0.0, 9_000.0) == 0
    assert log.accepted(9_940.0, 10_000.0) == pytest.approx(588, abs=2)


def test_of_more_calls_than_are_kept_the_last_ones_are_known() -> None:
    log = RefusalLog()
    for n in range(200_000):
        log.sent(n * 0.0001)
    assert log.accepted(0.0, 5.0) == 0
    assert log.accepted(10.0, 20.0) == pytest.approx(100_000, abs=2)
