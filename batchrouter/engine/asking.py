"""A question of our own to a model, beside the records' answers: which tier, or which answer is better.

It goes the way of any call: pacing, budget, a row before it is sent. It is repeated as the retry table says, by whoever
asked, who meanwhile has nothing else to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from batchrouter.core.charging import charge
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.retry import Step, next_step
from batchrouter.engine.calling import Calling, Made, NotMade, Reservation
from batchrouter.engine.context import RunContext
from batchrouter.engine.model import ModelState, preferred
from batchrouter.engine.watching import GatewayWatch, hint_of
from batchrouter.ports import AttemptEnd, Job, Purpose, RunEnd


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a question.

    ``answered``: ``outcome`` has an answer. ``given_up``: there will be none, ``outcome`` says why. ``stopped``: the run
    stops. ``no_room``: it does not fit into the budget. ``end`` is the last attempt's end, which is not queued in the
    ledger yet, so that what follows from it can be in the same transaction.
    """

    state: Literal["answered", "given_up", "stopped", "no_room"]
    outcome: Outcome | None = None
    end: AttemptEnd | None = None
    model: str | None = None


def own_question(job: Job, body: bytes, *, prompt_bytes: int) -> Job:
    """What to ask about a record: its line and its history, but nothing that the record itself wants of a model."""
    return msgspec.structs.replace(
        job,
        tier=None,
        body=body,
        prompt_bytes=prompt_bytes,
        images=0,
        choices=1,
        max_output_tokens=None,
        needs=frozenset(),
        expect=None,
    )


_NOT_TAKEN = Outcome("not_sent", ErrorClass.UNSUPPORTED, "no model that could be asked takes it")
_NOT_KNOWN = Outcome("not_sent", ErrorClass.MODEL_UNKNOWN, "the gateway knows none of the models that could be asked")


class Asking:
    """Asks, for one run."""

    def __init__(
        self, context: RunContext, models: Mapping[str, ModelState], calling: Calling, watch: GatewayWatch
    ) -> None:
        self._context = context
        self._models = models
        self._calling = calling
        self._watch = watch
        self._stop = context.stop

    async def ask(self, job: Job, purpose: Purpose, models: Sequence[str], *, output_cap: int) -> Asked:
        """Ask the first of these models that can take it, until it is answered or given up."""
        while True:
            model = self._choose(job, models, output_cap)
            if model is None:
                unknown = all(self._models[name].is_unknown for name in models)
                return Asked("given_up", _NOT_KNOWN if unknown else _NOT_TAKEN)
            async with model.pacing.entry:
                if self._choose(job, models, output_cap) is not model:
                    continue
                made: Made | Reservation | NotMade = await self._calling.reserve(job, model, output_cap)
                if isinstance(made, Reservation):
                    made = await self._calling.make(job, model, made, purpose)
            if made is NotMade.CHOOSE_AGAIN:
                continue
            if not isinstance(made, Made):
                return Asked("stopped" if made is NotMade.STOPPED else "no_room")
            asked, wait_s = self._ended(job, made, model)
            if asked:
                return asked
            await self._stop.sleep(wait_s)

    def _choose(self, job: Job, names: Sequence[str], output_cap: int) -> ModelState | None:
        known = [self._models[name] for name in names if not self._models[name].is_unknown]
        return preferred([model for model in known if model.can_take(job, output_cap)])

    def _ended(self, job: Job, made: Made, model: ModelState) -> tuple[Asked | None, float]:
        """(what became of the question, if that is known; else the seconds to wait before the next try)."""
        outcome, ledger = made.outcome, self._context.ledger
        end = self._end(made, model)
        if outcome.state == "not_sent" and self._stop.is_requested:
            ledger.settle(end)
            return Asked("stopped"), 0.0
        step = self._step(job, made, model)
        match step.action:
            case "done":
                return Asked("answered", outcome, end, model.name), 0.0
            case "retry":
                ledger.settle(end)
            case "next_model":
                ledger.settle(end)
                self._watch.not_found(model, step.reason)
            case "stop":
                ledger.settle(end)
                self._stop.request(RunEnd(step.exit_code, step.reason, hint_of(step.exit_code)))
                return Asked("stopped"), 0.0
            case _:
                return Asked("given_up", outcome, end, model.name), 0.0
        return None, model.retry_in_s(end.error_class, step.delay_s)

    def _step(self, job: Job, made: Made, model: ModelState) -> Step:
        jitter = self._context.chance.random()
        self._watch.learn(made, model, jitter=jitter)
        outage = model.breaker.is_suspected
        step = next_step(
            made.outcome,
            None,
            job.history,
            max_attempts=self._context.settings.run.max_attempts,
            can_escalate=False,
            jitter=jitter,
            outage=outage,
        )
        job.history = job.history.after(made.outcome.error, outage=outage)
        return step

    def _end(self, made: Made, model: ModelState) -> AttemptEnd:
        start, outcome = made.start, made.outcome
        cost, source = charge(outcome, model.prices, start.reserved_nano)
        self._context.budgeting.settle(start.reserved_nano or 0, cost or 0)
        again = outcome.state != "ok" and not self._stop.is_requested
        self._context.observer.ended(start.tier, cost, retried=again)
        now = self._context.clock.utc()
        return AttemptEnd(start.line, start.attempt, outcome, outcome.error, outcome.message or None, cost, source, now)
