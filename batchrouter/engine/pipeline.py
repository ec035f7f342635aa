"""A run from intake to the last settled attempt: who runs beside whom, and how all of them come to an end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from batchrouter.core.counting import counted
from batchrouter.core.errors import BatchRouterError, ExitCode
from batchrouter.core.records import Batch, Decision, Record, Rejection
from batchrouter.engine.context import RunContext
from batchrouter.engine.deciding import Deciding
from batchrouter.engine.lane import TierLane
from batchrouter.engine.model import ModelState
from batchrouter.engine.retry_gate import RetryGate
from batchrouter.engine.settling import Settling
from batchrouter.ports import RunEnd, Source

LIMIT_REACHED = RunEnd(
    ExitCode.PLANNED_STOP,
    "--limit is reached: the records after it are left, and those that were not read yet are not counted",
    "Without --limit the same command goes on.",
)


@dataclass(frozen=True, slots=True)
class IntakePlan:
    """What is left to take in. ``source`` None: nothing. ``records_most`` bounds how many more records are taken.

    ``before_calls``: the input cannot be read twice, so all of it is taken in before the first call.
    """

    source: Source | None
    deciding: Deciding
    records_most: int | None = None
    before_calls: bool = False


class Dispatcher(Protocol):
    """Takes claimed jobs and gives back attempts: over HTTP in this process, elsewhere or in bulk another time."""

    async def serve(self, lane: TierLane) -> None:
        """Work on a lane's jobs until it is closed."""


class Pipeline:
    """One invocation of one run."""

    def __init__(
        self,
        context: RunContext,
        intake: IntakePlan,
        lanes: Mapping[str | None, TierLane],
        dispatcher: Dispatcher,
        models: Mapping[str, ModelState],
        settling: Settling,
        gate: RetryGate,
        *,
        classifying: Dispatcher | None = None,
        duration_s: float | None,
    ) -> None:
        self._ledger = context.ledger
        self._observer = context.observer
        self._stop = context.stop
        self._intake = intake
        self._lanes = lanes
        self._dispatcher = dispatcher
        self._models = models
        self._classifying = classifying
        self._settling = settling
        self._duration_s = duration_s
        self._intake_over = asyncio.Event()
        gate.watch(tuple(lanes.values()), self._intake_over.is_set)
        self._input_left = False
        self._replaced_models = 0
        self._has_taken_in = False

    @property
    def found_limits(self) -> dict[str, dict[str, int]]:
        """What the calls told of limits that the configuration does not say: model -> rpm, tpm, concurrency."""
        return {name: found for name, model in self._models.items() if (found := model.limits.found)}

    @property
    def shared_limits(self) -> list[tuple[str, ...]]:
        """Groups of models that share one limit of their account, as what is left of it told."""
        return sorted({model.limits.one_limit for model in self._models.values()} - {()})

    async def execute(self) -> RunEnd:
        """Work until nothing is pending or a stop is asked for; everything settled is durable on return."""
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self._serve())
            others = [
                tasks.create_task(self._close_when_finished()),
                tasks.create_task(self._close_when_stopped(serving)),
                tasks.create_task(self._stop_in_time()),
                tasks.create_task(self._take_in()),
            ]
            await asyncio.wait([serving])
            for task in others:
                task.cancel()
        await self._ledger.flush()
        return self._end()

    def _end(self) -> RunEnd:
        if self._stop.end:
            return self._stop.end
        if any(lane.has_put_aside for lane in self._lanes.values()):
            return RunEnd(
                ExitCode.BUDGET,
                "the budget is reached: no pending record fits into what is left of it",
                "Raise --budget or [run] budget and start the same command again; nothing done is paid again.",
            )
        if self._input_left:
            return LIMIT_REACHED
        return RunEnd(ExitCode.OK)

    async def _take_in(self) -> None:
        """Lines to rows; an input that breaks off stops the run, what was read is kept."""
        source = self._intake.source
        try:
            if source and not self._stop.is_requested:
                async with aclosing(source.batches(records_most=self._intake.records_most)) as batches:
                    async for batch in batches:
                        await self._take_in_batch(batch)
                        self._replaced_models += batch.replaced_models
                        self._doubt_first(batch)
                        if self._stop.is_requested:
                            return
                self._input_left = not source.exhausted
                if source.exhausted:
                    await self._ledger.intake_complete()
        except BatchRouterError as error:
            self._stop.request(RunEnd(error.exit_code, error.message, error.hint))
        finally:
            if self._replaced_models:
                named = counted(self._replaced_models, "record")
                self._observer.notice(
                    f"{named} with a model named: the tier's is used (--no-routing keeps the record's)"
                )
            self._intake_over.set()
            for lane in self._lanes.values():
                lane.rows_added()

    async def _take_in_batch(self, batch: Batch) -> None:
        decisions = await asyncio.to_thread(self._decide_all, batch)
        await self._ledger.take_in(batch, decisions)
        tiers = Counter(decision.tier if decision else None for _, decision in decisions)
        for tier, records in tiers.items():
            self._observer.taken_in(tier, records, 0)
            self._lanes[tier].rows_added()
        if rejected := len(batch.lines) - len(decisions):
            self._observer.taken_in(None, 0, rejected)

    def _doubt_first(self, batch: Batch) -> None:
        """Where nothing is a record of what is read first, the whole input is in doubt."""
        rejected = [line for line in batch.lines if isinstance(line, Rejection)]
        if not self._has_taken_in and len(rejected) == len(batch.lines) > 1:
            self._observer.notice(
                f"none of the {len(rejected)} lines read first is a record: is this the right input?"
                f" Line {rejected[0].line}: {rejected[0].reason}"
            )
        self._has_taken_in = True

    def _decide_all(self, batch: Batch) -> list[tuple[Record, Decision | None]]:
        decide = self._intake.deciding.of
        return [(line, decide(line)) for line in batch.lines if isinstance(line, Record)]

    async def _serve(self) -> None:
        if self._intake.before_calls:
            await _any_of(self._intake_over, self._stop.requested)
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes.values():
                undecided = self._classifying if lane.tier is None else None
                lanes.create_task((undecided or self._dispatcher).serve(lane))

    async def _close_when_finished(self) -> None:
        """Lanes may fill one another, so they are closed together, when none has or can get anything."""
        while True:
            await _any_of(*(lane.became_idle for lane in self._lanes.values()))
            for lane in self._lanes.values():
                lane.became_idle.clear()
            if self._stop.is_requested:
                return
            if not self._intake_over.is_set() or not all(lane.is_drained for lane in self._lanes.values()):
                continue
            claims = sum(lane.claims for lane in self._lanes.values())
            if claims and claims == self._settling.held:
                self._settling.release_held()
                claims = 0
            if claims == 0 and not self._release_a_suspect():
                self._close()
                return

    def _release_a_suspect(self) -> bool:
        """A record that was in flight at two crashes works alone, after all others; a third crash tells on it."""
        if any(lane.release_suspect() for lane in self._lanes.values()):
            self._observer.notice("a record that was in flight when the program died twice is worked on alone")
            return True
        return False

    async def _close_when_stopped(self, serving: asyncio.Task[None]) -> None:
        await self._stop.requested.wait()
        self._close()
        at_once = asyncio.create_task(self._stop.at_once.wait())
        try:
            await asyncio.wait([at_once, serving], timeout=self._stop.grace_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            at_once.cancel()
            serving.cancel()

    async def _stop_in_time(self) -> None:
        if self._duration_s is not None and await self._stop.sleep(self._duration_s):
            self._stop.request(RunEnd(ExitCode.PLANNED_STOP, "the time is up", "The next start goes on."))

    def _close(self) -> None:
        for lane in self._lanes.values():
            lane.close()


async def _any_of(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
