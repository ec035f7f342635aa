"""Drawing a uniform sample without replacement that depends on the seed and the lines alone. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from hashlib import blake2b

Stratum = tuple[str, ...]


def allocate(counts: Mapping[Stratum, int], size: int) -> dict[Stratum, int]:
    """How many to draw of each stratum: in proportion, by largest remainders, at least one of each if ``size`` allows."""
    total = sum(counts.values())
    size = min(size, total)
    strata = sorted(stratum for stratum, count in counts.items() if count)
    least = 1 if size >= len(strata) else 0
    exact = {stratum: size * counts[stratum] / total for stratum in strata}
    drawn = {stratum: max(least, int(exact[stratum])) for stratum in strata}
    by_remainder = sorted(strata, key=lambda stratum: (drawn[stratum] - exact[stratum], stratum))
    while (left := size - sum(drawn.values())) != 0:
        step = 1 if left > 0 else -1
        order = by_remainder if step > 0 else reversed(by_remainder)
        stratum = next(one for one in order if least <= drawn[one] + step <= counts[one])
        drawn[stratum] += step
        by_remainder.sort(key=lambda one: (drawn[one] - exact[one], one))
    return drawn


def draw(rows: Iterable[tuple[int, Stratum]], allocation: Mapping[Stratum, int], seed: int) -> list[int]:
    """The lines that are drawn, in order; in memory are only those drawn so far.

    Each line has a number that only the seed and the line decide; of each stratum those with the least are drawn.
    """
    kept: dict[Stratum, list[tuple[int, int]]] = {stratum: [] for stratum in allocation}
    for line, stratum in rows:
        heap, most = kept[stratum], allocation[stratum]
        entry = (-_number(seed, line), line)
        if len(heap) < most:
            heapq.heappush(heap, entry)
        elif most and entry > heap[0]:
            heapq.heapreplace(heap, entry)
    return sorted(line for heap in kept.values() for _, line in heap)


def _number(seed: int, line: int) -> int:
    return int.from_bytes(blake2b(f"{seed} {line}".encode(), digest_size=8).digest())
