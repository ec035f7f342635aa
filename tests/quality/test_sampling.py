"""A sample depends on the seed and the lines alone, is uniform, and of strata in proportion."""

import random
import sys
from collections import Counter

import pytest

from batchrouter.quality.sampling import allocate, draw


def rows(count: int) -> list[tuple[int, tuple[str, ...]]]:
    return [(line, ()) for line in range(1, count + 1)]


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    lines = rows(500)
    drawn = draw(lines, {(): 40}, seed=7)
    shuffled = lines[:]
    random.Random(1).shuffle(shuffled)
    assert draw(shuffled, {(): 40}, seed=7) == drawn == sorted(set(drawn))
    assert len(drawn) == 40
    assert draw(lines, {(): 40}, seed=8) != drawn


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    assert set(draw(rows(300), {(): 20}, seed=3)) < set(draw(rows(300), {(): 60}, seed=3))


def test_every_line_has_the_same_chance() -> None:
    counts = Counter(line for seed in range(2_000) for line in draw(rows(20), {(): 5}, seed))
    assert all(400 < counts[line] < 600 for line, _ in rows(20))  # 500 expected, five standard deviations are 97


def test_strata_are_drawn_in_proportion_and_each_at_least_once() -> None:
    assert allocate({("a",): 900, ("b",): 90, ("c",): 10, ("d",): 0}, 100) == {("a",): 90, ("b",): 9, ("c",): 1}
    assert allocate({("a",): 998, ("b",): 1, ("c",): 1}, 10) == {("a",): 8, ("b",): 1, ("c",): 1}
    assert allocate({("a",): 3, ("b",): 2}, 100) == {("a",): 3, ("b",): 2}
    assert sum(allocate({(str(n),): 5 for n in range(10)}, 3).values()) == 3


def test_no_allocation_asks_for_more_than_there_is() -> None:
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    for _ in range(500):
        counts = {(str(n),): chance.choice([0, 1, 2, 50, 1000]) for n in range(chance.randint(1, 12))}
        if not any(counts.values()):
            continue
        size = chance.randint(1, 300)
        drawn = allocate(counts, size)
        assert sum(drawn.values()) == min(size, sum(counts.values()))
        assert all(0 <= drawn[stratum] <= counts[stratum] for stratum in drawn)
        if size >= sum(count > 0 for count in counts.values()):
            assert all(drawn[stratum] >= 1 for stratum, count in counts.items() if count)


@pytest.mark.parametrize("seed", [0, -1, 2**70])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert len(draw(rows(10), {(): 3}, seed)) == 3
