"""Identical requests are asked once: those that come later get the answer that is there, those beside it wait for it.

What becomes of the one that asks becomes of the others: where its answers fail their checks and it goes on a tier up,
they go there too and wait for it again. Where it has failed for good, each is asked for by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from batchrouter.core.pricing import cost_nano
from batchrouter.core.request_digest import request_digest
from batchrouter.engine.context import RunContext
from batchrouter.engine.lane import TierLane
from batchrouter.ports import Job, ResultRow, Reusable

REMEMBERED_MOST = 10_000
"""Of so many requests that got no answer in their tier it is known what became of them."""
PARKED_MOST = 1_000
"""So many records may wait for the answer of another; then no new rows are taken until some of them have theirs."""


@dataclass(slots=True)
class _Asker:
    """The record that asks for all, and those that wait for it."""

    line: int
    parked: deque[tuple[Job, TierLane]] = field(default_factory=deque)


class Reuse:
    """Answers of this run or (``across_runs``) of the whole database, for ``run``."""

    def __init__(self, context: RunContext, run: int, *, across_runs: bool) -> None:
        self._settings = context.settings
        self._ledger = context.ledger
        self._observer = context.observer
        self._clock = context.clock
        self._run = run
        self._across_runs = across_runs
        self._askers: dict[bytes, _Asker] = {}
        self._fresh: dict[bytes, Reusable] = {}
        self._unanswered: dict[tuple[bytes, str | None], str | None] = {}
        self._move: Callable[[Job, TierLane, str], None] | None = None
        self._parked = 0

    def moved_by(self, move: Callable[[Job, TierLane, str], None]) -> None:
        """What brings a record from its lane to another tier."""
        self._move = move

    async def must_ask(self, job: Job, lane: TierLane, output_cap: int) -> bool:
        """Whether this record has to be asked for; else it has its answer, waits for one, or has gone on a tier up.

        A record that is done again is meant to be asked for.
        """
        if job.generation > 1:
            return True
        digest = job.digest or self._digest(job, output_cap)
        here = (digest, job.tier)
        if digest not in self._askers and here not in self._unanswered:
            found = self._fresh.get(digest) or await self._ledger.reusable(digest, across_runs=self._across_runs)
            found = found or self._fresh.get(digest)
            if found:
                self._give(found, job, lane)
                return False
        if here in self._unanswered:
            return self._must_ask_alone(job, lane, self._unanswered[here])
        asker = self._askers.setdefault(digest, _Asker(job.line))
        job.digest = digest
        if asker.line == job.line:
            return True
        self._park(asker, job, lane)
        return False

    def answered(self, job: Job, result: ResultRow) -> None:
        """The record got this answer: it is that of all who wait for it, and of those who come later."""
        digest, outcome, asker = job.digest, result.outcome, self._asked_with(job)
        if digest is None or outcome is None or asker is None:
            return
        del self._askers[digest]
        self._fresh[digest] = found = Reusable(self._run, job.line, result.model or "", outcome)
        self._ledger.tell(partial(self._is_durable, digest))
        for parked, lane in self._unparked(asker):
            self._give(found, parked, lane)

    def went_up(self, job: Job, tier: str) -> list[tuple[Job, TierLane]]:
        """The record leaves its tier for this one; those that waited for it there, and shall follow."""
        followers = []
        for parked, lane in self._not_answered(job, tier):
            if parked.tier == job.tier:
                followers.append((parked, lane))
            else:
                lane.again(parked)
        return followers

    def failed(self, job: Job) -> None:
        """The record has failed: each of those that waited for it is asked for by itself."""
        for parked, lane in self._not_answered(job, None):
            lane.again(parked)

    def _not_answered(self, job: Job, tier: str | None) -> list[tuple[Job, TierLane]]:
        """Those that waited for the record, free again; ``tier``: where it goes from its own, None: it has failed there."""
        digest, asker = job.digest, self._asked_with(job)
        if digest is None or asker is None:
            return []
        if len(self._unanswered) >= REMEMBERED_MOST:
            del self._unanswered[next(iter(self._unanswered))]
        self._unanswered[digest, job.tier] = tier
        del self._askers[digest]
        job.digest = None
        parked = self._unparked(asker)
        for one, _ in parked:
            one.digest = None
        return parked

    def _asked_with(self, job: Job) -> _Asker | None:
        """The asker that the record is, with those that wait for it; None: it is none."""
        asker = self._askers.get(job.digest) if job.digest else None
        return asker if asker and asker.line == job.line else None

    def _must_ask_alone(self, job: Job, lane: TierLane, tier: str | None) -> bool:
        """An identical request had no answer here: this one goes where that went, or is asked for by itself."""
        job.digest = None
        if tier is None or self._move is None:
            return True
        self._move(job, lane, tier)
        return False

    def _is_durable(self, digest: bytes) -> None:
        self._fresh.pop(digest, None)

    def released(self, job: Job) -> None:
        """The record is in nobody's hands; if it has no answer, the next of those who wait for it asks."""
        asker = self._asked_with(job)
        if job.digest is None or asker is None:
            return
        del self._askers[job.digest]
        job.digest = None
        for parked, lane in self._unparked(asker):
            lane.again(parked)

    def _park(self, asker: _Asker, job: Job, lane: TierLane) -> None:
        asker.parked.append((job, lane))
        lane.wait_for_another(job)
        self._parked += 1
        if self._parked >= PARKED_MOST:
            lane.hold_rows()

    def _unparked(self, asker: _Asker) -> list[tuple[Job, TierLane]]:
        parked = list(asker.parked)
        self._parked -= len(parked)
        for lane in {id(lane): lane for _, lane in parked}.values():
            lane.go_on_with_rows()
        return parked

    def _give(self, found: Reusable, job: Job, lane: TierLane) -> None:
        outcome = found.outcome
        prices = self._settings.baseline_prices(job.requested_model)
        baseline = cost_nano(outcome.usage, prices) if outcome.usage and prices else None
        result = ResultRow(
            line=job.line,
            generation=job.generation,
            state="done",
            attempt=None,
            tier=job.tier,
            model=found.model,
            outcome=outcome,
            error_class=None,
            error=None,
            escalated_from=job.decided_tier if job.decided_tier != job.tier else None,
            baseline_nano=baseline,
            finished_at=self._clock.utc(),
            reused=(found.run, found.line),
        )
        self._ledger.settle(None, result)
        self._observer.finished(job.tier, "done", baseline)
        lane.release(job)

    def _digest(self, job: Job, output_cap: int) -> bytes:
        names = self._settings.tier[job.tier].models if job.tier else (job.requested_model or "",)
        models = [(name, self._settings.model[name]) for name in names if name in self._settings.model]
        return request_digest(job.body, models, output_cap, job.expect)
