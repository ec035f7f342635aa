"""Money is exact: integers from decimals, one rounding an attempt."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.money import format_amount, micro_of, nano_of, nano_of_pico
from batchrouter.core.pricing import Prices, Usage, cost_nano, worst_case_nano

counts = st.integers(0, 10**7)
micros = st.integers(0, 10**9)


def test_cached_tokens_are_inside_the_input_and_cost_their_own_price() -> None:
    prices = Prices(
        input_micro=14_000_000, output_micro=56_000_000, cached_input_micro=7_000_000, cache_write_micro=14_000_000
    )
    usage = Usage(input_tokens=1000, output_tokens=100, cached_tokens=400, reasoning_tokens=50)
    # 600 × 14 + 400 × 7 + 100 × 56 per million tokens
    assert cost_nano(usage, prices) == nano_of(Decimal("0.0168"))


def test_a_price_per_request_is_added_once() -> None:
    prices = Prices(0, 0, 0, 0, request_nano=5)
    assert cost_nano(Usage(10, 10), prices) == 5


@pytest.mark.parametrize(("pico", "nano"), [(0, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2)])
def test_half_a_nano_rounds_up(pico: int, nano: int) -> None:
    assert nano_of_pico(pico) == nano


@given(counts, counts, counts, micros, micros, micros)
def test_the_cost_is_the_exact_sum_rounded_once(
    plain: int, cached: int, output: int, input_micro: int, cached_micro: int, output_micro: int
) -> None:
    prices = Prices(input_micro, output_micro, cached_micro, input_micro)
    exact = Fraction(plain * input_micro + cached * cached_micro + output * output_micro, 1000)
    assert abs(cost_nano(Usage(plain + cached, output, cached), prices) - exact) <= Fraction(1, 2)


@given(counts, counts, micros, micros, st.integers(1, 4))
def test_no_answer_within_its_bounds_costs_more_than_the_worst_case(
    most_in: int, most_out: int, input_micro: int, output_micro: int, choices: int
) -> None:
    prices = Prices(input_micro, output_micro, input_micro // 2, input_micro * 2)
    worst = worst_case_nano(most_in, most_out, choices, prices)
    for usage in (Usage(most_in, most_out * choices), Usage(most_in, 0, 0, most_in), Usage(most_in, 1, most_in)):
        if usage.output_tokens <= most_out * choices:
            assert cost_nano(usage, prices) <= worst


def test_prices_are_read_without_a_float_between() -> None:
    assert (micro_of(Decimal("0.1")), micro_of(Decimal("2.8999995")), nano_of(Decimal("0.0000000005"))) == (
        100_000,
        2_900_000,
        1,
    )


@pytest.mark.parametrize(
    ("nano", "currency", "text"),
    [
        (None, "INR", "unknown"),
        (0, "INR", "₹0.00"),
        (1_234_567_890_000, "INR", "₹1,234.57"),
        (4_200_000, "INR", "₹0.0042"),
        (1, "USD", "$0.000000001"),
        (-1_500_000_000, "INR", "-₹1.50"),
        (2_000_000_000, "CHF", "2.00 CHF"),
    ],
)
def test_amounts_are_shown_so_that_small_is_not_zero_and_unknown_is_said(
    nano: int | None, currency: str, text: str
) -> None:
    assert format_amount(nano, currency) == text
