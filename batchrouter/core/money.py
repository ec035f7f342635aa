"""Money as integers: nano-units of the currency (10⁻⁹), and micro-units for prices per million tokens.

A price of 14.0 per million tokens is 14_000_000 micro-units; tokens × price is then in pico-units (10⁻¹²) without any
rounding, and one rounding, half up, makes nano-units of an attempt's whole cost.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

NANO = 1_000_000_000
MICRO = 1_000_000
PICO_PER_NANO = 1_000
NANO_MOST = 10**17
"""A hundred million of any currency: more than one call costs, and few enough digits for a row and for sums of them."""


def nano_of(amount: Decimal) -> int:
    """An amount of the currency in nano-units, rounded half up."""
    return int((amount * NANO).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def micro_of(price_per_million: Decimal) -> int:
    """A price per million tokens in micro-units, rounded half up."""
    return int((price_per_million * MICRO).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def nano_of_pico(pico: int) -> int:
    """Pico-units (never negative) of one call to nano-units, rounded half up, and at most ``NANO_MOST``."""
    return min((pico + PICO_PER_NANO // 2) // PICO_PER_NANO, NANO_MOST)


def format_amount(nano: int | None, currency: str) -> str:
    """An amount for people: two decimals, more where it is small; ``unknown`` for None.

    >>> format_amount(1_234_500_000, "INR"), format_amount(4_200_000, "INR"), format_amount(None, "INR")
    ('₹1.23', '₹0.0042', 'unknown')
    """
    if nano is None:
        return "unknown"
    sign = "-" if nano < 0 else ""
    amount = Decimal(abs(nano)) / NANO
    decimals = 2 if amount >= 1 or amount == 0 else 4
    if 0 < amount < Decimal("0.00005"):
        decimals = 9
    symbol = {"INR": "₹", "USD": "$", "EUR": "€", "GBP": "£"}.get(currency)
    number = f"{amount:,.{decimals}f}"
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{number} {currency}"
