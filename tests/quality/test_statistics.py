"""Bounds that are promised to be exact are compared with sums of exact fractions."""

from fractions import Fraction
from math import comb

import pytest

from batchrouter.quality.statistics import binomial_up_to, sample_needed, upper_bound, wilson_interval


def exactly_up_to(hits: int, n: int, share: Fraction) -> Fraction:
    return sum((comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(hits + 1)), Fraction(0))


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 100), (5, 100), (1, 236), (50, 60), (59, 60), (3, 7)])
@pytest.mark.parametrize("share", [Fraction(1, 100), Fraction(1, 3), Fraction(99, 100)])
def test_the_binomial_sum_is_that_of_fractions(hits: int, n: int, share: Fraction) -> None:
    assert binomial_up_to(hits, n, float(share)) == pytest.approx(
        float(exactly_up_to(hits, n, share)), rel=1e-9, abs=1e-300
    )


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 100), (5, 100), (7, 30), (29, 30), (1, 2)])
def test_beyond_the_bound_what_was_seen_has_a_chance_below_one_in_twenty(hits: int, n: int) -> None:
    bound = Fraction(upper_bound(hits, n)).limit_denominator(10**9)
    nudge = Fraction(1, 10**6)
    assert exactly_up_to(hits, n, bound + nudge) < Fraction(1, 20) < exactly_up_to(hits, n, bound - nudge)


def test_known_bounds() -> None:
    assert f"{upper_bound(5, 100):.3f}" == "0.102"
    assert f"{upper_bound(0, 100):.4f}" == "0.0295"
    assert [sample_needed(0.02, hits) for hits in (0, 1, 2, 5)] == [149, 236, 313, 523]
    assert upper_bound(7, 7) == 1.0


@pytest.mark.parametrize("hits", [0, 1, 2, 5])
def test_one_record_fewer_would_not_do(hits: int) -> None:
    needed = sample_needed(0.02, hits)
    assert upper_bound(hits, needed) <= 0.02 < upper_bound(hits, needed - 1)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (95, 100), (100, 100)])
def test_wilson_solves_his_own_equation(hits: int, n: int) -> None:
    z = 1.959963984540054
    for end in wilson_interval(hits, n):
        assert (hits / n - end) ** 2 == pytest.approx(z * z * end * (1 - end) / n, abs=1e-12)
