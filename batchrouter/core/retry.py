"""The retry policy: one outcome and the record's history in, one step and what the run should make of it out.

A refusal by rate limit or a call that never left uses up no attempt; an attempt whose answer was lost is repeated once,
because each repetition may be paid for; nothing is repeated where a repetition cannot help.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from batchrouter.core.checks import FailedCheck
from batchrouter.core.errors import ExitCode
from batchrouter.core.outcome import ErrorClass, Outcome

BACKOFF_BASE_S = 1.0
BACKOFF_MOST_S = 60.0
RETRY_AFTER_MOST_S = 120.0
SERVER_RETRIES_MOST = 4
SUSPECT_AFTER_CRASHES = 2
POISON_AFTER_CRASHES = 3

FREE = frozenset(
    {ErrorClass.NOT_SENT, ErrorClass.OVERLOAD, ErrorClass.CRASH, ErrorClass.STOPPED, ErrorClass.MODEL_UNKNOWN}
)
"""Classes that use up no attempt of the record."""

NO_ANSWER = frozenset({ErrorClass.NOT_SENT, ErrorClass.RESET, ErrorClass.LOST, ErrorClass.SERVER, ErrorClass.TRANSIENT})
"""Classes that count towards an outage."""

OUTAGE = frozenset({ErrorClass.RESET, ErrorClass.LOST, ErrorClass.SERVER, ErrorClass.TRANSIENT})
"""Classes that use up no attempt while the gateway answers nobody: an outage is no record's fault."""

LOST_ANSWER = frozenset({ErrorClass.LOST})
PAID_UNUSABLE = frozenset({ErrorClass.UNUSABLE, ErrorClass.EMPTY})
STOPS_THE_RUN: dict[ErrorClass, ExitCode] = {
    ErrorClass.CERTIFICATE: ExitCode.CONFIGURATION,
    ErrorClass.REDIRECT: ExitCode.CONFIGURATION,
    ErrorClass.AUTH: ExitCode.ACCESS,
    ErrorClass.CREDIT: ExitCode.ACCESS,
}
ESCALATES = frozenset({ErrorClass.CONTENT_FILTER, ErrorClass.REFUSAL, ErrorClass.CHECK})


class History(msgspec.Struct, frozen=True, gc=False):
    """What a record's attempts of this generation came to so far, in the tier where it is; crashes count over all tiers."""

    attempts: int = 0
    used: int = 0
    lost: int = 0
    unusable: int = 0
    server: int = 0
    truncated: int = 0
    unexpected: int = 0
    crashes: int = 0

    def after(self, error: ErrorClass | None, *, outage: bool = False) -> History:
        """The history with one more ended attempt; ``outage``: the gateway answered nobody."""
        if outage and error in OUTAGE:
            return msgspec.structs.replace(self, attempts=self.attempts + 1)
        return History(
            attempts=self.attempts + 1,
            used=self.used + (error not in FREE),
            lost=self.lost + (error in LOST_ANSWER),
            unusable=self.unusable + (error in PAID_UNUSABLE),
            server=self.server + (error is ErrorClass.SERVER),
            truncated=self.truncated + (error is ErrorClass.TRUNCATED),
            unexpected=self.unexpected + (error is ErrorClass.CHECK),
            crashes=self.crashes + (error is ErrorClass.CRASH),
        )

    def on_another_tier(self) -> History:
        """The history of the same record on a tier where it was not tried yet."""
        return History(crashes=self.crashes)

    @property
    def is_suspect(self) -> bool:
        """Whether the program ended so often while it worked on this record that the record works alone from now on."""
        return self.crashes >= SUSPECT_AFTER_CRASHES

    @property
    def is_poison(self) -> bool:
        """Whether the record ended the program when it was alone, too."""
        return self.crashes >= POISON_AFTER_CRASHES


class Step(msgspec.Struct, frozen=True, gc=False):
    """What happens to the record next.

    ``done``: its answer is the result. ``retry``: again, not before ``delay_s``. ``raise_cap``: again at once with a
    larger output cap. ``next_model``: again at once with the tier's next model. ``escalate``: again on the next tier up.
    ``larger``: again on a model with a longer context. ``fail``: final, with ``reason``. ``stop``: the record stays
    pending and the run ends with ``exit_code``.
    """

    action: Literal["done", "retry", "raise_cap", "next_model", "escalate", "larger", "fail", "stop"]
    reason: str = ""
    delay_s: float = 0.0
    exit_code: ExitCode = ExitCode.OK


def next_step(
    outcome: Outcome,
    check: FailedCheck | None,
    before: History,
    *,
    max_attempts: int,
    can_escalate: bool,
    jitter: float,
    outage: bool = False,
    may_differ: bool = False,
) -> Step:
    """The step after one attempt. ``jitter`` is a random number in [0, 1); ``before`` excludes this attempt.

    ``outage``: the gateway has answered nobody lately. ``may_differ``: the same request may be answered in another way.
    """
    error = check.error if check else outcome.error
    reason = check.reason if check else outcome.message
    if error is None:
        return Step("done")
    history = before.after(error, outage=outage)
    if error in STOPS_THE_RUN:
        return Step("stop", reason, exit_code=STOPS_THE_RUN[error])
    if error is ErrorClass.MODEL_UNKNOWN:
        return Step("next_model", reason)
    if error is ErrorClass.TRUNCATED:
        may_raise = history.truncated <= 1 and history.used < max_attempts
        at_own_limit = check is not None and check.at_own_limit
        return Step("raise_cap" if may_raise else "larger" if at_own_limit and can_escalate else "fail", reason)
    if error is ErrorClass.SIZE:
        return Step("larger", reason)
    if (outage and error in OUTAGE) or _may_repeat(error, history, outcome, max_attempts, may_differ=may_differ):
        return Step("retry", reason, delay_s=backoff_s(history, outcome.retry_after_s, jitter))
    if can_escalate and (error in ESCALATES or error in PAID_UNUSABLE):
        return Step("escalate", reason)
    return Step("fail", reason)


def _may_repeat(error: ErrorClass, history: History, outcome: Outcome, max_attempts: int, *, may_differ: bool) -> bool:
    if outcome.should_retry is False and error is not ErrorClass.OVERLOAD:
        return False
    if error in FREE:
        return True
    if history.used >= max_attempts:
        return False
    once_more = {
        ErrorClass.RESET: True,
        ErrorClass.TRANSIENT: True,
        ErrorClass.LOST: history.lost <= 1,
        ErrorClass.UNUSABLE: history.unusable <= 1,
        ErrorClass.EMPTY: history.unusable <= 1,
        ErrorClass.SERVER: history.server <= SERVER_RETRIES_MOST,
        ErrorClass.CHECK: may_differ and history.unexpected <= 1,
    }
    return once_more.get(error, outcome.should_retry is True)


def backoff_s(history: History, retry_after_s: float | None, jitter: float) -> float:
    """Seconds until the next try: full jitter over a doubling bound, never before the gateway's own wish."""
    bound = min(BACKOFF_MOST_S, BACKOFF_BASE_S * (1 << min(history.attempts, 10)))
    wish = min(max(retry_after_s or 0.0, 0.0), RETRY_AFTER_MOST_S)
    return max(wish, jitter * bound)
