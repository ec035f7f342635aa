"""Pacing on a clock of its own: the rate holds in every window, pauses hold everybody, a stop wakes all."""

import asyncio
import random
import sys
import time
from bisect import bisect_left

import pytest

from batchrouter.assembly.clock import SystemClock
from batchrouter.core.budget import Budget
from batchrouter.core.errors import ExitCode
from batchrouter.core.limits import CATCH_UP_S, Turn
from batchrouter.engine.budgeting import Budgeting
from batchrouter.engine.pacing import Pacing
from batchrouter.engine.stopping import Stop
from batchrouter.ports import RunEnd


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time jumps to the next timer instead of passing."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now_s = max(self.now_s, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class CoarseLoop(JumpingLoop):
    """Its timers fire up to a millisecond early, as those of uvloop do."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = 0.001

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now_s = max(self.now_s, self._scheduled[0].when() - 0.0009)  # type: ignore[attr-defined]
        super()._run_once()


class LoopClock:
    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> str:
        return ""


def paced(rpm: float | None = None, tpm: float | None = None, stop: Stop | None = None) -> Pacing:
    return Pacing(rpm=rpm, tpm=tpm, concurrency=50, guard=None, clock=LoopClock(), stop=stop or Stop())


async def sent(pacing: Pacing, tokens: int = 1) -> Turn:
    """Wait for the turn, and leave at once."""
    turn = await pacing.turn(tokens)
    assert turn
    pacing.left(turn)
    return turn


def in_virtual_time(main: object, loop: type[JumpingLoop] = JumpingLoop) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())  # type: ignore[operator]


@pytest.mark.parametrize("rpm", [30, 60, 600])
def test_a_minute_is_used_to_the_margin_and_never_beyond(rpm: int) -> None:
    async def main() -> None:
        pacing, times = paced(rpm=rpm), []

        async def call() -> None:
            async with pacing.deck:
                times.append((await sent(pacing)).at_s)

        await asyncio.gather(*(call() for _ in range(rpm * 3)))
        for first in times:
            assert sum(first <= at < first + 60 for at in times) <= rpm
        assert times[-1] - times[0] <= 3 * 60 * 1.02

    in_virtual_time(main)


@pytest.mark.parametrize("seed", range(5))
def test_a_machine_that_stands_still_now_and_then_never_brings_more_into_a_second_than_it_may_have(seed: int) -> None:
    sys.stdout.write(f"seed {seed}\n")
    chance, rpm = random.Random(seed), 60_000

    async def main() -> None:
        pacing, times = paced(rpm=rpm), []
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CoarseLoop)

        async def stand_still_now_and_then() -> None:
            while True:
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                loop.now_s += chance.choice([0.003, 0.01, 0.03, 0.1])

        async def calls() -> None:
            while len(times) < 10_000:
                times.append((await sent(pacing)).at_s)

        stalls = asyncio.create_task(stand_still_now_and_then())
        await asyncio.gather(*(calls() for _ in range(200)))
        stalls.cancel()
        ends = [bisect_left(times, first_s + 1) for first_s in times]
        assert max(end - first for first, end in enumerate(ends)) < 1_000
        assert len(times) / (times[-1] - times[0]) > 900

    in_virtual_time(main, CoarseLoop)


def test_where_a_second_is_full_one_call_that_is_a_second_old_makes_room_for_one() -> None:
    async def main() -> None:
        pacing = paced(rpm=6_000)
        assert pacing.gate.grid
        now_s = LoopClock().monotonic_s()
        for age_s in [1.0045, 1.0036] + [0.5] * 98:
            pacing.gate.grid.left(Turn(now_s - age_s))
        turns = await asyncio.gather(*(sent(pacing) for _ in range(4)))
        after_s = [turn.at_s - now_s for turn in turns]
        assert after_s[1] < 0.01
        assert after_s[2] >= 0.5

    in_virtual_time(main, CoarseLoop)


@pytest.mark.parametrize(("real", "least_s", "most_s"), [(100, 530, 600), (10, 50, 57)])
def test_tokens_are_held_by_estimate_and_settled_by_count(real: int, least_s: float, most_s: float) -> None:
    async def main() -> None:
        pacing, times = paced(tpm=1000), []

        async def call() -> None:
            turn = await sent(pacing, 100)
            times.append(turn.at_s)
            pacing.settle(turn, real)

        await asyncio.gather(*(call() for _ in range(90)))
        assert least_s <= times[-1] - times[0] <= most_s

    in_virtual_time(main)


@pytest.mark.parametrize("seed", range(5))
def test_a_limit_of_tokens_is_used_up_by_answers_of_any_length_and_never_passed(seed: int) -> None:
    sys.stdout.write(f"seed {seed}\n")
    chance, tpm = random.Random(seed), 100_000

    async def main() -> None:
        pacing, calls = paced(tpm=tpm), []

        async def call() -> None:
            async with pacing.deck:
                turn = await sent(pacing, 360)
            tokens = round(150 + 20 * 40 ** chance.random())
            calls.append((LoopClock().monotonic_s(), tokens))
            await asyncio.sleep(min(0.8, 0.05 * chance.paretovariate(1.2)))
            pacing.settle(turn, tokens)

        await asyncio.gather(*(call() for _ in range(1_000)))
        for first_s, _ in calls:
            assert sum(tokens for at_s, tokens in calls if first_s <= at_s < first_s + 60) <= tpm
        used = sum(tokens for _, tokens in calls[:-1]) / (calls[-1][0] - calls[0][0]) * 60 / tpm
        assert used >= 0.97

    in_virtual_time(main)


def test_a_pause_that_begins_while_a_call_waits_for_its_slot_holds_it_too() -> None:
    async def main() -> None:
        pacing = paced(rpm=6)
        await sent(pacing)
        start_s = LoopClock().monotonic_s()
        asyncio.get_running_loop().call_later(1, pacing.pause, 30)
        await sent(pacing)
        assert LoopClock().monotonic_s() - start_s >= 31

    in_virtual_time(main)


def test_a_pause_holds_everybody_even_without_a_limit() -> None:
    async def main() -> None:
        pacing = paced()
        start = LoopClock().monotonic_s()
        pacing.pause(30)
        await asyncio.gather(pacing.turn(1), pacing.turn(1))
        assert LoopClock().monotonic_s() - start >= 30

    in_virtual_time(main)


def test_a_stop_wakes_those_who_wait_for_their_turn() -> None:
    async def main() -> None:
        stop = Stop()
        pacing = paced(stop=stop)
        pacing.pause(10_000)
        start = LoopClock().monotonic_s()
        asyncio.get_running_loop().call_later(1, stop.request, RunEnd(ExitCode.INTERRUPTED))
        await asyncio.gather(*(pacing.turn(1) for _ in range(20)))
        assert LoopClock().monotonic_s() - start < 2

    in_virtual_time(main)


def test_only_calls_about_to_leave_are_on_deck() -> None:
    async def main() -> None:
        pacing, on_deck, most = paced(rpm=60), 0, 0

        async def call() -> None:
            nonlocal on_deck, most
            async with pacing.deck:
                on_deck += 1
                most = max(most, on_deck)
                await sent(pacing)
                on_deck -= 1

        await asyncio.gather(*(call() for _ in range(40)))
        assert most == 1

    in_virtual_time(main)


async def test_a_reservation_waits_for_calls_in_flight_and_is_refused_when_nothing_is() -> None:
    budgeting = Budgeting(Budget(limit=100))
    assert await budgeting.reserve(80)
    waiting = asyncio.create_task(budgeting.reserve(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    budgeting.settle(80, 30)
    assert await waiting
    budgeting.settle(60, 60)
    assert not await budgeting.reserve(11)


def test_a_call_that_left_late_holds_back_the_one_a_second_later() -> None:
    async def main() -> None:
        pacing = paced(rpm=60)
        first = await pacing.turn(1)
        assert first
        await asyncio.sleep(0.4)
        pacing.left(first)
        left_s = LoopClock().monotonic_s()
        await pacing.turn(1)
        assert LoopClock().monotonic_s() - left_s >= 1

    in_virtual_time(main)


async def test_calls_whose_time_has_come_meanwhile_leave_together_however_busy_the_loop_is() -> None:
    """Were each woken by the one before it, 200 calls would take 200 turns of a loop that each take 5 ms."""
    pacing = Pacing(rpm=60_000, tpm=None, concurrency=50, guard=None, clock=SystemClock(), stop=Stop())
    loop, turns_of_the_loop = asyncio.get_running_loop(), 0

    def be_busy() -> None:
        nonlocal turns_of_the_loop
        turns_of_the_loop += 1
        time.sleep(0.005)
        if not all_left.done():
            loop.call_soon(be_busy)

    all_left = asyncio.gather(*(pacing.turn(1) for _ in range(200)))
    be_busy()
    turns = [turn for turn in await all_left if turn]
    assert len(turns) == 200
    assert turns_of_the_loop < 150
    at_s = [turn.at_s for turn in turns]
    assert at_s == sorted(at_s)
    assert at_s[-1] - at_s[0] >= 200 / 1_000 - CATCH_UP_S - 0.01


def test_an_answer_to_a_call_from_before_a_refusal_ends_no_care() -> None:
    async def main() -> None:
        pacing, clock = paced(), LoopClock()
        before_s = clock.monotonic_s()
        await asyncio.sleep(1)
        pacing.pause(5)
        pacing.resume(before_s)
        assert pacing.gate.is_careful
        await asyncio.sleep(6)
        pacing.resume(clock.monotonic_s())
        assert not pacing.gate.is_careful

    in_virtual_time(main)


def test_a_limit_that_is_used_up_holds_calls_without_a_known_pace_too() -> None:
    async def main() -> None:
        pacing = paced()
        start_s = LoopClock().monotonic_s()
        pacing.hold(5)
        await pacing.turn(1)
        assert LoopClock().monotonic_s() - start_s >= 5

    in_virtual_time(main)


def test_after_a_pause_calls_leave_one_by_one_until_one_is_answered() -> None:
    async def main() -> None:
        pacing = paced()
        pacing.pause(2)
        start_s = LoopClock().monotonic_s()
        turns = await asyncio.gather(*(pacing.turn(1) for _ in range(4)))
        assert [round(turn.at_s - start_s) for turn in turns if turn] == [2, 3, 4, 5]
        pacing.resume(LoopClock().monotonic_s())
        assert await pacing.turn(1) is None

    in_virtual_time(main)


def test_after_a_refusal_few_calls_are_on_deck() -> None:
    async def main() -> None:
        pacing = paced()
        assert pacing.deck.size == 50
        pacing.pause(5)
        assert pacing.deck.size == 4
        pacing.resume(LoopClock().monotonic_s())
        assert pacing.deck.size == 50

    in_virtual_time(main)


async def _calls(pacing: Pacing, *, commit_s: float, call_s: float, seconds: float) -> tuple[int, int]:
    """(calls made in this time, the most at once) of workers that never lack work."""
    made = in_flight = most = 0

    async def work() -> None:
        nonlocal made, in_flight, most
        while True:
            async with pacing.entry, pacing.deck:
                began_s = LoopClock().monotonic_s()
                await asyncio.sleep(commit_s)
                pacing.row_committed(began_s)
                await pacing.place.take()
                in_flight += 1
                most = max(most, in_flight)
                await asyncio.sleep(call_s)
                in_flight -= 1
                made += 1
                pacing.leave_place()

    workers = [asyncio.create_task(work()) for _ in range(2 * pacing.place.size)]
    await asyncio.sleep(seconds)
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)
    return made, most


def test_places_are_in_use_while_rows_are_committed() -> None:
    async def main() -> None:
        pacing = paced()
        made, most = await _calls(pacing, commit_s=0.02, call_s=0.05, seconds=20)
        assert most == 50
        assert made >= 0.97 * 20 * 50 / 0.05

    in_virtual_time(main)


def test_models_that_share_the_calls_in_flight_have_no_call_ahead() -> None:
    async def main() -> None:
        pacing = paced()
        pacing.spare_others()
        await _calls(pacing, commit_s=0.02, call_s=0.05, seconds=20)
        assert pacing.entry.size == 50

    in_virtual_time(main)


def test_of_a_slow_model_no_row_is_committed_long_before_its_call() -> None:
    async def main() -> None:
        pacing = paced()
        await _calls(pacing, commit_s=0.005, call_s=5, seconds=100)
        assert pacing.entry.size <= 50 + 1

    in_virtual_time(main)
