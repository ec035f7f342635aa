"""Judging the gateway by what it answers: outages, answers of no use, and requests that it refuses one and all.

Each class is a small state machine over outcomes; the clock's reading (seconds, monotonic) is an argument.
"""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass, field

from batchrouter.core.outcome import ErrorClass

OUTAGE_AFTER_FAILURES = 20
SUSPECT_RECORDS = 3
IDLE_S = 120.0
"""Longer than any retry waits: when the next call leaves later than that after a failure, nothing was asked meanwhile."""
PROBE_FIRST_S = 5.0
PROBE_MOST_S = 300.0
UNUSABLE_WINDOW = 50
UNUSABLE_SHARE_MOST = 0.2
ALIKE_REFUSALS = 20
_NUMBERED = re.compile(r"\w*\d[\w-]*")
"""Words with a digit, such as the id of a request, differ in refusals that are alike."""
_SAYS_NOTHING = frozenset({ErrorClass.OVERLOAD, ErrorClass.SERVER, ErrorClass.TRANSIENT})


@dataclass(slots=True)
class OutageBreaker:
    """Opens after so many calls in a row without an answer; then lets one probe through at growing intervals."""

    failures: int = 0
    failing_since_s: float | None = None
    failed_last_s: float = 0.0
    first_sent_s: float = 0.0
    probe_at_s: float = 0.0
    probes: int = 0
    lines: set[int] = field(default_factory=set)

    @property
    def is_calm(self) -> bool:
        """True when nothing has gone wrong since the last answer."""
        return self.failing_since_s is None

    @property
    def is_suspected(self) -> bool:
        """True when several records in a row got no answer: then it is not the fault of any one of them."""
        return len(self.lines) >= SUSPECT_RECORDS

    @property
    def is_open(self) -> bool:
        """True while only probes may be sent."""
        return self.failures >= OUTAGE_AFTER_FAILURES

    def answered(self, sent_s: float) -> bool:
        """The gateway answered a call of this time, be it with an error of the request's own; whether that is news.

        An answer to a call from before those that failed says nothing about now.
        """
        if self.failing_since_s is not None and sent_s < self.first_sent_s:
            return False
        if self.failing_since_s is not None:
            self.failures, self.failing_since_s, self.probes = 0, None, 0
            self.lines.clear()
        return True

    def failed(self, now_s: float, line: int, *, sent_s: float, paused_until_s: float = -math.inf) -> None:
        """A call of this time for the record of this line came back without an answer."""
        self.refused(now_s, sent_s=sent_s, paused_until_s=paused_until_s)
        if not self.is_suspected:
            self.lines.add(line)
        self.failures += 1
        if self.failures == OUTAGE_AFTER_FAILURES:
            self.probe_at_s = now_s + PROBE_FIRST_S

    def refused(self, now_s: float, *, sent_s: float, paused_until_s: float = -math.inf) -> None:
        """The gateway said "later": no outage, but no answer either, so its patience runs; in a pause that it asked for too."""
        if self.failing_since_s is None:
            self.failing_since_s, self.first_sent_s = now_s, sent_s
        elif not self.is_open:
            idle_s = sent_s - max(self.failed_last_s, paused_until_s)
            self.failing_since_s += idle_s if idle_s > IDLE_S else 0.0
        self.first_sent_s = min(self.first_sent_s, sent_s)
        self.failed_last_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until a call may be made."""
        return max(0.0, self.probe_at_s - now_s) if self.is_open else 0.0

    def probe_taken(self, now_s: float) -> None:
        """A probe was sent; the next one waits twice as long."""
        self.probes = min(self.probes + 1, 10)
        self.probe_at_s = now_s + min(PROBE_MOST_S, PROBE_FIRST_S * 2**self.probes)

    def silent_for_s(self, now_s: float) -> float:
        """How long there has been no answer at all; time in which nothing was asked is no silence."""
        if self.failing_since_s is None:
            return 0.0
        return (now_s if self.is_open else self.failed_last_s) - self.failing_since_s


@dataclass(slots=True)
class UnusableShare:
    """Watches the last answers: a gateway that sends rubbish is paid for rubbish."""

    recent: deque[bool] = field(default_factory=deque)
    unusable: int = 0

    def add(self, *, unusable: bool) -> None:
        """One more answer that was, or was not, of use."""
        self.recent.append(unusable)
        self.unusable += unusable
        if len(self.recent) > UNUSABLE_WINDOW:
            self.unusable -= self.recent.popleft()

    @property
    def too_high(self) -> bool:
        """True once more than the allowed share of a full window was of no use."""
        return len(self.recent) == UNUSABLE_WINDOW and self.unusable > UNUSABLE_WINDOW * UNUSABLE_SHARE_MOST


@dataclass(slots=True)
class AlikeRefusals:
    """The first answers, all refused in the same words, mean a wrong setting and not so many wrong records."""

    message: str | None = None
    seen: int = 0
    decided: bool = False

    def add(self, error: ErrorClass | None, message: str) -> None:
        """One more outcome of a call that the gateway answered."""
        if self.decided or error in _SAYS_NOTHING:
            return
        message = _NUMBERED.sub("#", message)
        if error is not ErrorClass.BAD_REQUEST or (self.message is not None and message != self.message):
            self.decided = True
            return
        self.message = message
        self.seen += 1

    @property
    def all_alike(self) -> bool:
        """True when the run should stop: nothing but the same refusal so far."""
        return not self.decided and self.seen >= ALIKE_REFUSALS
