"""One attempt at a time per worker: choose a model, reserve, commit the open row, wait for the turn, call, settle.

The order is the promise: nothing is sent before its row is durable and its worst case is held in the budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from batchrouter.core.errors import ExitCode, StorageFailed
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.settings import TierSettings
from batchrouter.engine.context import RunContext
from batchrouter.engine.lane import TierLane
from batchrouter.engine.model import ModelState
from batchrouter.engine.settling import Settling
from batchrouter.ports import AttemptStart, Call, Job, RunEnd

_NOT_SENT = Outcome("not_sent", ErrorClass.NOT_SENT, "the run stopped before this call was sent")
_IN_FLIGHT = Outcome("unknown", ErrorClass.STOPPED, "the run stopped while this call was in flight")
_POISON = "the program died three times while it worked on this record, the last time on it alone"


class InProcessDispatcher:
    """Implements ``Dispatcher`` with a pool of workers for each lane that it serves."""

    def __init__(
        self, context: RunContext, models: Mapping[str, ModelState], settling: Settling, *, concurrency: int | None
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._stop = context.stop
        self._models = models
        self._settling = settling
        self._cap = concurrency
        self._places = asyncio.Semaphore(concurrency) if concurrency else None

    async def serve(self, lane: TierLane) -> None:
        """Work on a lane's jobs until it is closed."""
        names = self._settings.tier[lane.tier].models if lane.tier else tuple(self._models)
        width = max(self._models[name].limits.calls_most for name in names)
        width = min(width, self._cap) if self._cap else width
        async with asyncio.TaskGroup() as workers:
            for _ in range(width):
                workers.create_task(self._work(lane))

    def found_limits(self) -> dict[str, dict[str, int]]:
        """What the calls told of limits that the configuration does not say: model -> rpm, tpm, concurrency."""
        return {name: found for name, model in self._models.items() if (found := model.limits.found)}

    async def _work(self, lane: TierLane) -> None:
        while job := await lane.next_job():
            if job.history.is_poison:
                self._settling.fail(job, lane, ErrorClass.POISON, _POISON)
            elif model := self._choose(job, lane):
                async with model.pacing.place:
                    await self._reserve(job, model, lane)

    def _tier(self, job: Job) -> TierSettings:
        if job.tier is not None:
            return self._settings.tier[job.tier]
        return TierSettings(models=(job.requested_model or "",))

    def _output_cap(self, job: Job) -> int:
        """The record's own cap, or the tier's, doubled once where it truncated an answer."""
        if job.max_output_tokens is not None:
            return job.max_output_tokens
        return self._tier(job).max_output_tokens * (2 if job.history.truncated else 1)

    def _choose(self, job: Job, lane: TierLane) -> ModelState | None:
        """The tier's first model that can take the record and is not down; None when the job was sent elsewhere."""
        candidates = [self._models[name] for name in self._tier(job).models if name in self._models]
        known = [model for model in candidates if not model.is_unknown]
        if not known:
            self._stop_for_unknown_model(job)
            lane.release(job)
            return None
        cap = self._output_cap(job)
        able = [model for model in known if model.can_take(job, cap)]
        if not able:
            reason = "no model that it may use has the context or the features that it needs"
            self._settling.to_larger(job, lane, ErrorClass.UNSUPPORTED, reason)
            return None
        return next((model for model in able if not model.breaker.is_open), able[0])

    def _stop_for_unknown_model(self, job: Job) -> None:
        models = ", ".join(self._tier(job).models)
        where = f"tier {job.tier!r}" if job.tier else f"line {job.line}"
        self._stop.request(
            RunEnd(
                ExitCode.CONFIGURATION,
                f"{where}: no usable model: {models}",
                "The gateway does not know it, or it has no [model] table with prices: mend the configuration and run again.",
            )
        )

    async def _reserve(self, job: Job, model: ModelState, lane: TierLane) -> None:
        await model.available(self._stop)
        if model.is_given_up:
            self._stop.request(model.unavailable())
        if self._stop.is_requested:
            lane.release(job)
            return
        cap = self._output_cap(job)
        worst_case = model.worst_case_nano(job, cap)
        if not await self._context.budgeting.reserve(worst_case or 0):
            lane.put_aside(job)
            return
        lane.fits()
        await self._attempt(job, model, lane, output_cap=cap, worst_case=worst_case)

    def _start(self, job: Job, model: ModelState, output_cap: int, worst_case: int | None) -> AttemptStart:
        job.attempts_so_far += 1
        self._context.observer.started(job.tier)
        return AttemptStart(
            line=job.line,
            attempt=job.attempts_so_far,
            generation=job.generation,
            purpose="answer",
            tier=job.tier,
            model=model.name,
            gateway=model.settings.gateway,
            started_at=self._context.clock.utc(),
            reserved_nano=worst_case,
            output_cap=output_cap,
        )

    async def _attempt(
        self, job: Job, model: ModelState, lane: TierLane, *, output_cap: int, worst_case: int | None
    ) -> None:
        outcome = _NOT_SENT
        start = turn = None
        has_place = False
        try:
            async with model.pacing.deck:
                if self._places:  # taken last: who waits for one model must not hold up another
                    has_place = await self._places.acquire()
                if self._stop.is_requested:
                    self._context.budgeting.settle(worst_case or 0, 0)
                    lane.release(job)
                    return
                start = self._start(job, model, output_cap, worst_case)
                await self._context.ledger.open(start)
                turn = await model.pacing.turn(model.likely_tokens(job, output_cap))
            sent_s = self._context.clock.monotonic_s()
            if not self._stop.is_requested:
                outcome = _IN_FLIGHT
                left = partial(model.pacing.left, turn) if turn else None
                call = Call(model.name, job.body, output_cap, cap_is_ours=job.max_output_tokens is None, left=left)
                outcome = await self._context.gateway.call(call)
        except BaseException:  # cut off by the end of the run, or by a fault: the row says what is known
            if start:
                with suppress(StorageFailed):  # the failure that brought us here
                    self._settling.abandoned(start, outcome)
            raise
        finally:
            if self._places and has_place:
                self._places.release()
        tokens = outcome.usage.input_tokens + outcome.usage.output_tokens if outcome.usage else None
        model.pacing.settle(turn, 0 if outcome.state == "not_sent" else tokens)
        jitter = self._context.chance.random()
        self._settling.settle(job, start, outcome, model, lane, sent_s=sent_s, jitter=jitter)
