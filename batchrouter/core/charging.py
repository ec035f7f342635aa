"""What an ended attempt is charged with, and how that is known. Unknown is None, never 0."""

from __future__ import annotations

from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.pricing import CostSource, Prices, cost_nano

_ANSWERED_200 = frozenset({None, ErrorClass.UNUSABLE, ErrorClass.EMPTY})


def charge(outcome: Outcome, prices: Prices | None, reserved_nano: int | None) -> tuple[int | None, CostSource]:
    """Nano-units and their source: the gateway's word where it is trusted, else the price table.

    A lost answer, and one without a usable token count, is charged at the worst case that was reserved.
    """
    if outcome.state == "not_sent":
        return 0, "none"
    if outcome.reported_cost_nano is not None:
        return outcome.reported_cost_nano, "gateway"
    if outcome.usage is not None:
        return (None, "none") if prices is None else (cost_nano(outcome.usage, prices), "table")
    if outcome.state == "unknown" or outcome.error in _ANSWERED_200:
        return reserved_nano, "none" if reserved_nano is None else "reserved"
    return 0, "none"
