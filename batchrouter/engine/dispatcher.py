"""One attempt at a time per worker: take a record, choose its model, call, settle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from batchrouter.core.commit_lead import lead_most
from batchrouter.core.errors import ExitCode
from batchrouter.core.outcome import ErrorClass
from batchrouter.core.tables import TierSettings
from batchrouter.engine.calling import Calling, Made, NotMade, Reservation
from batchrouter.engine.context import RunContext
from batchrouter.engine.lane import TierLane
from batchrouter.engine.model import ModelState, preferred
from batchrouter.engine.reusing import Reuse
from batchrouter.engine.settling import Settling
from batchrouter.ports import Job, RunEnd

_POISON = "the program died three times while it worked on this record, the last time on it alone"


class InProcessDispatcher:
    """Implements ``Dispatcher`` with a pool of workers for each lane that it serves."""

    def __init__(
        self,
        context: RunContext,
        models: Mapping[str, ModelState],
        calling: Calling,
        settling: Settling,
        reuse: Reuse | None,
        *,
        concurrency: int | None,
    ) -> None:
        self._chance = context.chance
        self._settings = context.settings
        self._stop = context.stop
        self._models = models
        self._settling = settling
        self._calling = calling
        self._reuse = reuse
        self._cap = concurrency

    async def serve(self, lane: TierLane) -> None:
        """Work on a lane's jobs until it is closed."""
        names = self._settings.tier[lane.tier].models if lane.tier else tuple(self._models)
        in_flight = max(self._models[name].limits.calls_most for name in names)
        width = in_flight + lead_most(in_flight)
        width = min(width, self._cap) if self._cap else width
        async with asyncio.TaskGroup() as workers:
            for _ in range(width):
                workers.create_task(self._work(lane))

    async def _work(self, lane: TierLane) -> None:
        while job := await lane.next_job():
            if job.history.is_poison:
                self._settling.fail(job, lane, ErrorClass.POISON, _POISON)
            elif self._reuse and not await self._reuse.must_ask(job, lane, self._first_output_cap(job)):
                continue
            else:
                await self._ask(job, lane)

    async def _ask(self, job: Job, lane: TierLane) -> None:
        """One attempt. A model that went down while it was waited for is left to the next."""
        model = self._choose(job, lane)
        while model:
            async with model.pacing.entry:
                chosen = model if model.may_be_asked else self._choose(job, lane)
                if chosen is model:
                    if await self._attempt(job, model, lane):
                        return
                    chosen = self._choose(job, lane)
            model = chosen

    def _tier(self, job: Job) -> TierSettings:
        if job.tier is not None:
            return self._settings.tier[job.tier]
        return TierSettings(models=(job.requested_model or "",))

    def _output_cap(self, job: Job) -> int:
        """The record's own cap, or the tier's, doubled once where it truncated an answer."""
        raised = job.max_output_tokens is None and job.history.truncated
        return self._first_output_cap(job) * (2 if raised else 1)

    def _first_output_cap(self, job: Job) -> int:
        return self._tier(job).max_output_tokens if job.max_output_tokens is None else job.max_output_tokens

    def _choose(self, job: Job, lane: TierLane) -> ModelState | None:
        """The tier's first model that can take the record and is not down; None when the job was sent elsewhere."""
        cap = self._output_cap(job)
        models = [self._models[name] for name in self._tier(job).models if name in self._models]
        able = [model for model in models if not model.is_unknown and model.can_take(job, cap)]
        if able:
            return preferred(able)
        if all(model.is_unknown for model in models):
            self._stop_for_unknown_model(job)
            lane.release(job)
        else:
            reason = "no model that it may use has the context or the features that it needs"
            self._settling.to_larger(job, lane, ErrorClass.UNSUPPORTED, reason)
        return None

    def _stop_for_unknown_model(self, job: Job) -> None:
        names = self._tier(job).models
        asked = [self._models[name] for name in names if name in self._models]
        where = f"tier {job.tier!r}" if job.tier else f"line {job.line}"
        said = "".join(f"; {model.name}: {model.unknown_because}" for model in asked)
        hint = "The gateway does not know it, or it has no [model] table with prices: mend the configuration and run again."
        if elsewhere := next((model for model in asked if not _is_named(model)), None):
            base_url = self._settings.gateway[elsewhere.settings.gateway].base_url
            hint = f'Look whether base_url = "{base_url}" is right (most end in /v1), then at the model\'s name.'
        self._stop.request(RunEnd(ExitCode.CONFIGURATION, f"{where}: no usable model: {', '.join(names)}{said}", hint))

    async def _attempt(self, job: Job, model: ModelState, lane: TierLane) -> bool:
        """Whether the job is out of these hands; else another model may take it."""
        made: Made | Reservation | NotMade = await self._calling.reserve(job, model, self._output_cap(job))
        if isinstance(made, Reservation):
            lane.fits()
            made = await self._calling.make(job, model, made)
        if isinstance(made, Made):
            self._settling.settle(job, made, model, lane, jitter=self._chance.random())
        elif made is NotMade.NO_ROOM:
            lane.put_aside(job)
        elif made is NotMade.STOPPED:
            lane.release(job)
        return made is not NotMade.CHOOSE_AGAIN


def _is_named(model: ModelState) -> bool:
    """Whether what the gateway did not find is the model, and not the address."""
    said = model.unknown_because.lower()
    return "model" in said or (model.settings.name or model.name).lower() in said
