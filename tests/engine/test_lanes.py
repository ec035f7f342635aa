"""Lanes over the database as the queue: every record is worked on by one worker at a time, and ends once."""

import asyncio
import random
import sys
from dataclasses import dataclass, field

import pytest

from batchrouter.core.errors import ExitCode
from batchrouter.core.quota import RETRY_COST, RetryQuota
from batchrouter.engine import lane as lanes
from batchrouter.engine.lane import TierLane
from batchrouter.engine.retry_gate import RetryGate
from batchrouter.engine.stopping import Stop
from batchrouter.ports import Job, RunEnd

SEEDS = range(300)


class LoopClock:
    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> str:
        return "2026-01-01T00:00:00.000Z"


@dataclass
class Rows:
    """A ledger's rows as a reader sees them: changes become visible some turns of the loop after they were made."""

    chance: random.Random
    queued_tier: dict[int, str] = field(default_factory=dict)
    waiting: list[tuple[int, str | None]] = field(default_factory=list)

    def change(self, line: int, tier: str | None) -> None:
        self.waiting.append((line, tier))

    async def flush(self) -> None:
        for _ in range(self.chance.randrange(3)):
            await asyncio.sleep(0)
        changes, self.waiting = self.waiting, []
        for line, tier in changes:
            if tier is None:
                self.queued_tier.pop(line, None)
            else:
                self.queued_tier[line] = tier

    async def queued(
        self, tier: str | None, after_line: int, up_to_line: int | None, most: int, _purpose: str
    ) -> list[Job]:
        last = up_to_line or 10**9
        found = [line for line, at in sorted(self.queued_tier.items()) if at == tier and after_line < line <= last]
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        return [job(line, tier) for line in found[:most]]


def job(line: int, tier: str | None) -> Job:
    return Job(line, tier, tier, 1, b"{}", 1, 0, 1, None, frozenset(), None, None, None)


@pytest.mark.parametrize("seed", SEEDS)
async def test_each_record_ends_once_whatever_is_retried_moved_or_let_go(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    monkeypatch.setattr(lanes, "PAGE_RECORDS", chance.choice([1, 2, 5, 50]))
    monkeypatch.setattr(lanes, "FIRST_PAGE_RECORDS", chance.choice([1, 2, 50]))
    monkeypatch.setattr(lanes, "WAITING_MOST", chance.choice([0, 1, 3, 100]))
    rows, stop, clock = Rows(chance), Stop(), LoopClock()
    gate = RetryGate(stop)
    low, high = (TierLane(tier, rows, gate=gate, clock=clock, stop=stop, up_to_line=None) for tier in ("low", "high"))  # type: ignore[arg-type]
    gate.watch((low, high), lambda: intake_over)
    held: set[int] = set()
    ended: list[int] = []
    intake_over = False

    async def work(lane: TierLane) -> None:
        while one := await lane.next_job():
            assert one.line not in held, "two workers have the same record"
            held.add(one.line)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            held.discard(one.line)
            fate = chance.random()
            if fate < 0.2:
                lane.retry(one, chance.choice([0.0, 0.0005]))
            elif fate < 0.35 and lane is low:
                rows.change(one.line, "high")
                one.tier = "high"
                high.arrive(one)
                low.release(one)
            else:
                rows.change(one.line, None)
                ended.append(one.line)
                lane.release(one)

    async def take_in() -> None:
        nonlocal intake_over
        for first in range(1, 61, 10):
            for line in range(first, first + 10):
                rows.change(line, chance.choice(["low", "high"]))
            await rows.flush()
            low.rows_added()
            high.rows_added()
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
        intake_over = True
        low.rows_added()
        high.rows_added()

    async def close_when_done() -> None:
        while not (intake_over and low.is_drained and high.is_drained and low.claims == high.claims == 0):
            await asyncio.sleep(0)
        low.close()
        high.close()

    async with asyncio.TaskGroup() as tasks:
        for lane in (low, low, low, high, high):
            tasks.create_task(work(lane))
        tasks.create_task(take_in())
        tasks.create_task(close_when_done())
    assert sorted(ended) == list(range(1, 61))


async def test_a_stop_sends_waiting_workers_home_when_the_lane_is_closed() -> None:
    rows, stop = Rows(random.Random(0)), Stop()
    lane = TierLane("low", rows, gate=RetryGate(stop), clock=LoopClock(), stop=stop, up_to_line=None)  # type: ignore[arg-type]
    waiting = [asyncio.create_task(lane.next_job()) for _ in range(3)]
    await lane.became_idle.wait()
    stop.request(RunEnd(ExitCode.INTERRUPTED, "enough"))
    lane.close()
    assert await asyncio.gather(*waiting) == [None, None, None]


async def test_what_is_put_aside_is_not_claimed_again() -> None:
    rows = Rows(random.Random(0), {1: "low", 2: "low"})
    lane = TierLane("low", rows, gate=RetryGate(Stop()), clock=LoopClock(), stop=Stop(), up_to_line=None)  # type: ignore[arg-type]
    first = await lane.next_job()
    assert first
    lane.put_aside(first)
    lane.rows_added()
    second = await lane.next_job()
    assert second
    assert second.line == 2
    lane._find_again(first)
    waiting = asyncio.create_task(lane.next_job())
    lane.became_idle.clear()
    await lane.became_idle.wait()
    assert not waiting.done()
    lane.close()
    await waiting


@pytest.mark.parametrize("delay_s", [0.00005, 0.0003, 0.02])
def test_workers_wait_together_for_a_retry_that_is_nearly_due_on_uvloop_too(delay_s: float) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> list[Job | None]:
        rows, stop = Rows(random.Random(0), {1: "low"}), Stop()
        lane = TierLane("low", rows, gate=RetryGate(stop), clock=LoopClock(), stop=stop, up_to_line=None)  # type: ignore[arg-type]
        one = await lane.next_job()
        assert one
        waiting = [asyncio.create_task(lane.next_job()) for _ in range(8)]
        await lane.became_idle.wait()
        lane.retry(one, delay_s)
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        lane.close()
        await asyncio.gather(*waiting)
        return [task.result() for task in done]

    for _ in range(20):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert any(job and job.line == 1 for job in runner.run(main()))


async def test_a_parked_lane_lets_go_of_all_that_waits_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may wait for the answer of a record that waits here for its next try."""
    monkeypatch.setattr(lanes, "MISSES_MOST", 1)
    rows, stop = Rows(random.Random(1)), Stop()
    rows.queued_tier = dict.fromkeys(range(1, 4), "low")
    gate = RetryGate(stop)
    let_go: list[int] = []
    lane = TierLane(
        "low",
        rows,  # type: ignore[arg-type]
        gate=gate,
        clock=LoopClock(),
        stop=stop,
        up_to_line=None,
        let_go=lambda one: let_go.append(one.line),
    )
    gate.watch((lane,), lambda: True)
    tried, dear = await lane.next_job(), await lane.next_job()
    assert tried is not None
    assert dear is not None
    lane.retry(tried, 60)
    lane.put_aside(dear)
    assert sorted(let_go) == [1, 2, 3]
    assert lane.claims == 0


async def test_a_refused_retry_is_woken_by_the_last_new_record_even_if_no_call_was_made_for_it() -> None:
    rows, stop = Rows(random.Random(1)), Stop()
    rows.queued_tier = {1: "low", 2: "high"}
    gate = RetryGate(stop, RetryQuota(tokens=0))
    low, high = (
        TierLane(tier, rows, gate=gate, clock=LoopClock(), stop=stop, up_to_line=None)  # type: ignore[arg-type]
        for tier in ("low", "high")
    )
    gate.watch((low, high), lambda: True)
    failed = await low.next_job()
    assert failed
    failed.retry_cost = RETRY_COST
    low.retry(failed, 0)
    await high._fetch()
    again = asyncio.create_task(low.next_job())
    await asyncio.sleep(0.05)  # it asks the gate, which refuses: the other lane has a record
    assert not again.done()
    last = await high.next_job()
    assert last
    high.release(last)
    assert await again is failed
    for lane in (low, high):
        lane.close()


async def test_a_probe_that_waits_for_the_answer_to_another_record_is_none_any_more() -> None:
    rows, stop = Rows(random.Random(0)), Stop()
    gate = RetryGate(stop, RetryQuota(tokens=0))
    lane = TierLane("low", rows, gate=gate, clock=LoopClock(), stop=stop, up_to_line=None)  # type: ignore[arg-type]
    gate.watch((lane,), lambda: True)
    waiting = asyncio.create_task(lane.next_job())
    await lane.became_idle.wait()
    one, other = job(1, "low"), job(2, "low")
    one.retry_cost = other.retry_cost = RETRY_COST
    assert gate.lets_through(one)
    assert not gate.lets_through(other)
    lane.wait_for_another(one)
    assert gate.lets_through(other)
    lane.close()
    await waiting
