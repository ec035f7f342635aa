"""Putting a settlement into effect: rows to the ledger, money to the budget, the job to where it goes next."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from batchrouter.core.errors import ExitCode
from batchrouter.core.health import AlikeRefusals
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.quota import retry_cost
from batchrouter.engine.calling import Made
from batchrouter.engine.context import RunContext
from batchrouter.engine.lane import TierLane
from batchrouter.engine.model import ModelState
from batchrouter.engine.retry_gate import RetryGate
from batchrouter.engine.reusing import Reuse
from batchrouter.engine.settlement import Settlement, check_of, failure, nothing_said, settle
from batchrouter.engine.watching import GatewayWatch, hint_of
from batchrouter.ports import AttemptEnd, Job, ResultRow, RunEnd, TierMove


class Settling:
    """What happens after each attempt, for all lanes of a run."""

    def __init__(
        self,
        context: RunContext,
        lanes: Mapping[str | None, TierLane],
        gate: RetryGate,
        watch: GatewayWatch,
        reuse: Reuse | None,
    ) -> None:
        self._reuse = reuse
        if reuse:
            reuse.moved_by(self._follow)
        self._settings = context.settings
        self._ledger = context.ledger
        self._budgeting = context.budgeting
        self._observer = context.observer
        self._clock = context.clock
        self._stop = context.stop
        self._lanes = lanes
        self._gate = gate
        self._watch = watch
        self._alike = AlikeRefusals()
        self._held: list[tuple[Job, ResultRow, TierLane]] = []

    @property
    def held(self) -> int:
        """Records whose failure waits until it is clear that not all requests are refused alike."""
        return len(self._held)

    def settle(self, job: Job, made: Made, model: ModelState, lane: TierLane, *, jitter: float) -> None:
        """One attempt ended. ``jitter`` is in [0, 1)."""
        start, outcome = made.start, made.outcome
        check = check_of(job, outcome, start.output_cap)
        if check and check.error is ErrorClass.EMPTY:  # paid for nothing: the gateway's doing, and no answer
            made = msgspec.structs.replace(made, outcome=nothing_said(outcome, check))
        stopped_before_sending = outcome.state == "not_sent" and self._stop.is_requested
        if not stopped_before_sending:
            self._watch.learn(made, model, jitter=jitter)
        settlement = settle(job, start, outcome, check, model, self._settings, jitter=jitter, now=self._clock.utc())
        self._budgeting.settle(start.reserved_nano or 0, settlement.end.cost_nano or 0)
        if stopped_before_sending:
            self._ledger.settle(settlement.end)
            self._observer.ended(job.tier, 0, retried=False)
            lane.release(job)
            return
        self._compare_refusals(outcome)
        self._gate.ended(job.line, made.outcome)
        retried = settlement.step.action in ("retry", "raise_cap", "next_model", "escalate", "larger")
        if retried:
            error = ErrorClass(settlement.end.error_class) if settlement.end.error_class else None
            job.retry_cost = retry_cost(made.outcome.error)
            job.history = job.history.after(error, outage=model.breaker.is_suspected)
        self._observer.ended(job.tier, settlement.end.cost_nano, retried=retried)
        self._take(settlement, job, model, lane)

    def _compare_refusals(self, outcome: Outcome) -> None:
        if outcome.status_code is None:
            return
        self._alike.add(outcome.error, outcome.message)
        if self._alike.all_alike:
            self._stop.request(_refused_alike(outcome))
        elif self._held and self._alike.decided:
            self.release_held()

    def _take(self, settlement: Settlement, job: Job, model: ModelState, lane: TierLane) -> None:
        step, end = settlement.step, settlement.end
        match step.action:
            case "done" | "fail":
                self._finish(settlement, job, lane)
            case "retry":
                self._ledger.settle(end)
                lane.retry(job, model.retry_in_s(end.error_class, step.delay_s))
            case "raise_cap":
                self._ledger.settle(end)
                lane.again(job)
            case "next_model":
                self._ledger.settle(end)
                self._watch.not_found(model, step.reason)
                lane.again(job)
            case "escalate":
                self._escalate(end, job, lane)
            case "larger":
                self.to_larger(job, lane, ErrorClass(end.error_class or ErrorClass.SIZE), step.reason, end)
            case "stop":
                self._ledger.settle(end)
                lane.release(job)
                self._stop.request(RunEnd(step.exit_code, step.reason, hint_of(step.exit_code)))

    def _finish(self, settlement: Settlement, job: Job, lane: TierLane) -> None:
        result = settlement.result
        if result is None:
            raise AssertionError("a final step has a result")
        if result.error_class == ErrorClass.BAD_REQUEST and not self._alike.decided:
            self._ledger.settle(settlement.end)
            self._held.append((job, result, lane))
            lane.hold(job)
            return
        self._ledger.settle(settlement.end, result)
        self._observer.finished(job.tier, result.state, result.baseline_nano)
        if self._reuse and result.state == "done":
            self._reuse.answered(job, result)
        elif self._reuse:
            self._reuse.failed(job)
        lane.release(job)

    def release_held(self) -> None:
        """It is clear that only these records are refused: they have failed."""
        held, self._held = self._held, []
        for job, result, lane in held:
            self._ledger.settle(None, result)
            self._observer.finished(job.tier, result.state, None)
            lane.release(job)

    def _escalate(self, end: AttemptEnd, job: Job, lane: TierLane) -> None:
        tier = self._settings.tier_above(job.tier or "") or self._settings.top_tier
        self._ledger.settle(end, move=TierMove(job.line, tier))
        self._move(job, lane, tier)

    def to_larger(
        self, job: Job, lane: TierLane, error: ErrorClass, reason: str, end: AttemptEnd | None = None
    ) -> None:
        """The record needs a longer context, or a feature: the tier above may have it, else it has failed."""
        tier = self._settings.tier_above(job.tier) if job.tier else None
        if tier is None or not self._settings.routing.escalate:
            self.fail(job, lane, error, reason, end)
            return
        self._ledger.settle(end, move=TierMove(job.line, tier))
        self._move(job, lane, tier)

    def fail(self, job: Job, lane: TierLane, error: ErrorClass, reason: str, end: AttemptEnd | None = None) -> None:
        """The record has failed without an answer of its own behind it."""
        row = failure(job, error, reason, self._clock.utc())
        self._ledger.settle(end, row)
        self._observer.finished(job.tier, row.state, None)
        if self._reuse:
            self._reuse.failed(job)
        lane.release(job)

    def _follow(self, job: Job, lane: TierLane, tier: str) -> None:
        """A record goes on in the tier where an identical one has gone."""
        self._ledger.settle(None, move=TierMove(job.line, tier))
        self._move(job, lane, tier)

    def _move(self, job: Job, lane: TierLane, tier: str) -> None:
        followers = self._reuse.went_up(job, tier) if self._reuse else []
        before, job.tier = job.tier, tier
        job.history = job.history.on_another_tier()
        self._observer.moved(before, tier)
        self._lanes[tier].arrive(job)
        lane.release(job)
        for other, its_lane in followers:
            self._follow(other, its_lane, tier)


def _refused_alike(outcome: Outcome) -> RunEnd:
    return RunEnd(
        ExitCode.CONFIGURATION,
        f"the gateway refused the first requests, all with: {outcome.message}",
        "Mend the configuration ([model] drop, set, max_tokens_param, or [request]); the records are still pending.",
    )
