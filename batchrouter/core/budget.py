"""The budget: a worst case is reserved before each call, and settled with what the call really cost after it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Budget:
    """All amounts in nano-units. ``limit`` None: no budget. ``spent`` includes lost calls at their worst case."""

    limit: int | None = None
    spent: int = 0
    reserved: int = 0

    def fits(self, worst_case: int) -> bool:
        """Whether a call fits beside all that is spent and in flight."""
        return self.limit is None or self.spent + self.reserved + worst_case <= self.limit

    def can_ever_fit(self, worst_case: int) -> bool:
        """Whether it would fit if everything in flight cost nothing."""
        return self.limit is None or self.spent + worst_case <= self.limit

    def reserve(self, worst_case: int) -> None:
        """Hold a call's worst case."""
        self.reserved += worst_case

    def settle(self, worst_case: int, cost: int) -> None:
        """Release the reservation of an ended call and book its cost."""
        self.reserved -= worst_case
        self.spent += cost
