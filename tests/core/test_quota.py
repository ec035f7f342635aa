"""The retry quota: what it takes, what it earns, and the bound that follows."""

import random
import sys
from statistics import mean

import pytest

from batchrouter.core.outcome import ErrorClass
from batchrouter.core.quota import EARNED, QUOTA_MOST, RETRY_COST, RetryQuota, retry_cost


def test_calls_that_never_arrived_cost_nothing() -> None:
    assert retry_cost(None) == retry_cost(ErrorClass.NOT_SENT) == 0
    assert retry_cost(ErrorClass.SERVER) == retry_cost(ErrorClass.OVERLOAD) == retry_cost(ErrorClass.LOST) == RETRY_COST


def test_successes_earn_up_to_the_bound() -> None:
    quota = RetryQuota(tokens=QUOTA_MOST - EARNED - 1)
    quota.succeeded()
    assert quota.tokens == QUOTA_MOST - 1
    quota.succeeded()
    assert quota.tokens == QUOTA_MOST
    assert quota.take(QUOTA_MOST)
    assert not quota.take(1)


def test_failed_probes_exhaust_it() -> None:
    quota = RetryQuota()
    for answered in (False, True, False, *[True] * 12, False, True):
        quota.probed(answered=answered)
        assert not quota.is_exhausted
    quota.probed(answered=False)
    assert quota.is_exhausted


def test_an_outage_does_not_exhaust_it() -> None:
    quota = RetryQuota()
    for _ in range(100):
        quota.probed(answered=False)
    assert not quota.is_exhausted


@pytest.mark.parametrize("failing_share", [0.0, 0.1, 0.15, 0.16, 0.17, 0.18, 0.2, 0.3, 0.5, 0.8, 1.0])
def test_two_thousand_records_cost_at_most_a_fifth_more_calls(failing_share: float) -> None:
    """The worst order for the gateway: retries as soon as the quota allows, probes until they are used up.

    So many probes in a row without an answer take longer than the gateway's patience.
    """
    made = []
    for seed in range(50):
        sys.stdout.write(f"seed {seed}\n")
        chance, quota = random.Random(seed), RetryQuota()
        untried, failed, calls, silent = 2_000, 0, 0, 0
        while (untried or failed) and not quota.is_exhausted and silent < 12:
            probing = False
            if failed and quota.take(RETRY_COST):
                failed -= 1
            elif untried:
                untried -= 1
            else:
                failed, probing = failed - 1, True
            calls += 1
            answered = chance.random() >= failing_share
            failed += not answered
            if probing:
                quota.probed(answered=answered)
                silent = 0 if answered else silent + 1
            if answered:
                quota.succeeded()
        made.append(calls / 2_000)
    sys.stdout.write(f"{failing_share:.0%} failing: {mean(made):.3f} calls a record, at most {max(made):.3f}\n")
    assert mean(made) <= 1.2
    assert max(made) <= 1.23  # lucky probes go on a little longer
