"""Outages, rubbish, and refusals that are all alike."""

from batchrouter.core.health import (
    ALIKE_REFUSALS,
    OUTAGE_AFTER_FAILURES,
    UNUSABLE_WINDOW,
    AlikeRefusals,
    OutageBreaker,
    UnusableShare,
)
from batchrouter.core.outcome import ErrorClass


def test_the_breaker_opens_after_failures_in_a_row_and_closes_with_an_answer() -> None:
    breaker = OutageBreaker()
    for second in range(OUTAGE_AFTER_FAILURES - 1):
        breaker.failed(second)
    assert not breaker.is_open
    breaker.failed(30)
    assert breaker.is_open
    assert breaker.wait_s(30) == 5
    breaker.answered(31)
    assert not breaker.is_open
    assert breaker.silent_for_s(100) == 0


def test_answers_to_calls_from_before_the_trouble_do_not_hide_it() -> None:
    breaker = OutageBreaker()
    for second in range(10, 10 + OUTAGE_AFTER_FAILURES):
        breaker.failed(second)
        assert not breaker.answered(sent_s=9)
    assert breaker.is_open
    assert breaker.answered(sent_s=11)
    assert not breaker.is_open


def test_probes_come_at_growing_intervals_up_to_five_minutes() -> None:
    breaker, now, waits = OutageBreaker(), 0.0, []
    for _ in range(OUTAGE_AFTER_FAILURES):
        breaker.failed(now)
    for _ in range(10):
        waits.append(breaker.wait_s(now))
        now += breaker.wait_s(now)
        breaker.probe_taken(now)
        breaker.failed(now)
    assert waits[0] == 5
    assert max(waits) == 300
    assert waits == sorted(waits)


def test_patience_runs_from_the_first_failure_through_refusals() -> None:
    breaker = OutageBreaker()
    breaker.refused(10)
    breaker.failed(110)
    assert breaker.silent_for_s(110) == 100


def test_time_in_which_nothing_was_asked_is_no_silence_but_for_an_outage() -> None:
    breaker = OutageBreaker()
    breaker.failed(10, 1)
    breaker.failed(12, 1)
    assert breaker.silent_for_s(500) == 2
    for line in range(20):
        breaker.failed(12, line)
    assert breaker.silent_for_s(500) == 490


def test_a_fifth_of_rubbish_is_allowed_and_no_more() -> None:
    share = UnusableShare()
    for number in range(UNUSABLE_WINDOW):
        share.add(unusable=number % 5 == 0)
    assert not share.too_high
    share.add(unusable=True)
    share.add(unusable=True)
    assert share.too_high


def test_refusals_in_the_same_words_stop_the_run_until_one_request_gets_through() -> None:
    alike = AlikeRefusals()
    for _ in range(ALIKE_REFUSALS):
        alike.add(ErrorClass.OVERLOAD, "later")
        alike.add(ErrorClass.BAD_REQUEST, "no such parameter")
    assert alike.all_alike
    numbered = AlikeRefusals()
    for n in range(ALIKE_REFUSALS):
        numbered.add(ErrorClass.BAD_REQUEST, f"no such parameter (request id: req-{n:04x}-9f{n})")
    assert numbered.all_alike
    other = AlikeRefusals()
    other.add(ErrorClass.BAD_REQUEST, "no such parameter")
    other.add(None, "")
    for _ in range(ALIKE_REFUSALS):
        other.add(ErrorClass.BAD_REQUEST, "no such parameter")
    assert not other.all_alike
