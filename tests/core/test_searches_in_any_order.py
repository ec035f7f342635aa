"""Whatever comes in whatever order, the searches go on: calls that nobody was told of, equal times, clocks that stand."""

from __future__ import annotations

import random
import sys

import pytest

from batchrouter.core.concurrency_search import ConcurrencySearch
from batchrouter.core.rate_search import RateSearch

STEPS_S = (0.0, 0.0, 0.0, 0.001, 0.01, 0.1, 1.0, 30.0, 100.0)


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 500, 100)], ids=str)
def test_no_order_of_events_breaks_a_search(seeds: range) -> None:
    for seed in seeds:
        sys.stdout.write(f"seed {seed}\n")
        chance = random.Random(seed)
        rate = RateSearch.from_found(chance.choice([1, 3, 600, 60_000]), 0.0) if seed % 2 else RateSearch()
        calls = ConcurrencySearch(chance.choice([1, 2, 50, 1_000]))
        live(rate, calls, chance)


def live(rate: RateSearch, calls: ConcurrencySearch, chance: random.Random) -> None:
    now_s, in_flight, refuses = 0.0, list[float](), chance.choice([0.0, 0.1, 0.5, 1.0])
    for _ in range(300):
        now_s += chance.choice(STEPS_S)
        if chance.random() < 0.5:
            in_flight.append(now_s)
            if chance.random() < 0.95:  # the others were sent by somebody else
                rate.sent(now_s)
                calls.sent(now_s)
        elif in_flight:
            sent_s = in_flight.pop(chance.randrange(len(in_flight)))
            if chance.random() < refuses:
                rate.refused(sent_s, now_s, chance.choice([0.0, 0.0, 5.0, 100.0]))
                calls.choked(sent_s, now_s)
            else:
                rate.answered(sent_s, now_s)
                calls.answered(sent_s, now_s, is_full=chance.random() < 0.5)
        assert rate.rpm is None or 1 <= rate.rpm < 1e9
        assert rate.found_rpm is None or rate.found_rpm >= 1
        assert 1 <= calls.size <= calls.most
