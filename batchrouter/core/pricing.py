"""What a call costs: token counts times prices, exact in integers; and the worst that it can cost, before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from batchrouter.core.money import nano_of_pico

CostSource = Literal["gateway", "table", "reserved", "none"]


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts of one call as the gateway reported them.

    ``input_tokens`` includes ``cached_tokens``; ``output_tokens`` includes ``reasoning_tokens``.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of one model: micro-units per million tokens, and nano-units per call."""

    input_micro: int
    output_micro: int
    cached_input_micro: int
    cache_write_micro: int
    request_nano: int = 0


def cost_nano(usage: Usage, prices: Prices) -> int:
    """The cost of one call in nano-units, rounded half up once."""
    plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    pico = (
        plain * prices.input_micro
        + usage.cached_tokens * prices.cached_input_micro
        + usage.cache_write_tokens * prices.cache_write_micro
        + usage.output_tokens * prices.output_micro
    )
    return nano_of_pico(pico) + prices.request_nano


def worst_case_nano(input_tokens_most: int, output_tokens_most: int, choices: int, prices: Prices) -> int:
    """The most that one call can cost: every input token at its dearest price, every choice at the output cap."""
    dearest_input = max(prices.input_micro, prices.cached_input_micro, prices.cache_write_micro)
    pico = input_tokens_most * dearest_input + output_tokens_most * choices * prices.output_micro
    return nano_of_pico(pico) + prices.request_nano
