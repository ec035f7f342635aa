"""Finding how many calls in flight are worth while: more of them as long as more answers come, fewer when a gateway chokes.

By Little's law the calls in flight divided by their mean latency are the answers a second, so latencies tell whether a
step upwards brought anything. Which failures are those of a gateway that has too much to do, and which come however few
calls are in flight, the log of calls tells (``core.refusals``). All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from batchrouter.core.refusals import RefusalLog

FIRST = 4
UNQUESTIONED = 32
"""Up to so many calls in flight each step doubles; beyond, a step has to bring more answers."""
STEP = 1.5
GAIN_LEAST = 1.15
ROUNDS = 2
"""So many answers for each call in flight are looked at before the next step."""
ROUNDS_AT_REST = 16
BELOW_LIMIT, CHOKED = 0.9, 0.7
"""What is left of the calls in flight where a few of them choke the gateway, and where it fails all of a sudden."""


@dataclass(slots=True)
class ConcurrencySearch:
    """How many calls of one model may be in flight, at most ``most``."""

    most: int
    size: int = FIRST
    _best_size: int = 0
    _best_rate: float = 0.0
    _rounds: int = ROUNDS
    _since_s: float = 0.0
    _answers: int = 0
    _full: int = 0
    _latency_s: float = 0.0
    _log: RefusalLog = field(default_factory=RefusalLog)
    _limit: float = math.inf
    _cut_at_s: float = -math.inf

    def __post_init__(self) -> None:
        self.size = min(self.size, self.most)
        self._log.paced(self.size, -math.inf)

    @classmethod
    def from_found(cls, found: int, most: int) -> ConcurrencySearch:
        """Begin with as many as an earlier search found worth while."""
        search = cls(most, found)
        search._best_size, search._rounds = search.size, ROUNDS_AT_REST
        return search

    @property
    def found(self) -> int | None:
        """The calls in flight that are worth while; None: more may be."""
        return self.size if self._rounds == ROUNDS_AT_REST else None

    def sent(self, at_s: float) -> None:
        """A call leaves."""
        self._log.sent(at_s)

    def answered(self, sent_s: float, now_s: float, *, is_full: bool) -> None:
        """A call that was sent then was answered; ``is_full``: there was work for more calls than may be in flight."""
        if sent_s < self._since_s:
            return
        self._answers += 1
        self._full += is_full
        self._latency_s += now_s - sent_s
        if self._answers >= self.size * (1 if self.size < UNQUESTIONED else self._rounds):
            self._look_back(now_s)

    def choked(self, sent_s: float, now_s: float) -> None:
        """A call that was sent then came to nothing, maybe because the gateway has too much to do."""
        if not self._log.refused(sent_s) or sent_s < self._cut_at_s:
            return
        if self._log.surge(sent_s):
            self._cut(self.size * CHOKED, now_s)
            self._log.begin_anew(now_s)
        elif limit := self._log.likely_limit(self._cut_at_s, min(self._limit, self.size), sent_s):
            self._limit = max(1.0, limit)
            self._cut(limit * BELOW_LIMIT, now_s)

    def _cut(self, size: float, now_s: float) -> None:
        self._cut_at_s = now_s
        self._begin(max(1, int(size)), now_s)
        self._best_size, self._best_rate, self._rounds = self.size, 0.0, ROUNDS_AT_REST

    def _look_back(self, now_s: float) -> None:
        rate = self.size * self._answers / max(self._latency_s, 1e-9)
        if self._full * 2 < self._answers:  # something else holds the calls back
            self._begin(self.size, now_s)
        elif self.size < UNQUESTIONED and self._rounds == ROUNDS:
            self._begin(min(self.most, self.size * 2), now_s)
        elif self.size <= self._best_size or rate >= self._best_rate * GAIN_LEAST:
            self._best_size, self._best_rate, self._rounds = self.size, rate, ROUNDS
            self._begin(min(self.most, max(self.size + 1, int(self.size * STEP))), now_s)
        else:
            self._rounds = ROUNDS_AT_REST
            self._begin(self._best_size, now_s)

    def _begin(self, size: int, now_s: float) -> None:
        self.size, self._since_s = size, now_s
        if size > self._limit:
            self._limit = math.inf
        self._log.paced(size, now_s)
        self._answers, self._full, self._latency_s = 0, 0, 0.0
