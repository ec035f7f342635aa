"""Finding a rate limit that nobody configured: refusals slow a model down, answers let it grow back and then beyond.

The curve between two refusals is that of CUBIC congestion control: quickly back to where the last refusal came, slowly
past it, then faster, so that a limit that was raised is found as well. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0
BEFORE_REFUSAL_S = 2.0
"""The time before the first refusal in which the rate of accepted calls is measured."""
LONG_SILENCE_S = 3.0
"""A limit that refuses for longer than this counts over a minute, not over a second."""
CUT, CUT_AT_FIRST = 0.9, 0.8
BACK_AFTER_S = 20.0
DOUBLED_AFTER_S = 30.0
"""So long after it is back at the last refusal's rate the rate is twice as high; a minute where the limit is of one."""
SETTLE_S = 1.0
REFUSALS_IN_A_ROW = 4
RPM_LEAST = 1.0


@dataclass(slots=True)
class RateSearch:
    """What is known of one model's limit. ``rpm`` None: no call was refused yet, nothing is to be held back."""

    rpm: float | None = None
    _ceiling_rpm: float = 0.0
    _cut_rpm: float = 0.0
    _cut_at_s: float = 0.0
    _in_a_row: int = 0
    _refusing_since_s: float | None = None
    _refused_until_s: float = 0.0
    _doubled_after_s: float = DOUBLED_AFTER_S
    _accepted: deque[float] = field(default_factory=deque)

    def answered(self, sent_s: float, now_s: float) -> None:
        """A call that was sent then was answered; a call from before the refusals says nothing about now."""
        self._accepted.append(sent_s)
        self._forget(now_s)
        if self._refusing_since_s is not None and sent_s > self._refusing_since_s:
            self._found_again(self._refusing_since_s, now_s)
        elif sent_s > self._cut_at_s:
            self._in_a_row = 0
        self._grow(now_s)

    def refused(self, sent_s: float, now_s: float, retry_after_s: float = 0.0) -> bool:
        """A call that was sent then was refused; True if all calls should wait, because slower ones would be refused too.

        ``retry_after_s`` is the gateway's own word for how long it will refuse.
        """
        if self.rpm is None or self._refusing_since_s is not None:
            self._begin_silence(now_s)
            self._refused_until_s = max(self._refused_until_s, sent_s, now_s + retry_after_s)
            return True
        if sent_s <= self._cut_at_s or now_s < self._cut_at_s + SETTLE_S:
            self._in_a_row += sent_s > self._cut_at_s
        else:
            self._in_a_row = 0
            self._cut(self.rpm, self.rpm * CUT, now_s)
        if self._in_a_row >= REFUSALS_IN_A_ROW:
            self._begin_silence(now_s)
            return True
        return False

    @property
    def found_rpm(self) -> int | None:
        """The limit as it seems to be, in two digits; None: no call was refused."""
        if self.rpm is None:
            return None
        digits = max(0, len(str(int(self._ceiling_rpm))) - 2)
        return max(1, int(round(self._ceiling_rpm, -digits)))

    def _begin_silence(self, now_s: float) -> None:
        if self._refusing_since_s is None:
            self._refusing_since_s = self._refused_until_s = now_s

    def _found_again(self, since_s: float, now_s: float) -> None:
        """The first answer after refusals: how long they lasted tells over which time the limit counts."""
        before = [sent_s for sent_s in self._accepted if sent_s <= since_s]
        if self._refused_until_s - since_s <= LONG_SILENCE_S:
            before = [sent_s for sent_s in before if sent_s > since_s - BEFORE_REFUSAL_S]
            span_s = max(1.0, since_s - before[0]) if before else BEFORE_REFUSAL_S
            ceiling_rpm = len(before) * 60.0 / span_s
        else:
            ceiling_rpm = float(len(before))
            self._doubled_after_s = WINDOW_S
        if self.rpm is not None:
            ceiling_rpm = min(ceiling_rpm, self.rpm)
        self._refusing_since_s = None
        self._in_a_row = 0
        if not before and self.rpm is None:
            return  # refused from the first call on: nothing is known yet
        self._cut(max(RPM_LEAST, ceiling_rpm), ceiling_rpm * CUT_AT_FIRST, now_s)

    def _cut(self, ceiling_rpm: float, rpm: float, now_s: float) -> None:
        self._ceiling_rpm, self._cut_rpm, self._cut_at_s = ceiling_rpm, max(RPM_LEAST, rpm), now_s
        self.rpm = self._cut_rpm

    def _grow(self, now_s: float) -> None:
        if self.rpm is None or self._refusing_since_s is not None:
            return
        after_s = now_s - self._cut_at_s - BACK_AFTER_S
        if after_s < 0:
            missing = self._ceiling_rpm - self._cut_rpm
            self.rpm = self._ceiling_rpm - missing * (-after_s / BACK_AFTER_S) ** 3
        else:
            self.rpm = self._ceiling_rpm * (1 + (after_s / self._doubled_after_s) ** 3)

    def _forget(self, now_s: float) -> None:
        until_s = now_s if self._refusing_since_s is None else self._refusing_since_s
        while self._accepted and self._accepted[0] <= until_s - WINDOW_S:
            self._accepted.popleft()
