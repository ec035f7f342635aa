"""Limits found while calls are made, in virtual time: what a gateway says, what it refuses, and how many at once."""

from __future__ import annotations

import asyncio

from batchrouter.core.concurrency_search import ConcurrencySearch
from batchrouter.core.limits import Announced
from batchrouter.core.rate_search import RateSearch
from batchrouter.engine.limit_search import LimitSearch
from batchrouter.engine.pacing import Pacing
from batchrouter.engine.stopping import Stop
from tests.engine.test_pacing import LoopClock, in_virtual_time


async def leave(pacing: Pacing, tokens: int = 1) -> None:
    turn = await pacing.turn(tokens)
    if turn:
        pacing.left(turn)


def searching(most: int = 50) -> tuple[Pacing, LimitSearch]:
    concurrency = ConcurrencySearch(most)
    pacing = Pacing(rpm=None, tpm=None, concurrency=concurrency.size, guard=None, clock=LoopClock(), stop=Stop())
    search = LimitSearch(pacing, LoopClock(), rate=RateSearch(), concurrency=concurrency, tokens_are_configured=False)
    return pacing, search


def test_an_unknown_limit_is_met_slowly_and_the_pace_is_kept_to_it() -> None:
    async def main() -> None:
        pacing, search = searching()
        clock, sent = LoopClock(), list[float]()

        async def call() -> None:
            async with pacing.entry:
                await leave(pacing)
                sent.append(clock.monotonic_s())
                sent_s = sent[-1]
                search.sent(sent_s)
                is_too_much = sum(at > sent_s - 1 for at in sent) > 40
                await asyncio.sleep(0.1)
                if not is_too_much:
                    search.answered(sent_s, None)
                    pacing.resume(LoopClock().monotonic_s())
                elif search.refused(sent_s, 0.0):
                    pacing.pause(1.0)

        await asyncio.gather(*(call() for _ in range(2_000)))
        assert sum(at == sent[0] for at in sent) == 4
        last_s = sent[-1] - 10
        assert 300 <= sum(at > last_s for at in sent) <= 440
        assert search.found["rpm"] in range(2_200, 2_700)

    in_virtual_time(main)


def test_what_a_gateway_announces_is_kept_to_from_its_first_answer_on() -> None:
    async def main() -> None:
        pacing, search = searching()
        search.answered(0.0, Announced(rpm=600, tpm=50_000))
        sent = []
        for _ in range(20):
            await leave(pacing)
            sent.append(LoopClock().monotonic_s())
        assert sent[-1] - sent[0] >= 18 * 0.1
        assert search.found == {"rpm": 600, "tpm": 50_000}

    in_virtual_time(main)


def test_tokens_that_were_configured_are_not_overruled() -> None:
    async def main() -> None:
        pacing = Pacing(rpm=60, tpm=1_000, concurrency=5, guard=None, clock=LoopClock(), stop=Stop())
        search = LimitSearch(pacing, LoopClock(), rate=None, concurrency=None, tokens_are_configured=True)
        search.answered(0.0, Announced(rpm=6_000, tpm=1_000_000))
        assert search.refused(0.0, 0.0)
        assert search.found == {}
        assert not search.is_of_rate
        first_s = LoopClock().monotonic_s()
        await leave(pacing, 900)
        await leave(pacing, 900)
        assert LoopClock().monotonic_s() - first_s >= 60

    in_virtual_time(main)


def test_a_choking_gateway_gets_fewer_calls_at_once() -> None:
    async def main() -> None:
        pacing, search = searching()
        sent = [LoopClock().monotonic_s() + n for n in range(6)]
        for sent_s in sent:
            search.sent(sent_s)
        for sent_s in sent:
            search.choked(sent_s)
        assert pacing.place.size < 4

    in_virtual_time(main)


def test_what_an_earlier_start_found_is_kept_to_and_told_again_once_it_is_answered() -> None:
    async def main() -> None:
        rate = RateSearch.from_found(1_200, LoopClock().monotonic_s())
        concurrency = ConcurrencySearch.from_found(20, 50)
        pacing = Pacing(
            rpm=rate.rpm, tpm=9_000, concurrency=concurrency.size, guard=None, clock=LoopClock(), stop=Stop()
        )
        search = LimitSearch(pacing, LoopClock(), rate=rate, concurrency=concurrency, tokens_are_configured=False)
        assert search.found == {}
        sent = []
        for _ in range(18):
            await leave(pacing)
            sent.append(LoopClock().monotonic_s())
        assert sent[-1] - sent[0] >= 15 * 60 / 1_080
        search.answered(sent[0], None)
        assert search.found == {"rpm": 1_200, "concurrency": 20}

    in_virtual_time(main)
