"""What a simulated model is like: how long it takes, how much it allows, how it counts tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchrouter.demo.draw import Draw

SLOWEST_SHARE = 0.999


@dataclass(frozen=True, slots=True)
class DemoModel:
    """One model that the gateway serves.

    ``latency_ms`` is a mean (0: answers at once); ``rpm`` and ``tpm`` hold over any 60 seconds (None: no limit, and no
    headers about it); ``cached_share`` of every prompt's tokens counts as cached; ``reasoning_tokens`` are spent on
    every choice before its text, inside the output cap.
    """

    name: str
    latency_ms: float = 0.0
    rpm: float | None = None
    tpm: float | None = None
    cached_share: float = 0.0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        limits_fit = all(limit is None or limit >= 1 for limit in (self.rpm, self.tpm))
        if not (self.latency_ms >= 0 and limits_fit and 0 <= self.cached_share <= 1 and self.reasoning_tokens >= 0):
            raise ValueError(f"{self} is no model: limits from 1, a share from 0 to 1, nothing below 0")

    def latency_s(self, draw: Draw) -> float:
        """Seconds for one answer: half of the mean is fixed, the rest has a long tail, at most four times the mean."""
        if not self.latency_ms:
            return 0.0
        return self.latency_ms / 2000 * (1 - math.log(1 - SLOWEST_SHARE * draw.share()))
