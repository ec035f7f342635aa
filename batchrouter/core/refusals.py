"""Which refusals are a limit's, and which come at any pace: the last calls, and what of them was refused.

Beyond a limit L a pace r is refused the share 1 - L / r; a gateway that refuses a share of all calls whatever the pace
(noise) does it below the limit as well. A pace is requests/min, or calls in flight. All times are seconds of one
monotonic clock. What is not refused yet counts as accepted, so all is asked about the time up to a call that was refused.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from batchrouter.core.limits import WINDOW_S

KEPT_S = 2 * WINDOW_S
CALLS_MOST, SWEPT_EVERY = 1 << 17, 1 << 8
"""So many calls are kept, and after so many it is looked which are too old."""
LATELY_S, FEW_CALLS = 1.0, 10
"""How long what is sent is measured, and how many calls that takes at least."""
USUAL_NOISE, USUAL_NOISE_CALLS = 0.002, 40.0
"""The noise that is expected before anything is known, and as how many calls that counts."""
NOISE_MOST = 0.5
"""A gateway that refuses more than that is not usable at any pace."""
SURGE_SHARE = 0.3
"""A limit that is met all of a sudden refuses this share of calls or more, beside the noise."""
LOOK_EVERY_S = 0.1
"""To look for a limit takes up to a few milliseconds."""
SURGE_CALLS = (4, 5, 6, 8, 10, 13, 16, 20, 26, 32, 48, 64)
"""Over so many of the last calls a surge is looked for: what is large is seen early, what is small a little later."""
SURGE_EVIDENCE = 15.0
"""By how much (difference of log likelihoods) a limit must explain the last calls better than noise: so seldom is it chance."""
LIMIT_EVIDENCE, CHANGE_EVIDENCE = 3.0, 6.0
"""The same for a limit that refuses a few of many calls: one that is about where it is known to be, and a lower one."""
NEAR = 0.97
"""What is refused below this share of the known limit is noise; from there on it may be the limit."""
EXPECTED = 0.9
"""A limit of less than this share of the known one is a lower one."""
FURTHEST_BELOW, LOWEST = 0.6, 0.25
"""A limit is looked for so far below all paces since the last cut, and not below that share of the present one."""
PACE_STEP, LIMIT_STEP = 0.02, 0.03
"""In steps of so much the paces are counted and limits are tried."""


class Paced(NamedTuple):
    """Calls sent at one pace, and what of them was refused."""

    pace: float
    calls: float
    refused: float

    def log_likelihood(self, limit: float, noise: float) -> float:
        """Of so many refusals, if there is such a limit and such a noise."""
        beyond = max(0.0, 1 - limit / self.pace) if self.pace else 0.0
        return _log_likelihood(self.calls, self.refused, noise + (1 - noise) * beyond)


class Surge(NamedTuple):
    """The last calls, when far more of them were refused than usual. ``since_s``: when the first of these was sent."""

    calls: int
    refused: int
    since_s: float


@dataclass(slots=True)
class RefusalLog:
    """The calls of the last two minutes, and not too many, in the order in which they were sent."""

    _sent: array[float] = field(default_factory=lambda: array("d"))
    _refused: array[float] = field(default_factory=lambda: array("d"))
    _paces: list[tuple[float, float]] = field(default_factory=list)
    _since_s: float = -math.inf
    _looked_at_s: float = -math.inf

    def sent(self, at_s: float) -> None:
        """A call leaves."""
        self._sent.append(at_s)
        if len(self._sent) % SWEPT_EVERY == 0:
            self._sweep(at_s)

    def refused(self, sent_s: float) -> bool:
        """A call that was sent then was refused; False: it is not known here, or no more."""
        place = bisect_left(self._sent, sent_s)
        is_known = place < len(self._sent) and self._sent[place] == sent_s
        if is_known:
            insort(self._refused, sent_s)
        return is_known

    def paced(self, pace: float, now_s: float) -> None:
        """From now on calls are sent at this pace."""
        if not self._paces or abs(pace - self._paces[-1][1]) > PACE_STEP * self._paces[-1][1]:
            self._paces.append((now_s, pace))

    def begin_anew(self, now_s: float) -> None:
        """What was refused before now is no evidence any more: the limit has changed."""
        self._since_s = now_s
        self._paces = self._paces[-1:]

    def accepted(self, after_s: float, until_s: float) -> int:
        """Calls sent after the one time and not after the other that were not refused, as far as it is known."""
        return _within(self._sent, after_s, until_s) - _within(self._refused, after_s, until_s)

    def still_surges(self, since_s: float, until_s: float) -> bool:
        """Whether of the calls between these times as large a share was refused as in a surge."""
        return _within(self._refused, since_s, until_s) >= SURGE_SHARE * _within(self._sent, since_s, until_s)

    def refused_until(self, after_s: float) -> float:
        """When the last of the calls sent after then was sent that were refused without one in between that was not."""
        until_s = after_s
        for place in range(bisect_right(self._sent, after_s), len(self._sent)):
            if _within(self._refused, until_s, self._sent[place]) == 0:
                break
            until_s = self._sent[place]
        return until_s

    def pace(self, until_s: float) -> float:
        """What was sent just before then, in requests/min."""
        since_s, last_s = self._lately(until_s)
        return _within(self._sent, since_s, last_s) * WINDOW_S / (last_s - since_s)

    def accepted_pace(self, until_s: float) -> float:
        """What the gateway took just before then, in requests/min."""
        since_s, last_s = self._lately(until_s)
        return self.accepted(since_s, last_s) * WINDOW_S / (last_s - since_s)

    def _lately(self, until_s: float) -> tuple[float, float]:
        """The second before the last call that was sent before then, or longer if that had few calls."""
        place = bisect_left(self._sent, until_s) - 1
        if place < 0:
            return until_s - LATELY_S, until_s
        last_s = self._sent[place]
        return min(self._sent[max(0, place - FEW_CALLS)], last_s - LATELY_S), last_s

    def surge(self, sent_s: float, since_s: float | None = None) -> Surge | None:
        """Whether of the calls up to this one, which was refused, far more were refused than before them.

        ``since_s``: since when a surge lasts, so that it is not taken for what is usual.
        """
        before_s = math.inf if since_s is None else since_s
        place = bisect_right(self._sent, sent_s)
        for least in SURGE_CALLS:
            if least > place:
                return None
            first_s = self._sent[place - least]
            if first_s <= self._since_s:
                return None
            first, first_refused = bisect_left(self._sent, first_s), bisect_left(self._refused, first_s)
            calls, refused = place - first, bisect_right(self._refused, sent_s) - first_refused
            noise = self._noise_before(min(first_s, before_s))
            share = refused / calls
            if share < SURGE_SHARE + noise * (1 - SURGE_SHARE):
                continue
            if _log_likelihood(calls, refused, share) - _log_likelihood(calls, refused, noise) >= SURGE_EVIDENCE:
                return Surge(calls, refused, self._refused[first_refused])
        return None

    def _noise_before(self, until_s: float) -> float:
        after_s = max(self._since_s, until_s - KEPT_S)
        calls, refused = _within(self._sent, after_s, until_s), _within(self._refused, after_s, until_s)
        return _noise(calls, refused)

    def likely_limit(self, since_s: float, known: float, until_s: float) -> float | None:
        """The limit below the present pace that explains the refusals since then better than noise does; None: there is none.

        Each time a pace grows past ``known``, where the limit seems to be, it must show itself anew: what was refused
        before tells of the noise only, and only below that. Who asks again within a moment gets None.
        """
        if until_s < self._looked_at_s + LOOK_EVERY_S:
            return None
        self._looked_at_s = until_s
        since = self._paced(max(since_s, until_s - KEPT_S), until_s)
        if not since:
            return None
        pace = self._paces[-1][1]
        paced = [self._known_noise(since_s, known, until_s), *since]
        best, limit = _explained(paced, math.inf, _noise_of(paced)), None
        candidate = max(FURTHEST_BELOW * since[0].pace, LOWEST * pace)
        while candidate < pace:
            noise = _noise_of([each for each in paced if each.pace <= candidate])
            needed = LIMIT_EVIDENCE if candidate >= EXPECTED * known else CHANGE_EVIDENCE
            explained = _explained(paced, candidate, noise) - needed
            if explained > best and candidate < pace * (1 - noise):
                best, limit = explained, candidate
            candidate *= 1 + LIMIT_STEP
        return limit

    def _known_noise(self, before_s: float, known: float, until_s: float) -> Paced:
        """What was sent before then below the known limit, as calls at no pace at all."""
        before = self._paced(max(self._since_s, until_s - KEPT_S), before_s, most=NEAR * known)
        calls, refused = _sum(before)
        return Paced(0.0, USUAL_NOISE_CALLS + calls, USUAL_NOISE * USUAL_NOISE_CALLS + refused)

    def _paced(self, after_s: float, until_s: float, *, most: float = math.inf) -> list[Paced]:
        """The calls between two times in steps of the pace, the slowest first; not those at more than ``most``."""
        lowest = LOWEST * self._paces[-1][1]
        steps: dict[int, list[int]] = {}
        for since_s, pace in reversed(self._paces):
            start_s = max(since_s, after_s)
            sent = _within(self._sent, start_s, until_s)
            if sent and pace <= most:
                step = steps.setdefault(round(math.log(max(pace, lowest)) / PACE_STEP), [0, 0])
                step[0] += sent
                step[1] += _within(self._refused, start_s, until_s)
            until_s = min(until_s, since_s)
            if since_s <= after_s:
                break
        return [Paced(math.exp(step * PACE_STEP), *steps[step]) for step in sorted(steps)]

    def _sweep(self, now_s: float) -> None:
        until_s = now_s - KEPT_S
        if len(self._sent) > CALLS_MOST:
            until_s = max(until_s, self._sent[-CALLS_MOST])
        del self._sent[: bisect_right(self._sent, until_s)]
        del self._refused[: bisect_right(self._refused, until_s)]
        while len(self._paces) > 1 and self._paces[1][0] <= until_s:
            del self._paces[0]


def _within(times: array[float], after_s: float, until_s: float) -> int:
    return max(0, bisect_right(times, until_s) - bisect_right(times, after_s))


def _noise(calls: int, refused: int) -> float:
    share = (refused + USUAL_NOISE * USUAL_NOISE_CALLS) / (calls + USUAL_NOISE_CALLS)
    return min(NOISE_MOST, max(USUAL_NOISE, share))


def _sum(paced: Sequence[Paced]) -> tuple[float, float]:
    return sum(each.calls for each in paced), sum(each.refused for each in paced)


def _noise_of(paced: Sequence[Paced]) -> float:
    calls, refused = _sum(paced)
    return refused / calls


def _log_likelihood(calls: float, refused: float, share: float) -> float:
    share = min(share, 0.999)
    return refused * math.log(share) + (calls - refused) * math.log(1 - share)


def _explained(paced: Sequence[Paced], limit: float, noise: float) -> float:
    return sum(each.log_likelihood(limit, noise) for each in paced)
