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


def failed(breaker: OutageBreaker, *times: float, line: int = 1) -> None:
    """Calls that were sent at these times and failed at once."""
    for at_s in times:
        breaker.failed(at_s, line, sent_s=at_s)


def test_the_breaker_opens_after_failures_in_a_row_and_closes_with_an_answer() -> None:
    breaker = OutageBreaker()
    failed(breaker, *range(OUTAGE_AFTER_FAILURES - 1))
    assert not breaker.is_open
    failed(breaker, 30)
    assert breaker.is_open
    assert breaker.wait_s(30) == 5
    breaker.answered(31)
    assert not breaker.is_open
    assert breaker.silent_for_s(100) == 0


def test_answers_to_calls_from_before_the_trouble_do_not_hide_it() -> None:
    breaker = OutageBreaker()
    for second in range(10, 10 + OUTAGE_AFTER_FAILURES):
        failed(breaker, second)
        assert not breaker.answered(sent_s=9)
    assert breaker.is_open
    assert breaker.answered(sent_s=11)
    assert not breaker.is_open


def test_a_share_of_failures_among_many_calls_in_flight_is_no_outage() -> None:
    """Each takes half a second; all that are in flight when the first fails were sent before that."""
    breaker = OutageBreaker()
    for call in range(10_000):
        sent_s = call / 600
        if call % 4 == 0:
            breaker.failed(sent_s + 0.5, call, sent_s=sent_s)
        else:
            breaker.answered(sent_s)
        assert not breaker.is_open
        assert not breaker.is_suspected


def test_probes_come_at_growing_intervals_up_to_five_minutes() -> None:
    breaker, now, waits = OutageBreaker(), 0.0, []
    failed(breaker, *[now] * OUTAGE_AFTER_FAILURES)
    for _ in range(10):
        waits.append(breaker.wait_s(now))
        now += breaker.wait_s(now)
        breaker.probe_taken(now)
        failed(breaker, now)
    assert waits[0] == 5
    assert max(waits) == 300
    assert waits == sorted(waits)


def test_patience_runs_from_the_first_failure_through_refusals() -> None:
    breaker = OutageBreaker()
    breaker.refused(10, sent_s=9)
    failed(breaker, 110)
    assert breaker.silent_for_s(110) == 100


def test_time_in_which_nothing_was_asked_is_no_silence_but_for_an_outage() -> None:
    breaker = OutageBreaker()
    failed(breaker, 10, 12)
    assert breaker.silent_for_s(500) == 2
    for line in range(20):
        failed(breaker, 12, line=line)
    assert breaker.silent_for_s(500) == 490


def test_a_call_an_hour_after_one_that_failed_fails_anew() -> None:
    breaker = OutageBreaker()
    failed(breaker, 10, 3610)
    assert breaker.silent_for_s(3610) == 0
    failed(breaker, 3640)
    assert breaker.silent_for_s(3640) == 30


def test_a_pause_that_the_gateway_asked_for_is_silence() -> None:
    breaker = OutageBreaker()
    breaker.refused(10, sent_s=9)
    breaker.refused(811, sent_s=810, paused_until_s=810)
    assert breaker.silent_for_s(811) == 801


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
