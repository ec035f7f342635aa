"""What goes wrong, how often, and when: a seeded schedule over the requests in the order of their arrival."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What can happen to a request. Unpaid: the first four; the others answer and are booked in the ledger."""

    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    RESET = "reset"
    GARBAGE = "garbage"
    EMPTY = "empty"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares, from 0 to 1, of the requests that meet each fault; together at most 1.

    ``server_error``: 500. ``overloaded``: 429 without any header that says when to come back. ``reset``: the connection
    is gone before a byte of the answer. ``garbage``: a page of HTML with status 200, as something in front of the
    models sends it. ``empty``: a paid answer without content. ``refusal``: a paid refusal. ``truncated``: a paid answer
    cut in half, ``finish_reason`` "length". ``slow``: ``slow_s`` seconds more than usual.
    """

    server_error: float = 0.0
    overloaded: float = 0.0
    reset: float = 0.0
    garbage: float = 0.0
    empty: float = 0.0
    refusal: float = 0.0
    truncated: float = 0.0
    slow: float = 0.0
    slow_s: float = 5.0

    def __post_init__(self) -> None:
        shares = [share for _, share in self.shares()]
        if not all(0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
            raise ValueError("the shares of faults are numbers from 0 to 1, and together at most 1")
        if not 0 <= self.slow_s <= 3600:
            raise ValueError("slow_s is a number of seconds from 0 to 3600")

    def shares(self) -> list[tuple[Fault, float]]:
        """Every fault with its share."""
        return [(fault, getattr(self, fault.value)) for fault in Fault]


class FaultSchedule:
    """Draws the fault of each request in turn, so that a request which is sent again can fare better."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._upper_bounds: list[tuple[float, Fault]] = []
        bound = 0.0
        for fault, share in faults.shares():
            if share:
                bound += share
                self._upper_bounds.append((bound, fault))

    def next(self) -> Fault | None:
        """The fault of the next request; None: all goes well."""
        if not self._upper_bounds:
            return None
        drawn = self._random.random()
        return next((fault for bound, fault in self._upper_bounds if drawn < bound), None)
