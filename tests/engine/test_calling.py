"""A call whose row is committed while all places are taken: it waits, and is not sent where it must not be any more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from batchrouter.core.budget import Budget
from batchrouter.core.errors import ExitCode
from batchrouter.core.health import OUTAGE_AFTER_FAILURES
from batchrouter.core.outcome import Answer, Outcome
from batchrouter.core.tables import ModelSettings
from batchrouter.engine.budgeting import Budgeting
from batchrouter.engine.calling import Calling, Made, NotMade, Reservation
from batchrouter.engine.limit_search import LimitSearch
from batchrouter.engine.model import ModelState
from batchrouter.engine.pacing import Pacing
from batchrouter.engine.stopping import Stop
from batchrouter.ports import AttemptEnd, AttemptStart, Call, Job, RunEnd
from tests.engine.test_pacing import LoopClock

HELD = 100


class Rows:
    """A ledger whose commits are instant."""

    def __init__(self) -> None:
        self.opened: list[AttemptStart] = []
        self.ended: list[AttemptEnd] = []

    async def open(self, start: AttemptStart) -> None:
        self.opened.append(start)

    def settle(self, end: AttemptEnd) -> None:
        self.ended.append(end)


class SlowGateway:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.answers = asyncio.Event()

    async def call(self, _call: Call) -> Outcome:
        self.calls += 1
        await self.answers.wait()
        return Outcome("ok", status_code=200, answer=Answer("yes", "stop", None, has_tool_calls=False))


class Bench:
    """Two calls to a model with one place, or under a rate: the first is in flight, the second waits."""

    def __init__(self, *, rpm: float | None = None, cap: int | None = None) -> None:
        self.stop, self.clock, self.rows, self.gateway = Stop(), LoopClock(), Rows(), SlowGateway()
        self.in_flight = 0
        self.budgeting = Budgeting(Budget(2 * HELD))
        context: Any = SimpleNamespace(
            stop=self.stop,
            budgeting=self.budgeting,
            ledger=self.rows,
            clock=self.clock,
            gateway=self.gateway,
            observer=SimpleNamespace(started=self._started),
        )
        places = 2 if rpm else 1
        pacing = Pacing(rpm=rpm, tpm=None, concurrency=places, guard=None, clock=self.clock, stop=self.stop)
        pacing.deck.resize(2)
        limits = LimitSearch(pacing, self.clock, rate=None, concurrency=None, tokens_are_configured=True)
        settings = ModelSettings.model_validate({"input": 1, "output": 1})
        self.model = ModelState("m", settings, None, pacing=pacing, limits=limits, patience_s=900, clock=self.clock)
        self._calling = Calling(context, concurrency=cap)

    def _started(self, _tier: str | None) -> None:
        self.in_flight += 1

    def call(self, line: int, *, is_probe: bool = False) -> asyncio.Task[Made | NotMade]:
        job = Job(line, "simple", "simple", 1, b"{}", 10, 0, 1, None, frozenset(), None, None, None)
        return asyncio.create_task(self._make(job, Reservation(HELD, 50, is_probe)))

    async def _make(self, job: Job, held: Reservation) -> Made | NotMade:
        assert await self.budgeting.reserve(HELD)
        return await self._calling.make(job, self.model, held)

    async def both(self) -> tuple[asyncio.Task[Made | NotMade], asyncio.Task[Made | NotMade]]:
        first, second = self.call(1), self.call(2)
        while len(self.rows.opened) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (self.gateway.calls, self.in_flight) == (1, 1)
        return first, second


def states(rows: Rows) -> list[tuple[int, str]]:
    return [(end.line, end.outcome.state) for end in rows.ended]


async def test_a_place_that_becomes_free_is_taken_by_the_call_that_is_ready() -> None:
    bench = Bench()
    first, second = await bench.both()
    bench.gateway.answers.set()
    for made in (await first, await second):
        assert isinstance(made, Made)
        assert made.outcome.state == "ok"
    assert (bench.gateway.calls, bench.in_flight) == (2, 2)
    assert not bench.model.pacing.place.locked()


def go_down(model: ModelState) -> None:
    """So many of its calls get no answer that only probes may be sent."""
    now_s = LoopClock().monotonic_s()
    for line in range(OUTAGE_AFTER_FAILURES):
        model.breaker.failed(now_s, line, sent_s=0.0, paused_until_s=0.0)
    assert model.breaker.is_open


@pytest.mark.parametrize("limits", [{"rpm": 600.0}, {"cap": 1}])
async def test_a_call_that_waits_for_its_turn_or_the_cap_is_not_sent_into_an_outage(limits: dict[str, Any]) -> None:
    bench = Bench(**limits)
    first = bench.call(1)
    while not bench.gateway.calls:
        await asyncio.sleep(0)
    second = bench.call(2)
    for _ in range(5):
        await asyncio.sleep(0)
    go_down(bench.model)
    bench.gateway.answers.set()
    await first
    assert await second is NotMade.CHOOSE_AGAIN
    assert bench.gateway.calls == 1
    assert len(bench.rows.ended) == len(bench.rows.opened) - 1
    probe = bench.call(3, is_probe=True)  # what the second held of the budget is free again
    assert isinstance(await probe, Made)


async def test_a_call_that_is_cut_off_in_flight_is_unknown() -> None:
    bench = Bench()
    first, second = await bench.both()
    first.cancel()
    second.cancel()
    await asyncio.wait([first, second])
    assert sorted(states(bench.rows)) == [(1, "unknown"), (2, "not_sent")]
    assert not bench.model.pacing.place.locked()


async def test_a_call_that_waits_for_its_place_is_not_sent_into_an_outage() -> None:
    bench = Bench()
    first, second = await bench.both()
    go_down(bench.model)
    bench.gateway.answers.set()
    await first
    assert await second is NotMade.CHOOSE_AGAIN
    assert (bench.gateway.calls, bench.in_flight) == (1, 1)
    assert states(bench.rows) == [(2, "not_sent")]
    assert await bench.budgeting.reserve(HELD)
    assert not bench.model.pacing.place.locked()


async def test_a_call_that_waits_for_its_place_is_not_sent_to_a_model_that_is_unknown_meanwhile() -> None:
    bench = Bench()
    first, second = await bench.both()
    bench.model.unknown_because = "404: no such model"
    bench.gateway.answers.set()
    await first
    assert await second is NotMade.CHOOSE_AGAIN
    assert bench.gateway.calls == 1


async def test_a_call_that_waits_for_its_place_is_not_sent_once_the_run_stops() -> None:
    bench = Bench()
    first, second = await bench.both()
    bench.stop.request(RunEnd(ExitCode.INTERRUPTED, "interrupted by SIGINT", None))
    bench.gateway.answers.set()
    await first
    made = await second
    assert isinstance(made, Made)
    assert made.outcome.state == "not_sent"
    assert bench.gateway.calls == 1


async def test_a_call_that_is_cut_off_while_it_waits_for_its_place_says_so_and_leaves_none_taken() -> None:
    bench = Bench()
    first, second = await bench.both()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert states(bench.rows) == [(2, "not_sent")]
    bench.gateway.answers.set()
    await first
    assert not bench.model.pacing.place.locked()


def test_a_call_without_an_answer_is_made_again_at_the_end_of_the_patience_at_the_latest() -> None:
    async def main() -> None:
        model = Bench().model
        assert model.retry_in_s("server", 60.0) == 60.0
        now_s = LoopClock().monotonic_s()
        model.breaker.failed(now_s - 890, 1, sent_s=now_s - 890)
        assert model.retry_in_s("server", 60.0) == pytest.approx(10, abs=1)
        assert model.retry_in_s("server", 3.0) == 3.0
        assert model.retry_in_s("overload", 60.0) == 60.0

    asyncio.run(main())
