"""What a sample says of the whole: intervals and bounds of a share, exact where that is promised. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95
_PRECISION = 1e-12


def wilson_interval(hits: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval of Wilson (1927) for a share of which ``hits`` of ``n`` were seen; n > 0."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def upper_bound(hits: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided upper bound of Clopper and Pearson (1934): larger shares are refuted; n > 0."""
    if hits >= n:
        return 1.0
    low, high = hits / n, 1.0
    while high - low > _PRECISION:
        share = (low + high) / 2
        if binomial_up_to(hits, n, share) > 1 - confidence:
            low = share
        else:
            high = share
    return high


def sample_needed(share: float, hits: int = 0, confidence: float = CONFIDENCE) -> int:
    """How many must be looked at, ``hits`` of them wrong, for the upper bound to be no more than ``share``; 0 < share < 1."""
    low, high = hits, hits + 1
    while binomial_up_to(hits, high, share) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_up_to(hits, middle, share) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def binomial_up_to(hits: int, n: int, share: float) -> float:
    """The probability of at most so many hits in n tries; 0 < share < 1 or hits < n."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0 if hits < n else 1.0
    log_hit, log_miss = math.log(share), math.log1p(-share)
    return min(
        1.0,
        math.fsum(
            math.exp(
                math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_hit + (n - k) * log_miss
            )
            for k in range(hits + 1)
        ),
    )
