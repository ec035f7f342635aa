"""Rate limits as pure arithmetic over clock readings (seconds, monotonic): an even pace of requests, and of tokens.

A gateway may enforce a limit over a minute or over a second of it, so neither requests nor tokens are sent in bursts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

MARGIN = 0.99
"""The share of an announced limit that is used, so that clocks and network jitter never carry us over it."""
CATCH_UP_S = 0.05
"""What a busy machine may hold the event loop up. What leaves together fills a second early, which then stands still for
as long before its end, again in each that follows; and small buckets at the gateway overflow."""
SECOND_S = 1.005
"""A second as the gateway counts it, and a little more."""
WINDOW_S = 60.0
FEW_RPM = 120.0
"""Of so few requests a single one that leaves late is more than the margin of a minute: then a minute is counted, too."""
MINUTE_S = 60.02
"""A minute as the gateway counts it, and a little more."""
LEAVING_S = 0.02
"""How soon to look again where the calls that have their turn wait for their connections."""

TOKEN_CATCH_UP_S = 5.0
"""Calls are large and few where tokens are limited: an estimate that was too high is made up for within this time."""
CAPACITY_MARGIN = 0.995
DEVIATIONS = 3.0
"""Tokens are kept free for calls in flight that take more than estimated: so many standard deviations of their sum."""
LEARNING_RATE = 0.02


class Counted(msgspec.Struct, frozen=True, gc=False):
    """The gateway's count of requests within a minute as an answer tells it.

    ``reset_s``: until all of them are there again; None: it does not say.
    """

    limit: float
    remaining: float
    reset_s: float | None = None


class Announced(msgspec.Struct, frozen=True, gc=False):
    """What a gateway's answer says of its limits. None: nothing. ``exhausted_s``: nothing is left for so many seconds."""

    rpm: float | None = None
    tpm: float | None = None
    exhausted_s: float = 0.0
    requests: Counted | None = None


@dataclass(slots=True, eq=False)
class Turn:
    """A call that may be sent: from ``at_s`` on it counts, with its estimated tokens until the real count is known.

    ``at_s`` is put right when the call really leaves: a connection may have to be opened first, and it ``is_leaving`` until
    then. ``window``: where its tokens are held.
    """

    at_s: float
    tokens: int = 0
    window: TokenWindow | None = None
    is_leaving: bool = True

    def left(self, now_s: float) -> None:
        """The call leaves now; one that its window has forgotten stays forgotten."""
        self.is_leaving = False
        if self.at_s > -math.inf:
            self.at_s = max(self.at_s, now_s)


@dataclass(slots=True)
class RequestGrid:
    """Even spacing of requests. A slot that was missed is not made up for, but for the last ``CATCH_UP_S``.

    No second has more requests than its share of the limit (rounded up), and no minute more than the limit, however late
    they leave: a call that has its turn and has not left yet counts as well.
    """

    rpm: float
    next_s: float = 0.0
    leaving: dict[Turn, None] = field(default_factory=dict)
    recent: deque[Turn] = field(default_factory=deque)
    of_minute: deque[float] = field(default_factory=deque)

    @property
    def interval_s(self) -> float:
        """Seconds from one slot to the next."""
        return WINDOW_S / (self.rpm * MARGIN)

    def set_rpm(self, rpm: float) -> None:
        """Go on at this pace from the last slot on."""
        before_s = self.interval_s
        self.rpm = rpm
        self.next_s += self.interval_s - before_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next slot; zero or less: it is there."""
        while self.recent and self.recent[0].at_s + SECOND_S <= now_s:
            self.recent.popleft()
        wait_s = max(self.next_s - now_s, self._minute_full_for_s(now_s))
        if not self._is_full:
            return wait_s
        self.leaving = {turn: None for turn in self.leaving if turn.is_leaving}  # some left by another grid
        if not self._is_full:
            return wait_s
        return max(wait_s, self.recent[0].at_s + SECOND_S - now_s if self.recent else LEAVING_S)

    @property
    def _is_full(self) -> bool:
        return len(self.recent) + len(self.leaving) >= math.ceil(self.rpm * MARGIN * SECOND_S / WINDOW_S)

    def _minute_full_for_s(self, now_s: float) -> float:
        """Where few are allowed: seconds until the minute has room for one more; negative: it has."""
        while self.of_minute and (self.rpm > FEW_RPM or self.of_minute[0] + MINUTE_S <= now_s):
            self.of_minute.popleft()
        if self.rpm > FEW_RPM or len(self.of_minute) + len(self.leaving) < max(1, int(self.rpm)):
            return -math.inf
        return self.of_minute[0] + MINUTE_S - now_s if self.of_minute else -math.inf

    def take(self, turn: Turn) -> None:
        """A request is sent in the next slot."""
        self.next_s = max(self.next_s, turn.at_s - CATCH_UP_S) + self.interval_s
        self.leaving[turn] = None

    def left(self, turn: Turn) -> None:
        """The request has just left, after all others that did."""
        self.leaving.pop(turn, None)
        self.recent.append(turn)
        if self.rpm <= FEW_RPM:
            self.of_minute.append(turn.at_s)

    def settle(self, turn: Turn) -> None:
        """The call is over; if it never left it takes no room."""
        turn.is_leaving = False
        self.leaving.pop(turn, None)

    def recall(self, sent_s: float) -> None:
        """A request was sent at this time, by a process before this one; the oldest is told first."""
        self.next_s = max(self.next_s, sent_s + self.interval_s)
        self.left(Turn(sent_s, is_leaving=False))

    @classmethod
    def in_place_of(cls, grids: Sequence[RequestGrid]) -> RequestGrid:
        """One grid that goes on where these were, at the slowest pace of them."""
        recent = {turn: None for grid in grids for turn in grid.recent}
        return cls(
            min(grid.rpm for grid in grids),
            max(grid.next_s for grid in grids),
            {turn: None for grid in grids for turn in grid.leaving},
            deque(sorted(recent, key=lambda turn: turn.at_s)),
            deque(sorted({at_s for grid in grids for at_s in grid.of_minute})),
        )


@dataclass(slots=True)
class TokenWindow:
    """A sliding minute of tokens, used at an even pace: an estimate is reserved before a call, then settled.

    The window is filled up to what calls in flight may take beyond their estimates; how far estimates are off is learned.
    """

    tpm: float
    held: deque[Turn] = field(default_factory=deque)
    total: int = 0
    next_s: float = -math.inf
    in_flight: int = 0
    settled: int = 0
    error: float = 0.0
    error_squared: float = 0.0

    @property
    def capacity(self) -> int:
        """Tokens that fit into a minute."""
        return max(1, int(self.tpm * CAPACITY_MARGIN))

    def wait_s(self, tokens: int, now_s: float) -> float:
        """Seconds until ``tokens`` fit; more than a whole window waits until the window is empty, never for ever."""
        self._forget(now_s)
        return max(0.0, self.next_s - now_s, self._full_for_s(tokens, now_s))

    def _full_for_s(self, tokens: int, now_s: float) -> float:
        excess = self.total + min(tokens + self._beyond_estimates(), self.capacity) - self.capacity
        if excess <= 0:
            return 0.0
        latest_s = -math.inf  # they are held in the order of their turns, and may have left in another
        for turn in self.held:
            excess -= turn.tokens
            latest_s = max(latest_s, turn.at_s)
            if excess <= 0:
                return latest_s + WINDOW_S - now_s
        return WINDOW_S

    def reserve(self, turn: Turn) -> Turn:
        """Hold the tokens of a call that is sent."""
        earliest_s = turn.at_s - TOKEN_CATCH_UP_S if self.held else turn.at_s
        self.next_s = max(self.next_s, earliest_s) + self._pace_s(min(turn.tokens, self.capacity))
        self.in_flight += 1
        turn.window = self
        self._hold(turn)
        return turn

    def recall(self, tokens: int, sent_s: float) -> None:
        """Hold the tokens of a call that a process before this one sent; the oldest is told first."""
        self.next_s = max(self.next_s, sent_s) + self._pace_s(min(tokens, self.capacity))
        self._hold(Turn(sent_s, tokens))

    @classmethod
    def in_place_of(cls, windows: Sequence[TokenWindow]) -> TokenWindow:
        """One window that goes on where these were, at the slowest pace of them; it holds what they hold by now.

        Calls in flight are settled where they were held before.
        """
        knows_most = max(windows, key=lambda window: window.settled)
        one = cls(
            min(window.tpm for window in windows),
            next_s=max(window.next_s for window in windows),
            settled=knows_most.settled,
            error=knows_most.error,
            error_squared=knows_most.error_squared,
        )
        held = {(turn.at_s, turn.tokens) for window in windows for turn in window.held}
        for at_s, tokens in sorted(held):  # what two windows took over from one before is held once
            one._hold(Turn(at_s, tokens))
        return one

    def settle(self, turn: Turn, tokens: int | None) -> None:
        """Replace an estimate by the real count: 0 for a call that was never sent, None leaves the estimate."""
        self.in_flight -= 1
        if tokens is None:
            return
        error = tokens - turn.tokens
        self.next_s += self._pace_s(error)
        if tokens:
            self._learn(error)
        if turn.at_s > -math.inf:
            self.total += error
            turn.tokens = tokens

    def _learn(self, error: int) -> None:
        self.settled += 1
        rate = max(LEARNING_RATE, 1 / self.settled)
        self.error += rate * (error - self.error)
        self.error_squared += rate * (error * error - self.error_squared)

    def _beyond_estimates(self) -> float:
        """What the calls in flight, and one more, are likely to take at most beyond what is held for them."""
        calls = self.in_flight + 1
        variance = max(0.0, self.error_squared - self.error * self.error)
        return calls * self.error + DEVIATIONS * math.sqrt(calls * variance)

    def _pace_s(self, tokens: int) -> float:
        return tokens / (self.tpm * MARGIN) * WINDOW_S

    def _hold(self, turn: Turn) -> None:
        self.held.append(turn)
        self.total += turn.tokens

    def _forget(self, now_s: float) -> None:
        while self.held and self.held[0].at_s + WINDOW_S <= now_s:
            gone = self.held.popleft()
            self.total -= gone.tokens
            gone.at_s = -math.inf
