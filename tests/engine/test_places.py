"""Places: who came first is first, and a place is never lost, whoever gives up waiting for it."""

from __future__ import annotations

import asyncio

from batchrouter.engine.places import Places


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Visitor:
    """One that goes in, and stays until it may leave."""

    def __init__(self, places: Places) -> None:
        self.is_in = False
        self.may_leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(places))

    async def _visit(self, places: Places) -> None:
        async with places:
            self.is_in = True
            await self.may_leave.wait()
        self.is_in = False


async def test_who_waits_first_is_in_first() -> None:
    places = Places(1)
    first, second, third = Visitor(places), Visitor(places), Visitor(places)
    await _turns()
    assert (first.is_in, second.is_in, third.is_in) == (True, False, False)
    assert places.locked()
    first.may_leave.set()
    await _turns()
    assert (first.is_in, second.is_in, third.is_in) == (False, True, False)
    for visitor in (second, third):
        visitor.may_leave.set()
    await asyncio.gather(first.task, second.task, third.task)
    assert not places.locked()


async def test_who_gives_up_waiting_takes_no_place_along() -> None:
    places = Places(1)
    within, waiting = Visitor(places), Visitor(places)
    await _turns()
    within.may_leave.set()
    waiting.task.cancel()  # the place becomes free before it knows
    await _turns()
    within.task.result()
    assert not waiting.is_in
    assert not places.locked()


async def test_a_place_that_was_given_to_one_that_gives_up_is_given_on() -> None:
    places = Places(1)
    within, waiting, next_one = Visitor(places), Visitor(places), Visitor(places)
    await _turns()
    within.may_leave.set()
    await asyncio.sleep(0)
    waiting.task.cancel()
    await _turns()
    assert next_one.is_in
    next_one.may_leave.set()
    await next_one.task


async def test_places_taken_away_are_given_to_nobody_and_new_ones_at_once() -> None:
    places = Places(2)
    visitors = [Visitor(places) for _ in range(4)]
    await _turns()
    places.resize(1)
    visitors[0].may_leave.set()
    await _turns()
    assert [visitor.is_in for visitor in visitors] == [False, True, False, False]
    places.resize(3)
    await _turns()
    assert [visitor.is_in for visitor in visitors] == [False, True, True, True]
    for visitor in visitors:
        visitor.may_leave.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))
