"""The cost that a gateway itself reports, in its own currency, exact in decimals. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import msgspec

from batchrouter.core.money import nano_of

_AMOUNT_MOST = Decimal(10**6)


class _Usage(msgspec.Struct):
    cost: msgspec.Raw = msgspec.Raw(b"")


class _Body(msgspec.Struct):
    usage: _Usage | None = None


def reported_cost_nano(headers: Mapping[str, str], body: bytes, rate: Decimal) -> int | None:
    """Nano-units of the run's currency; ``rate`` is its units for one of the gateway's. None: nothing was reported.

    OpenRouter puts it into ``usage.cost``, LiteLLM into the header ``x-litellm-response-cost`` ("None" when unknown).
    """
    amount = _decimal(headers.get("x-litellm-response-cost", ""))
    if amount is None:
        amount = _decimal(_cost_in(body))
    return None if amount is None else nano_of(amount * rate)


def _cost_in(body: bytes) -> str:
    try:
        usage = msgspec.json.decode(body, type=_Body).usage
    except (msgspec.DecodeError, RecursionError):
        return ""
    return "" if usage is None else bytes(usage.cost).decode("ascii", "replace")


def _decimal(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= _AMOUNT_MOST else None
