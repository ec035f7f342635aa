"""Models whose limits are found to be one while their calls are under way, in virtual time."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest

from batchrouter.core.errors import ExitCode
from batchrouter.core.limits import Announced, Counted
from batchrouter.core.rate_search import RateSearch
from batchrouter.engine.account import Account
from batchrouter.engine.gate import Gate
from batchrouter.engine.limit_search import LimitSearch
from batchrouter.engine.pacing import Pacing
from batchrouter.engine.stopping import Stop
from batchrouter.ports import RunEnd
from tests.engine.test_pacing import LoopClock, in_virtual_time, paced

RPM = 600


class Counter:
    """A limit over any minute and over any second of it."""

    def __init__(self) -> None:
        self.accepted: list[float] = []
        self.refused = 0

    def takes(self, now_s: float) -> bool:
        last = self.accepted[-RPM:]
        fits = sum(at > now_s - 60 for at in last) < RPM and sum(at > now_s - 1 for at in last) < RPM / 60
        if fits:
            self.accepted.append(now_s)
        else:
            self.refused += 1
        return fits

    def told(self, now_s: float) -> Announced:
        left = RPM - sum(at > now_s - 60 for at in self.accepted[-RPM:])
        return Announced(rpm=RPM, tpm=1_000_000, requests=Counted(RPM, left, 60.0))


async def work(search: LimitSearch, pacing: Pacing, counter: Counter, calls: int) -> None:
    clock = LoopClock()

    async def call() -> None:
        async with pacing.entry:
            async with pacing.deck:
                turn = await pacing.turn(100)
            if turn:
                pacing.left(turn)
            sent_s = clock.monotonic_s()
            search.sent(sent_s)
            told = counter.told(sent_s) if counter.takes(sent_s) else None
            await asyncio.sleep(0.2)
        pacing.settle(turn, 90)
        if told:
            search.answered(sent_s, told)
        else:
            search.refused(sent_s, 0.0)

    await asyncio.gather(*(call() for _ in range(calls)))


def models(*names: str) -> tuple[Account, dict[str, tuple[LimitSearch, Pacing]]]:
    account, members = Account(LoopClock()), {}
    for name in names:
        pacing = Pacing(rpm=None, tpm=None, concurrency=4, guard=None, clock=LoopClock(), stop=Stop())
        search = LimitSearch(
            pacing,
            LoopClock(),
            rate=RateSearch(),
            concurrency=None,
            tokens_are_configured=False,
            model=name,
            account=account,
        )
        members[name] = search, pacing
    return account, members


def test_one_limit_is_kept_to_together() -> None:
    async def main() -> None:
        account, members = models("a", "b")
        counter = Counter()
        first_s = LoopClock().monotonic_s()
        await asyncio.gather(*(work(search, pacing, counter, 500) for search, pacing in members.values()))
        assert account.one_limit == [["a", "b"]]
        assert counter.refused <= 20
        assert len(counter.accepted) / (LoopClock().monotonic_s() - first_s) >= 0.85 * RPM / 60
        assert all(search.found["rpm"] == RPM for search, _ in members.values())
        gates = {pacing.gate for _, pacing in members.values()}
        assert len(gates) == 1

    in_virtual_time(main)


def test_each_of_two_equal_limits_is_used() -> None:
    async def main() -> None:
        account, members = models("a", "b")
        first_s = LoopClock().monotonic_s()
        counters = [Counter(), Counter()]
        works = zip(members.values(), counters, strict=True)
        await asyncio.gather(*(work(search, pacing, counter, 600) for (search, pacing), counter in works))
        assert account.one_limit == []
        assert sum(counter.refused for counter in counters) <= 24
        accepted = sum(len(counter.accepted) for counter in counters)
        assert accepted / (LoopClock().monotonic_s() - first_s) >= 0.85 * 2 * RPM / 60

    in_virtual_time(main)


@pytest.mark.parametrize("seed", range(5))
def test_gates_change_under_waiting_calls_and_nothing_is_lost(seed: int) -> None:
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)

    async def main() -> None:
        pacings = [paced(rpm=600, tpm=100_000) for _ in range(3)]
        gates = {pacing.gate for pacing in pacings}
        sent = 0

        async def call(pacing: Pacing) -> None:
            nonlocal sent
            async with pacing.entry, pacing.deck:
                turn = await pacing.turn(100)
            assert turn
            pacing.left(turn)
            sent += 1
            await asyncio.sleep(chance.random() * 90)
            pacing.settle(turn, chance.choice((0, 50, 300)))

        async def change() -> None:
            while True:
                await asyncio.sleep(chance.random() * 3)
                some = chance.sample(pacings, chance.choice((1, 2, 3)))
                gate = Gate.in_place_of([pacing.gate for pacing in some])
                gates.add(gate)
                for pacing in some:
                    pacing.go_through(gate)

        changing = asyncio.create_task(change())
        async with asyncio.timeout(600):
            await asyncio.gather(*(call(pacing) for pacing in pacings for _ in range(200)))
        changing.cancel()
        assert sent == 600
        for pacing in pacings:
            assert not pacing.entry.locked()
            assert not pacing.deck.locked()
        assert len(gates) > 5
        for gate in gates:
            assert not gate._has_front
            assert gate.window
            assert gate.window.in_flight == 0
            assert gate.window.total == sum(turn.tokens for turn in gate.window.held)

    in_virtual_time(main)


def test_a_pause_goes_along_and_a_stop_wakes_who_waits_at_either_gate() -> None:
    async def main() -> None:
        stop = Stop()
        one, other = paced(rpm=60, stop=stop), paced(rpm=60, stop=stop)
        one.pause(10_000)
        waiting = [asyncio.create_task(one.turn(1)) for _ in range(5)]
        await asyncio.sleep(1)
        gate = Gate.in_place_of([one.gate, other.gate])
        one.go_through(gate)
        other.go_through(gate)
        assert other.is_paused
        waiting += [asyncio.create_task(pacing.turn(1)) for pacing in (one, other)]
        await asyncio.sleep(1)
        start_s = LoopClock().monotonic_s()
        stop.request(RunEnd(ExitCode.INTERRUPTED))
        assert await asyncio.gather(*waiting) == [None] * 7
        assert LoopClock().monotonic_s() - start_s < 1
        assert not gate._has_front

    in_virtual_time(main)


def test_models_that_come_together_go_on_with_what_was_found_of_them() -> None:
    async def main() -> None:
        clock, account, searches = LoopClock(), Account(LoopClock()), []
        for name, rpm in (("a", 300), ("b", 600)):
            pacing = Pacing(rpm=rpm, tpm=None, concurrency=4, guard=None, clock=clock, stop=Stop())
            rate = RateSearch.from_found(rpm, clock.monotonic_s())
            search = LimitSearch(
                pacing,
                clock,
                rate=rate,
                concurrency=None,
                tokens_are_configured=False,
                model=name,
                account=account,
                found={"rpm": rpm},
            )
            assert search.found == {"rpm": rpm}  # not asked yet
            searches.append((search, pacing))
        told = Announced(rpm=1_200, requests=Counted(1_200, 1_199, 60.0))
        for search, _ in searches:
            search.answered(clock.monotonic_s(), told)
        (one, pacing), (other, same) = searches
        assert pacing.gate is same.gate
        assert pacing.gate.grid is not None
        assert pacing.gate.grid.rpm == pytest.approx(270, rel=0.05)
        assert one.found == other.found == {"rpm": 300}

    in_virtual_time(main)
