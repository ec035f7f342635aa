"""The retry table, row by row."""

import pytest

from batchrouter.core.checks import FailedCheck
from batchrouter.core.errors import ExitCode
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.retry import FREE, History, Step, backoff_s, next_step

E = ErrorClass


def step(
    error: ErrorClass | None, history: History | None = None, *, can_escalate: bool = True, **outcome: object
) -> Step:
    state = "ok" if error is None else "error"
    what = Outcome(state, error, "why", **outcome)  # type: ignore[arg-type]
    return next_step(what, None, history or History(), max_attempts=5, can_escalate=can_escalate, jitter=0.5)


def after(*errors: ErrorClass) -> History:
    history = History()
    for error in errors:
        history = history.after(error)
    return history


@pytest.mark.parametrize(
    ("error", "before", "action"),
    [
        (None, (), "done"),
        (E.NOT_SENT, (), "retry"),
        (E.NOT_SENT, (E.NOT_SENT,) * 50, "retry"),
        (E.RESET, (), "retry"),
        (E.RESET, (E.RESET,) * 4, "fail"),
        (E.LOST, (), "retry"),
        (E.LOST, (E.LOST,), "fail"),
        (E.LOST, (E.CRASH, E.CRASH), "retry"),
        (E.UNUSABLE, (), "retry"),
        (E.UNUSABLE, (E.UNUSABLE,), "escalate"),
        (E.BAD_REQUEST, (), "fail"),
        (E.HTTP, (), "fail"),
        (E.MODEL_UNKNOWN, (), "next_model"),
        (E.TRANSIENT, (), "retry"),
        (E.TRANSIENT, (E.TRANSIENT,) * 4, "fail"),
        (E.SIZE, (), "larger"),
        (E.OVERLOAD, (E.OVERLOAD,) * 100, "retry"),
        (E.SERVER, (E.SERVER,) * 3, "retry"),
        (E.SERVER, (E.SERVER,) * 4, "fail"),
        (E.CONTENT_FILTER, (), "escalate"),
    ],
)
def test_each_row_of_the_table(error: ErrorClass | None, before: tuple[ErrorClass, ...], action: str) -> None:
    assert step(error, after(*before)).action == action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (E.CERTIFICATE, ExitCode.CONFIGURATION),
        (E.REDIRECT, ExitCode.CONFIGURATION),
        (E.AUTH, ExitCode.ACCESS),
        (E.CREDIT, ExitCode.ACCESS),
    ],
)
def test_what_concerns_every_record_stops_the_run(error: ErrorClass, code: ExitCode) -> None:
    assert (step(error).action, step(error).exit_code) == ("stop", code)


def test_the_gateways_word_is_obeyed_but_for_a_rate_limit() -> None:
    assert step(E.SERVER, should_retry=False).action == "fail"
    assert step(E.OVERLOAD, should_retry=False).action == "retry"
    assert step(E.BAD_REQUEST, should_retry=True).action == "retry"
    assert step(E.BAD_REQUEST, after(*[E.BAD_REQUEST] * 4), should_retry=True).action == "fail"


def test_what_cannot_be_escalated_fails() -> None:
    assert step(E.CONTENT_FILTER, can_escalate=False).action == "fail"
    assert step(E.UNUSABLE, after(E.UNUSABLE), can_escalate=False).action == "fail"


@pytest.mark.parametrize("error", [E.SERVER, E.RESET, E.TRANSIENT, E.LOST])
def test_in_an_outage_no_attempt_is_used_up(error: ErrorClass) -> None:
    before = after(*[error] * 9)
    step = next_step(Outcome("error", error), None, before, max_attempts=5, can_escalate=False, jitter=0, outage=True)
    assert step.action == "retry"
    assert History().after(E.SERVER, outage=True) == History(attempts=1)


def test_free_classes_use_up_no_attempt() -> None:
    assert after(*FREE).used == 0
    assert after(*FREE).attempts == len(FREE)


@pytest.mark.parametrize(("at_own_limit", "then"), [(False, "fail"), (True, "larger")])
def test_our_own_cap_is_raised_once_and_only_a_models_own_limit_is_escalated(at_own_limit: bool, then: str) -> None:
    cut = FailedCheck(E.TRUNCATED, "cut", at_own_limit=at_own_limit)
    first = next_step(Outcome("ok"), cut, History(), max_attempts=5, can_escalate=True, jitter=0)
    second = next_step(Outcome("ok"), cut, after(E.TRUNCATED), max_attempts=5, can_escalate=True, jitter=0)
    assert (first.action, second.action) == ("raise_cap", then)


@pytest.mark.parametrize(
    ("may_differ", "before", "can_escalate", "action"),
    [
        (True, History(), True, "retry"),
        (True, after(E.CHECK), True, "escalate"),
        (True, after(E.CHECK), False, "fail"),
        (False, History(), True, "escalate"),
        (False, History(), False, "fail"),
        (True, after(E.CHECK).on_another_tier(), True, "retry"),
    ],
)
def test_a_failed_check_is_repeated_once_where_that_can_help(
    may_differ: bool,
    before: History,
    can_escalate: bool,
    action: str,
) -> None:
    check = FailedCheck(E.CHECK, "expect.json: the answer is not JSON")
    step = next_step(
        Outcome("ok"), check, before, max_attempts=5, can_escalate=can_escalate, jitter=0, may_differ=may_differ
    )
    assert step.action == action


def test_crashes_count_over_all_tiers() -> None:
    assert after(E.CRASH, E.CRASH, E.CHECK).on_another_tier() == History(crashes=2)


@pytest.mark.parametrize(
    ("attempts", "retry_after", "jitter", "seconds"),
    [
        (1, None, 0.5, 1.0),
        (3, None, 1.0, 8.0),
        (40, None, 1.0, 60.0),
        (1, 30.0, 0.0, 30.0),
        (1, 9_999.0, 0.0, 120.0),
        (1, -3.0, 0.0, 0.0),
    ],
)
def test_backoff_doubles_with_full_jitter_and_keeps_the_gateways_wish(
    attempts: int, retry_after: float | None, jitter: float, seconds: float
) -> None:
    assert backoff_s(History(attempts=attempts), retry_after, jitter) == seconds
