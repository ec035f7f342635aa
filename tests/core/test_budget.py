"""Reserve-before-call never overshoots."""

import random

import pytest

from batchrouter.core.budget import Budget


@pytest.mark.parametrize("seed", range(50))
def test_spending_never_exceeds_the_limit_when_calls_cost_at_most_their_worst_case(seed: int) -> None:
    chance, budget, flying = random.Random(seed), Budget(limit=10_000), []
    for _ in range(1_000):
        worst = chance.randint(1, 300)
        if budget.fits(worst):
            budget.reserve(worst)
            flying.append(worst)
        if flying and chance.random() < 0.6:
            held = flying.pop(chance.randrange(len(flying)))
            budget.settle(held, chance.randint(0, held))
        assert budget.spent + budget.reserved <= 10_000
    assert budget.spent > 9_000


def test_without_a_limit_everything_fits() -> None:
    assert Budget().fits(10**18)
    assert Budget().can_ever_fit(10**18)


def test_what_is_reserved_may_come_free_and_what_is_spent_may_not() -> None:
    budget = Budget(limit=100, spent=50)
    budget.reserve(40)
    assert (budget.fits(20), budget.can_ever_fit(20), budget.can_ever_fit(51)) == (False, True, False)
