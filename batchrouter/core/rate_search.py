"""Finding a rate limit that nobody configured: refusals slow a model down, answers let it grow back and then beyond.

The curve between two refusals is that of CUBIC congestion control: quickly back to where the last refusal came, slowly
past it, then faster, so that a limit that was raised is found as well. Which refusals are a limit's the log of calls
tells (``core.refusals``). All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from batchrouter.core.limits import WINDOW_S
from batchrouter.core.refusals import FEW_CALLS, NEAR, RefusalLog, Surge

LONG_SILENCE_S = 3.0
"""A limit that refuses for longer than this counts over a minute, not over a second."""
CUT, CUT_AT_FIRST = 0.9, 0.8
BACK_AFTER_S = 20.0
BEYOND, BEYOND_AFTER_S, DOUBLED_EVERY_S = 0.1, 14.0, 8.0
"""Once back it takes so long to be a tenth beyond the last refusal's rate; from there on the rate doubles so often."""
DOUBLINGS_MOST = 40.0
"""By then nothing is held back any more; a night without a refusal would double it beyond all numbers."""
MINUTE_FACTOR = 3.0
"""A limit of a minute shows late that it was met, so beyond it all goes so many times slower."""
GROWTH_CALLS = 60
"""So many calls at least are made between two refusals of a limit that stays the same."""
SETTLE_S = 1.0
RPM_LEAST = 1.0
ALL_REFUSED = 0.8
"""Where so many are refused, a slower pace would not help at once."""
HEADROOM = 2.0
"""A pace that is not used does not grow: past the last refusal's it is at most so many times what is really sent."""


@dataclass(slots=True)
class RateSearch:
    """What is known of one model's limit. ``rpm`` None: nothing is to be held back, for no limit was met yet."""

    rpm: float | None = None
    _log: RefusalLog = field(default_factory=RefusalLog)
    _ceiling_rpm: float = 0.0
    _cut_rpm: float = 0.0
    _cut_at_s: float = -math.inf
    _surge_since_s: float | None = None
    _refusing_since_s: float | None = None
    _first_refused_s: float = 0.0
    _told_to_wait_until_s: float = 0.0
    _is_of_a_minute: bool = False
    _first_sent_s: float = math.inf

    @classmethod
    def from_found(cls, rpm: float, now_s: float) -> RateSearch:
        """Begin below the limit that an earlier search found, as after a refusal there."""
        search = cls()
        search._cut(rpm, rpm * CUT, now_s)
        return search

    def sent(self, at_s: float) -> None:
        """A call leaves."""
        self._first_sent_s = min(self._first_sent_s, at_s)
        self._log.sent(at_s)

    def answered(self, sent_s: float, now_s: float) -> None:
        """A call that was sent then was answered; a call from before the refusals says nothing about now."""
        if self._refusing_since_s is not None:
            if sent_s > self._refusing_since_s:
                self._found_again(self._refusing_since_s, now_s)
            return
        self._grow(now_s)

    def refused(self, sent_s: float, now_s: float, retry_after_s: float = 0.0) -> bool:
        """A call that was sent then was refused; True if all calls should wait, because slower ones would be refused too.

        ``retry_after_s`` is the gateway's own word for how long it will refuse.
        """
        is_known = self._log.refused(sent_s)
        if self._refusing_since_s is not None:
            if retry_after_s:
                self._told_to_wait_until_s = max(self._told_to_wait_until_s, now_s + retry_after_s)
            return True
        if not is_known or sent_s <= self._cut_at_s:
            return False
        surge = self._log.surge(sent_s, self._surge_since_s)
        if surge and (self.rpm is None or self._is_of_a_minute or surge.refused >= ALL_REFUSED * surge.calls):
            self._refusing_since_s, self._first_refused_s = now_s, surge.since_s
            self._told_to_wait_until_s = now_s + retry_after_s
            return True
        if self.rpm is not None and surge:
            self._follow_surge(self.rpm, surge, sent_s, now_s)
        elif self.rpm is not None:
            self._look_for_limit(sent_s, now_s)
        return False

    @property
    def found_rpm(self) -> int | None:
        """The limit as it seems to be, in two digits; None: none was met."""
        if self.rpm is None:
            return None
        digits = max(0, len(str(int(self._ceiling_rpm))) - 2)
        return max(1, int(round(self._ceiling_rpm, -digits)))

    def _look_for_limit(self, sent_s: float, now_s: float) -> None:
        """A few of many calls are refused: by a limit, or by noise."""
        if self._surge_since_s is not None and self._log.still_surges(self._surge_since_s, sent_s):
            return
        self._surge_since_s = None
        if now_s < self._cut_at_s + SETTLE_S:
            return
        accepted = self._log.accepted(sent_s - WINDOW_S, sent_s)
        if self._is_of_a_minute and accepted >= NEAR * self._ceiling_rpm:
            ceiling_rpm = max(accepted, self._ceiling_rpm)
            self._cut(ceiling_rpm, ceiling_rpm * CUT, now_s)
            return
        limit_rpm = self._log.likely_limit(self._cut_at_s, self._ceiling_rpm, sent_s)
        if limit_rpm is not None:
            limit_rpm = accepted if self._is_of_a_minute else limit_rpm
            self._cut(limit_rpm, limit_rpm * CUT, now_s)

    def _follow_surge(self, rpm: float, surge: Surge, sent_s: float, now_s: float) -> None:
        """A large share is refused: after a moment of it, what is accepted is the limit."""
        if self._surge_since_s is None:
            self._surge_since_s = surge.since_s
        if now_s >= max(self._surge_since_s, self._cut_at_s) + SETTLE_S:
            ceiling_rpm = min(rpm, self._log.accepted_pace(sent_s))
            self._log.begin_anew(now_s)
            self._cut(ceiling_rpm, ceiling_rpm * CUT, now_s)

    def _found_again(self, since_s: float, now_s: float) -> None:
        """The first answer after refusals: how long they lasted tells over which time the limit counts."""
        refused_until_s = max(self._told_to_wait_until_s, self._log.refused_until(since_s))
        self._refusing_since_s = None
        self._log.begin_anew(now_s)
        lasted_long = refused_until_s - since_s > LONG_SILENCE_S or self._is_of_a_minute
        accepted = self._log.accepted(since_s - WINDOW_S, since_s)
        if not self._tells_of_a_limit(accepted, since_s, lasted_long=lasted_long):
            if self.rpm is not None:
                self._cut(self._ceiling_rpm, self.rpm * CUT, now_s)
            return
        if lasted_long:
            ceiling_rpm, self._is_of_a_minute = float(accepted), True
        else:
            ceiling_rpm = max(self._log.accepted_pace(self._first_refused_s), self._log.accepted_pace(since_s))
        if self.rpm is not None:
            ceiling_rpm = min(ceiling_rpm, self.rpm)
        self._cut(ceiling_rpm, ceiling_rpm * CUT_AT_FIRST, now_s)

    def _tells_of_a_limit(self, accepted: int, since_s: float, *, lasted_long: bool) -> bool:
        """Whether the calls accepted before refusals were all that a limit gives; not where they began with the first calls."""
        if lasted_long:
            return accepted >= FEW_CALLS or since_s - self._first_sent_s >= WINDOW_S
        return accepted > 0 and (self.rpm is not None or since_s - self._first_sent_s >= 1.0)

    def _cut(self, ceiling_rpm: float, rpm: float, now_s: float) -> None:
        self._ceiling_rpm, self._cut_rpm, self._cut_at_s = max(RPM_LEAST, ceiling_rpm), max(RPM_LEAST, rpm), now_s
        self._surge_since_s = None
        self._set(self._cut_rpm, now_s)

    def _set(self, rpm: float, now_s: float) -> None:
        self.rpm = rpm
        if self._is_of_a_minute:
            rpm = max(RPM_LEAST, min(rpm, self._log.accepted(now_s - WINDOW_S, now_s)))
        self._log.paced(rpm, now_s)

    def _grow(self, now_s: float) -> None:
        if self.rpm is None:
            return
        after_s = now_s - self._cut_at_s - BACK_AFTER_S
        if after_s < 0:
            missing = self._ceiling_rpm - self._cut_rpm
            self._set(self._ceiling_rpm - missing * (-after_s / BACK_AFTER_S) ** 3, now_s)
            return
        after_s /= self._patience
        part = min(1.0, after_s / BEYOND_AFTER_S)
        doublings = min(DOUBLINGS_MOST, max(0.0, after_s - BEYOND_AFTER_S) / DOUBLED_EVERY_S)
        curve = self._ceiling_rpm * (1 + BEYOND * part**3) * 2**doublings
        used = self._log.pace(now_s)
        self._set(min(curve, max(self._ceiling_rpm, HEADROOM * used)), now_s)

    @property
    def _patience(self) -> float:
        """How many times slower the pace grows past the ceiling: a refusal in few calls is a large share of them."""
        calls = self._ceiling_rpm * (BACK_AFTER_S + BEYOND_AFTER_S) / WINDOW_S
        return max(1.0, GROWTH_CALLS / calls) * (MINUTE_FACTOR if self._is_of_a_minute else 1.0)
