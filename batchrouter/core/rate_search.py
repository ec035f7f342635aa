"""Finding a rate limit that nobody configured: refusals slow a model down, answers let it grow back and then beyond.

The curve between two refusals is that of CUBIC congestion control: quickly back to where the last refusal came, slowly
past it, then faster, so that a limit that was raised is found as well. Some gateways refuse a share of all calls at any
pace: a trial at half the pace tells such noise from a limit. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

WINDOW_S = 60.0
BEFORE_REFUSAL_S = 2.0
"""The time before the first refusal in which the rate of accepted calls is measured."""
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
SETTLE_S = 1.0
RPM_LEAST = 1.0
FEW_CALLS = 10
"""So few accepted calls before refusals tell of no limit while the search is younger than a window: others may have had the rest."""
REFUSALS_IN_A_ROW = 4
BY_CHANCE = 1e-5
"""So improbable must a row of refusals be before it counts as the end of what a limit gives."""
CUTS_BEFORE_TRIAL = 3
TRIAL_PACE = 0.5
TRIAL_REFUSALS, TRIAL_MOST_S = 4.0, 20.0
"""A trial lasts until so many refusals would have come if the slower pace had changed nothing."""
NOISE_MOST = 0.3
ABOVE_NOISE = 3.0
"""Refusals are the limit's beyond so many times the noise."""
NEAR = 0.95
"""A refusal this near to the last one's pace is the limit's own; farther below it may be noise."""
RECENT_CALLS, LONG_CALLS = 200, 1_000
LIMIT_SHARE = 0.3
"""Beyond a limit this share of calls is refused, or more, and not one now and then."""
DOUBT_REFUSALS, DOUBT_CALLS = 3, 10


@dataclass(slots=True)
class Share:
    """Refusals among calls."""

    calls: int = 0
    refused: int = 0

    def add(self, *, refused: bool) -> None:
        """One more call."""
        self.calls += 1
        self.refused += refused

    @property
    def value(self) -> float:
        """From 0 to 1."""
        return self.refused / self.calls if self.calls else 0.0


@dataclass(slots=True)
class Trial:
    """Half the pace for a while: if as large a share is refused as before, the pace is not the reason."""

    since_s: float
    share_before: float
    seen: Share = field(default_factory=Share)

    def is_over(self, now_s: float) -> bool:
        """Whether enough calls were seen, or it takes too long."""
        return self.seen.calls * self.share_before >= TRIAL_REFUSALS or now_s >= self.since_s + TRIAL_MOST_S

    @property
    def tells_noise(self) -> bool:
        """Whether the slower pace changed next to nothing."""
        return self.seen.refused >= 2 and self.share_before / 2 <= self.seen.value <= NOISE_MOST


@dataclass(slots=True)
class RateSearch:
    """What is known of one model's limit. ``rpm`` None: nothing is to be held back, for no limit was met yet."""

    rpm: float | None = None
    _noise: float = 0.0
    _ceiling_rpm: float = 0.0
    _cut_rpm: float = 0.0
    _cut_at_s: float = -math.inf
    _cuts: int = 0
    _first_ceiling_rpm: float = 0.0
    _in_a_row: int = 0
    _recent: Share = field(default_factory=Share)
    _long: Share = field(default_factory=Share)
    _since_first_cut: Share = field(default_factory=Share)
    _trial: Trial | None = None
    _refusing_since_s: float | None = None
    _doubt_since_s: float | None = None
    _beyond: Share = field(default_factory=Share)
    _refused_until_s: float = 0.0
    _is_of_a_minute: bool = False
    _accepted: deque[float] = field(default_factory=deque)
    _first_sent_s: float = math.inf

    @classmethod
    def from_found(cls, rpm: float, now_s: float) -> RateSearch:
        """Begin below the limit that an earlier search found, as after a refusal there."""
        search = cls()
        search._begin_series(rpm)
        search._cut(rpm, rpm * CUT, now_s)
        return search

    def answered(self, sent_s: float, now_s: float) -> None:
        """A call that was sent then was answered; a call from before the refusals says nothing about now."""
        self._first_sent_s = min(self._first_sent_s, sent_s)
        self._accepted.append(sent_s)
        self._forget(now_s)
        if self._refusing_since_s is not None:
            if sent_s > self._refusing_since_s:
                self._found_again(self._refusing_since_s, now_s)
            return
        if sent_s > self._cut_at_s:
            self._in_a_row = 0
            self._see(sent_s, now_s, refused=False)
        self._grow(now_s)

    def refused(self, sent_s: float, now_s: float, retry_after_s: float = 0.0) -> bool:
        """A call that was sent then was refused; True if all calls should wait, because slower ones would be refused too.

        ``retry_after_s`` is the gateway's own word for how long it will refuse.
        """
        self._first_sent_s = min(self._first_sent_s, sent_s)
        if self._refusing_since_s is not None:
            self._refused_until_s = max(self._refused_until_s, sent_s, now_s + retry_after_s)
            return True
        if sent_s <= self._cut_at_s:
            return False
        self._in_a_row += 1
        self._see(sent_s, now_s, refused=True)
        if self._in_a_row >= self._in_a_row_most or (self.rpm is None and self._is_beyond_a_limit):
            self._begin_silence(now_s, retry_after_s)
            return True
        if self.rpm is not None and self._trial is None and now_s >= self._cut_at_s + SETTLE_S and self._is_above_noise:
            self._cut_again(self.rpm, now_s)
        return False

    @property
    def found_rpm(self) -> int | None:
        """The limit as it seems to be, in two digits; None: none was met."""
        if self.rpm is None:
            return None
        digits = max(0, len(str(int(self._ceiling_rpm))) - 2)
        return max(1, int(round(self._ceiling_rpm, -digits)))

    @property
    def _in_a_row_most(self) -> int:
        return (
            max(REFUSALS_IN_A_ROW, math.ceil(math.log(BY_CHANCE) / math.log(self._noise)))
            if self._noise
            else REFUSALS_IN_A_ROW
        )

    @property
    def _is_beyond_a_limit(self) -> bool:
        return self._beyond.refused >= DOUBT_REFUSALS and self._beyond.value >= max(
            LIMIT_SHARE, ABOVE_NOISE * self._noise
        )

    @property
    def _is_above_noise(self) -> bool:
        usual = min(ABOVE_NOISE * self._noise, (1 + self._noise) / 2)
        return self._recent.refused >= 1 + usual * self._recent.calls

    def _see(self, sent_s: float, now_s: float, *, refused: bool) -> None:
        if self._trial:
            if sent_s > self._trial.since_s:
                self._trial.seen.add(refused=refused)
                if self._trial.is_over(now_s):
                    self._end_trial(self._trial, now_s)
            return
        self._recent.add(refused=refused)
        self._since_first_cut.add(refused=refused)
        if self.rpm is None:
            self._doubt(sent_s, refused=refused)
        self._long.add(refused=refused)
        if self._long.calls >= LONG_CALLS:
            if self._long.value < self._noise / 2:
                self._noise = self._long.value
            self._long = Share()
        if self._recent.calls >= RECENT_CALLS:
            self._recent = Share()

    def _doubt(self, sent_s: float, *, refused: bool) -> None:
        """After a first refusal the calls that were sent later tell whether a limit was met."""
        if self._doubt_since_s is None:
            if refused:
                self._doubt_since_s, self._beyond = sent_s, Share(1, 1)
        elif sent_s > self._doubt_since_s:
            self._beyond.add(refused=refused)
            if self._beyond.calls > DOUBT_CALLS and not self._is_beyond_a_limit:
                self._noise = min(NOISE_MOST, max(self._noise, self._recent.value))
                self._doubt_since_s = None

    def _begin_silence(self, now_s: float, retry_after_s: float) -> None:
        self._refusing_since_s, self._doubt_since_s = now_s, None
        self._refused_until_s = now_s + retry_after_s
        self._trial = None

    def _found_again(self, since_s: float, now_s: float) -> None:
        """The first answer after refusals: how long they lasted tells over which time the limit counts."""
        self._refusing_since_s = None
        before = [sent_s for sent_s in self._accepted if sent_s <= since_s]
        lasted_long = self._refused_until_s - since_s > LONG_SILENCE_S or self._is_of_a_minute
        if not self._tell_of_a_limit(before, since_s, lasted_long=lasted_long):
            self._recent, self._in_a_row = Share(), 0
            if self.rpm is not None:
                self._cut(self._ceiling_rpm, self.rpm * CUT, now_s)
            return
        if lasted_long:
            ceiling_rpm, self._is_of_a_minute = float(len(before)), True
        else:
            just_before = [sent_s for sent_s in before if sent_s > since_s - BEFORE_REFUSAL_S] or before[-FEW_CALLS:]
            ceiling_rpm = len(just_before) * 60.0 / max(1.0, since_s - just_before[0])
        if self.rpm is not None:
            ceiling_rpm = min(ceiling_rpm, self.rpm)
        self._begin_series(ceiling_rpm)
        self._cut(max(RPM_LEAST, ceiling_rpm), ceiling_rpm * CUT_AT_FIRST, now_s)

    def _tell_of_a_limit(self, before: Sequence[float], since_s: float, *, lasted_long: bool) -> bool:
        """Whether the calls accepted before refusals were all that a limit gives; not where they began with the first calls."""
        if lasted_long:
            return len(before) >= FEW_CALLS or since_s - self._first_sent_s >= WINDOW_S
        return bool(before) and (self.rpm is not None or since_s - before[0] >= 1.0)

    def _begin_series(self, ceiling_rpm: float) -> None:
        self._cuts, self._first_ceiling_rpm, self._since_first_cut = 0, ceiling_rpm, Share()

    @property
    def _kept(self) -> float:
        """What is left of a pace after a cut: beyond a limit, the share that it lets through."""
        if self._recent.calls < DOUBT_CALLS:
            return CUT
        return min(CUT, 1 - max(0.0, self._recent.value - self._noise))

    def _cut_again(self, rpm: float, now_s: float) -> None:
        if self._is_of_a_minute:
            rpm = min(rpm, max(RPM_LEAST, float(len(self._accepted))))
        if rpm > self._first_ceiling_rpm or now_s >= self._cut_at_s + BACK_AFTER_S / 2:
            self._begin_series(rpm)
        if rpm >= NEAR * self._first_ceiling_rpm:
            self._cut(rpm, rpm * self._kept, now_s)
            return
        self._cuts += 1
        if self._cuts <= CUTS_BEFORE_TRIAL:
            ceiling_rpm = self._first_ceiling_rpm if self._is_of_a_minute else rpm
            self._cut(ceiling_rpm, rpm * self._kept, now_s)
        else:
            share_before = self._since_first_cut.value
            self._cut(self._ceiling_rpm, rpm * TRIAL_PACE, now_s)
            self._trial = Trial(now_s, share_before)

    def _end_trial(self, trial: Trial, now_s: float) -> None:
        self._trial = None
        if trial.tells_noise:
            self._noise = trial.seen.value
            self._cut(self._first_ceiling_rpm, self._first_ceiling_rpm * CUT, now_s)
        else:
            self._cut(self._ceiling_rpm, self._cut_rpm, now_s)
        self._begin_series(self._ceiling_rpm)

    def _cut(self, ceiling_rpm: float, rpm: float, now_s: float) -> None:
        self._ceiling_rpm, self._cut_rpm, self._cut_at_s = ceiling_rpm, max(RPM_LEAST, rpm), now_s
        self.rpm = self._cut_rpm
        self._recent, self._in_a_row = Share(), 0

    def _grow(self, now_s: float) -> None:
        if self.rpm is None or self._trial:
            return
        after_s = now_s - self._cut_at_s - BACK_AFTER_S
        if after_s < 0:
            missing = self._ceiling_rpm - self._cut_rpm
            self.rpm = self._ceiling_rpm - missing * (-after_s / BACK_AFTER_S) ** 3
        else:
            if self._is_of_a_minute:
                after_s /= MINUTE_FACTOR
            part = min(1.0, after_s / BEYOND_AFTER_S)
            doublings = min(DOUBLINGS_MOST, max(0.0, after_s - BEYOND_AFTER_S) / DOUBLED_EVERY_S)
            self.rpm = self._ceiling_rpm * (1 + BEYOND * part**3) * 2**doublings

    def _forget(self, now_s: float) -> None:
        until_s = now_s if self._refusing_since_s is None else self._refusing_since_s
        while self._accepted and self._accepted[0] <= until_s - WINDOW_S:
            self._accepted.popleft()
