"""One attempt, in the order that is the promise: reserve, commit the open row, wait for the turn, send.

Nothing is sent before its row is durable and its worst case is held in the budget, whatever the call is for.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial

import msgspec

from batchrouter.core.charging import charge
from batchrouter.core.errors import StorageFailed
from batchrouter.core.limits import Turn
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.engine.context import RunContext
from batchrouter.engine.model import ModelState
from batchrouter.ports import AttemptEnd, AttemptStart, Call, Job, Purpose

_NOT_SENT = Outcome("not_sent", ErrorClass.NOT_SENT, "the run stopped before this call was sent")
_MODEL_DOWN = Outcome("not_sent", ErrorClass.NOT_SENT, "its model went down before this call was sent")
_IN_FLIGHT = Outcome("unknown", ErrorClass.STOPPED, "the run stopped while this call was in flight")


class NotMade(Enum):
    """Why no call was made: the run stops, the budget has no room for it, or its model cannot take it now."""

    STOPPED = "stopped"
    NO_ROOM = "no_room"
    CHOOSE_AGAIN = "choose_again"


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """What is held in the budget for a call: its worst case in nano-units (None: no price), and its output cap.

    ``is_probe``: it is the call that asks whether an outage is over.
    """

    worst_case_nano: int | None
    output_cap: int
    is_probe: bool = False


class Made(msgspec.Struct, frozen=True, gc=False):
    """A call that was made: its row, what it came to, and when it was sent (monotonic)."""

    start: AttemptStart
    outcome: Outcome
    sent_s: float


@dataclass(slots=True)
class _Way:
    """How far a call has come: what it holds, and what its row has to say if it is cut off here."""

    start: AttemptStart | None = None
    turn: Turn | None = None
    outcome: Outcome = _NOT_SENT
    sent_s: float = 0.0
    has_cap: bool = False
    has_place: bool = False


class Calling:
    """Makes calls for all parts of a run, ``concurrency`` (None: any number) of them at a time."""

    def __init__(self, context: RunContext, *, concurrency: int | None) -> None:
        self._context = context
        self._stop = context.stop
        self._cap = asyncio.Semaphore(concurrency) if concurrency else None

    async def reserve(self, job: Job, model: ModelState, output_cap: int) -> Reservation | NotMade:
        """Hold the worst case of a call, if the model can be asked. One that is given up was the last to choose from."""
        if model.is_given_up:
            self._stop.request(model.unavailable())
        if self._stop.is_requested:
            return NotMade.STOPPED
        if model.is_held_up and not await model.is_available(self._stop):
            return NotMade.CHOOSE_AGAIN
        is_probe = model.breaker.is_open
        worst_case = model.worst_case_nano(job, output_cap)
        if not await self._context.budgeting.reserve(worst_case or 0):
            return NotMade.NO_ROOM
        return Reservation(worst_case, output_cap, is_probe)

    async def make(self, job: Job, model: ModelState, held: Reservation, purpose: Purpose = "answer") -> Made | NotMade:
        """The call; the reservation stays held until the attempt is settled, unless no call was made."""
        way = _Way()
        try:
            start = await self._made_ready(way, job, model, held, purpose)
            if isinstance(start, NotMade):
                return start
            await self._send(way, job, model, held)
        except BaseException:  # cut off by the end of the run, or by a fault: the row says what is known
            if way.start:
                with suppress(StorageFailed):  # the failure that brought us here
                    self._abandon(way.start, way.outcome)
            raise
        finally:
            if way.has_place:
                model.pacing.leave_place()
            if self._cap and way.has_cap:
                self._cap.release()
        used = way.outcome.usage.input_tokens + way.outcome.usage.output_tokens if way.outcome.usage else None
        model.pacing.settle(way.turn, 0 if way.outcome.state == "not_sent" else used)
        return Made(start, way.outcome, way.sent_s)

    async def _made_ready(
        self, way: _Way, job: Job, model: ModelState, held: Reservation, purpose: Purpose
    ) -> AttemptStart | NotMade:
        """Up to the turn: its row is durable, it has its place. Not made: its budget is free and its row ended."""
        async with model.pacing.deck:
            tokens = model.likely_tokens(job, held.output_cap)
            if self._cap:  # taken last: who waits for one model must not hold up another
                await model.pacing.near(tokens, is_wanted=model.may_answer_soon)
                way.has_cap = await self._cap.acquire()
            if self._stop.is_requested or not _may_be_sent(model, held):
                self._context.budgeting.settle(held.worst_case_nano or 0, 0)
                return NotMade.STOPPED if self._stop.is_requested else NotMade.CHOOSE_AGAIN
            start = way.start = self._start(job, model, held, purpose)
            await self._committed(start, model)
            await model.pacing.place.take()
            way.has_place = True
            if not _may_be_sent(model, held):
                return self._take_back(start)
            way.turn = await model.pacing.turn(tokens, is_wanted=model.may_answer_soon)
        if not _may_be_sent(model, held) and not self._stop.is_requested:
            model.pacing.settle(way.turn, 0)
            return self._take_back(start)
        return start

    async def _send(self, way: _Way, job: Job, model: ModelState, held: Reservation) -> None:
        """Its outcome; where the run has been stopped meanwhile it is not sent."""
        way.sent_s = self._context.clock.monotonic_s()
        self._context.observer.started(job.tier)
        if not self._stop.is_requested:
            way.outcome = _IN_FLIGHT
            model.limits.sent(way.sent_s)
            way.outcome = await self._context.gateway.call(_call(job, model, held, way.turn))

    def _start(self, job: Job, model: ModelState, held: Reservation, purpose: Purpose) -> AttemptStart:
        job.attempts_so_far += 1
        return AttemptStart(
            line=job.line,
            attempt=job.attempts_so_far,
            generation=job.generation,
            purpose=purpose,
            tier=job.tier,
            model=model.name,
            gateway=model.settings.gateway,
            started_at=self._context.clock.utc(),
            reserved_nano=held.worst_case_nano,
            output_cap=held.output_cap,
        )

    async def _committed(self, start: AttemptStart, model: ModelState) -> None:
        began_s = self._context.clock.monotonic_s()
        await self._context.ledger.open(start)
        model.pacing.row_committed(began_s)

    def _take_back(self, start: AttemptStart) -> NotMade:
        """Its row is there, and it was not sent: its model went down meanwhile."""
        self._abandon(start, _MODEL_DOWN)
        self._context.budgeting.settle(start.reserved_nano or 0, 0)
        return NotMade.CHOOSE_AGAIN

    def _abandon(self, start: AttemptStart, outcome: Outcome) -> None:
        cost, source = charge(outcome, None, start.reserved_nano)
        now = self._context.clock.utc()
        self._context.ledger.settle(
            AttemptEnd(start.line, start.attempt, outcome, outcome.error, outcome.message, cost, source, now)
        )


def _may_be_sent(model: ModelState, held: Reservation) -> bool:
    """Whether its model can still take the call: it may have gone down, or be gone, while the call waited."""
    is_cut_off = model.is_unknown or (model.breaker.is_open and not held.is_probe)
    return not is_cut_off and model.may_answer_soon()


def _call(job: Job, model: ModelState, held: Reservation, turn: Turn | None) -> Call:
    left = partial(model.pacing.left, turn) if turn else None
    return Call(model.name, job.body, held.output_cap, cap_is_ours=job.max_output_tokens is None, left=left)
