"""The lane of records whose tier is still open: a model is asked once for each type of request, then they move on.

A stage of the pipeline and no barrier: each record goes to its tier's lane as soon as its decision is there. Decision,
tier and the attempt's end are one transaction, so no decision is paid for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from batchrouter.core.errors import ExitCode
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.records import Decision, RequestText
from batchrouter.core.retry import History
from batchrouter.core.tokens import TIER_NAME_TOKENS
from batchrouter.engine.asking import Asked, Asking, own_question
from batchrouter.engine.context import RunContext
from batchrouter.engine.lane import TierLane
from batchrouter.ports import AttemptEnd, Classification, Classifier, Decided, Job, RunEnd

WAITING_MOST = 1_000
"""Records that may wait for a question that is open, while those behind them are decided by what is known."""
_POISON = "the program died three times while it asked the model"
_WRONG_REQUEST = frozenset({ErrorClass.BAD_REQUEST, ErrorClass.UNSUPPORTED, ErrorClass.MODEL_UNKNOWN})


class Classifying:
    """Implements ``Dispatcher`` for the lane without a tier."""

    def __init__(
        self,
        context: RunContext,
        classifier: Classifier,
        asking: Asking,
        lanes: Mapping[str | None, TierLane],
        *,
        text_of: Callable[[Job], RequestText],
    ) -> None:
        self._ledger = context.ledger
        self._observer = context.observer
        self._stop = context.stop
        self._classifier = classifier
        self._asking = asking
        self._model = classifier.model
        self._lanes = lanes
        self._text_of = text_of
        self._being_asked: dict[bytes, asyncio.Event] = {}
        self._was_answered = False

    async def serve(self, lane: TierLane) -> None:
        """Decide the lane's records until it is closed."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(WAITING_MOST):
                workers.create_task(self._work(lane))

    async def _work(self, lane: TierLane) -> None:
        while job := await lane.next_job():
            about = self._classifier.question(self._text_of(job))
            if job.history.is_poison:
                self._decide(job, lane, self._classifier.unanswered(about, _POISON))
            elif await self._may_ask(about):
                await self._ask(job, about, lane)
            elif decision := self._classifier.known(about):
                self._decide(job, lane, decision)
            else:
                lane.release(job)

    async def _may_ask(self, about: Classification) -> bool:
        """Whether it is for this caller to ask: nobody knows the answer, and nobody is asking."""
        while not self._stop.is_requested and self._classifier.known(about) is None:
            asked = self._being_asked.get(about.key)
            if asked is None:
                return True
            await asked.wait()
        return False

    async def _ask(self, job: Job, about: Classification, lane: TierLane) -> None:
        over = self._being_asked[about.key] = asyncio.Event()
        try:
            question = own_question(job, about.body, prompt_bytes=about.prompt_bytes)
            asked = await self._asking.ask(question, "classify", (self._model,), output_cap=TIER_NAME_TOKENS)
            job.attempts_so_far = question.attempts_so_far
            self._take(asked, job, about, lane)
        finally:
            del self._being_asked[about.key]
            over.set()

    def _take(self, asked: Asked, job: Job, about: Classification, lane: TierLane) -> None:
        match asked.state:
            case "stopped":
                lane.release(job)
            case "no_room":
                lane.put_aside(job)
            case "answered":
                self._was_answered = True
                lane.fits()
                answer = asked.outcome.answer if asked.outcome else None
                decision = self._classifier.answered(about, answer.content if answer else None)
                self._decide(job, lane, decision, asked.end, about if decision.origin == "asked" else None)
            case "given_up":
                self._give_up(asked, job, about, lane)

    def _give_up(self, asked: Asked, job: Job, about: Classification, lane: TierLane) -> None:
        """A request that the model's gateway refuses from the first on is a wrong setting, and no reason to fall back."""
        outcome = asked.outcome
        if outcome and outcome.error in _WRONG_REQUEST and not self._was_answered:
            self._ledger.settle(asked.end)
            self._stop.request(_cannot_be_asked(self._model, outcome))
            lane.release(job)
            return
        self._decide(job, lane, self._classifier.unanswered(about, "the model gave no answer"), asked.end)

    def _decide(
        self,
        job: Job,
        lane: TierLane,
        decision: Decision,
        end: AttemptEnd | None = None,
        about: Classification | None = None,
    ) -> None:
        tier = decision.tier
        if tier is None:
            raise AssertionError("a decision of the LLM router has a tier")
        self._ledger.settle(end, decided=Decided(job.line, decision, self._model, about))
        job.tier = job.decided_tier = tier
        job.history = History()
        self._observer.moved(None, tier)
        self._lanes[tier].arrive(job)
        lane.release(job)


def _cannot_be_asked(model: str, outcome: Outcome) -> RunEnd:
    return RunEnd(
        ExitCode.CONFIGURATION,
        f"{model}: it cannot be asked which tier a record needs: {outcome.message}",
        "Mend [routing] llm_model or its [model] table, or route with `--router rules`; the records are still pending.",
    )
