"""Waiting for the budget: a reservation that does not fit waits until calls in flight are settled."""

from __future__ import annotations

import asyncio

from batchrouter.core.budget import Budget


class Budgeting:
    """The run's budget with a place to wait; amounts in nano-units."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._settled: asyncio.Event | None = None

    async def reserve(self, worst_case: int) -> bool:
        """Hold a worst case; False if it can never fit any more. It waits only while other calls hold something."""
        while not self._budget.fits(worst_case):
            if not self._budget.can_ever_fit(worst_case):
                return False
            self._settled = self._settled or asyncio.Event()
            await self._settled.wait()
        self._budget.reserve(worst_case)
        return True

    def settle(self, worst_case: int, cost: int) -> None:
        """Book what a call really cost."""
        self._budget.settle(worst_case, cost)
        if self._settled:
            self._settled.set()
            self._settled = None
