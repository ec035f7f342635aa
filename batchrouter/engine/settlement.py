"""From an outcome to rows: the attempt's end with its cost, and what follows from it for the record. Pure."""

from __future__ import annotations

import msgspec

from batchrouter.core.charging import charge
from batchrouter.core.checks import FailedCheck, expectation_of, failed_check
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.pricing import cost_nano
from batchrouter.core.retry import Step, next_step
from batchrouter.core.settings import Settings
from batchrouter.engine.model import ModelState
from batchrouter.ports import AttemptEnd, AttemptStart, Job, ResultRow


class _Sampling(msgspec.Struct):
    temperature: float | None = None
    seed: int | None = None


_DONE = Step("done")
_SAMPLING = msgspec.json.Decoder(_Sampling)


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """An ended attempt, the step that follows, and the result row if the step is final."""

    end: AttemptEnd
    step: Step
    result: ResultRow | None


def settle(
    job: Job,
    start: AttemptStart,
    outcome: Outcome,
    check: FailedCheck | None,
    model: ModelState,
    settings: Settings,
    *,
    jitter: float,
    now: str,
) -> Settlement:
    """Charge the attempt, decide the step. ``now`` is UTC ISO-8601, ``jitter`` in [0, 1)."""
    cost, source = charge(outcome, model.prices, start.reserved_nano)
    error = check.error if check else outcome.error
    reason = check.reason if check else outcome.message
    end = AttemptEnd(start.line, start.attempt, outcome, error, reason or None, cost, source, now)
    step = _DONE
    if error:
        step = next_step(
            outcome,
            check,
            job.history,
            max_attempts=settings.run.max_attempts,
            can_escalate=may_escalate(job, settings),
            jitter=jitter,
            outage=model.breaker.is_suspected,
            may_differ=error is ErrorClass.CHECK and may_differ(job.body),
        )
    result = None
    if step.action == "done":
        result = _result(job, start, outcome, settings, state="done", error=None, reason=None, now=now)
    elif step.action == "fail":
        result = _result(job, start, outcome, settings, state="failed", error=error, reason=step.reason, now=now)
    return Settlement(end, step, result)


def may_escalate(job: Job, settings: Settings) -> bool:
    """One step up, where the configuration allows it and there is a tier above."""
    return settings.routing.escalate and job.tier is not None and settings.tier_above(job.tier) is not None


def may_differ(body: bytes) -> bool:
    """Whether a second answer to the same request may be another one: not at temperature 0, nor with a seed."""
    try:
        sampling = _SAMPLING.decode(body)
    except msgspec.DecodeError:
        return True
    return sampling.temperature != 0 and sampling.seed is None


def failure(job: Job, error: str, reason: str, now: str) -> ResultRow:
    """A final failure without a call behind it."""
    escalated_from = job.decided_tier if job.decided_tier != job.tier else None
    return ResultRow(
        job.line, job.generation, "failed", None, job.tier, None, None, error, reason, escalated_from, None, now
    )


def nothing_said(outcome: Outcome, check: FailedCheck) -> Outcome:
    """A completion without content, as a call that failed."""
    return msgspec.structs.replace(outcome, state="error", error=check.error, message=check.reason)


def check_of(job: Job, outcome: Outcome, output_cap: int) -> FailedCheck | None:
    """What is wrong with an answer, if anything is."""
    if outcome.answer is None:
        return None
    return failed_check(
        outcome.answer,
        expectation_of(job.expect) if job.expect else None,
        own_cap=output_cap if job.max_output_tokens is None else None,
        body=job.body,
        output_tokens=outcome.usage.output_tokens if outcome.usage and job.choices == 1 else None,
    )


def _result(
    job: Job,
    start: AttemptStart,
    outcome: Outcome,
    settings: Settings,
    *,
    state: str,
    error: str | None,
    reason: str | None,
    now: str,
) -> ResultRow:
    prices = settings.baseline_prices(job.requested_model)
    baseline = cost_nano(outcome.usage, prices) if state == "done" and outcome.usage and prices else None
    return ResultRow(
        line=job.line,
        generation=job.generation,
        state=state,
        attempt=start.attempt,
        tier=job.tier,
        model=start.model,
        outcome=outcome,
        error_class=error,
        error=reason,
        escalated_from=job.decided_tier if job.decided_tier != job.tier else None,
        baseline_nano=baseline,
        finished_at=now,
        digest=job.digest if state == "done" else None,
    )
