"""Rate limits as pure arithmetic over clock readings (seconds, monotonic): a grid for requests, a window for tokens."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

MARGIN = 0.99
"""The share of an announced limit that is used, so that clocks and network jitter never carry us over it."""
CATCH_UP_S = 0.02
WINDOW_S = 60.0


class Announced(msgspec.Struct, frozen=True, gc=False):
    """What a gateway's answer says of its limits. None: nothing. ``exhausted_s``: nothing is left for so many seconds."""

    rpm: float | None = None
    tpm: float | None = None
    exhausted_s: float = 0.0


@dataclass(slots=True)
class RequestGrid:
    """Even spacing of requests. A slot that was missed is not made up for, but for a jitter of ``CATCH_UP_S``."""

    rpm: float
    next_s: float = 0.0

    @property
    def interval_s(self) -> float:
        """Seconds from one slot to the next."""
        return WINDOW_S / (self.rpm * MARGIN)

    def take(self, now_s: float) -> float:
        """The time of the next free slot, which is then taken."""
        slot_s = max(self.next_s, now_s - CATCH_UP_S)
        self.next_s = slot_s + self.interval_s
        return slot_s

    def recall(self, sent_s: float) -> None:
        """A request was sent at this time, by a process before this one."""
        self.next_s = max(self.next_s, sent_s + self.interval_s)


@dataclass(slots=True)
class TokenReservation:
    """Tokens held in the window from ``at_s`` on: the estimate first, the real count once it is known."""

    at_s: float
    tokens: int


@dataclass(slots=True)
class TokenWindow:
    """A sliding minute of tokens: an estimate is reserved before a call and settled with what was really used."""

    tpm: float
    held: deque[TokenReservation] = field(default_factory=deque)
    total: int = 0

    @property
    def capacity(self) -> int:
        """Tokens that fit into a minute."""
        return max(1, int(self.tpm * MARGIN))

    def wait_s(self, tokens: int, now_s: float) -> float:
        """Seconds until ``tokens`` fit; more than a whole window waits until the window is empty, never for ever."""
        self._forget(now_s)
        excess = self.total + min(tokens, self.capacity) - self.capacity
        if excess <= 0:
            return 0.0
        for reservation in self.held:
            excess -= reservation.tokens
            if excess <= 0:
                return max(0.0, reservation.at_s + WINDOW_S - now_s)
        return WINDOW_S

    def reserve(self, tokens: int, now_s: float) -> TokenReservation:
        """Hold tokens from now on."""
        reservation = TokenReservation(now_s, tokens)
        self.held.append(reservation)
        self.total += tokens
        return reservation

    def settle(self, reservation: TokenReservation, tokens: int) -> None:
        """Replace an estimate by the real count (0 for a call that was refused or never sent)."""
        if reservation.at_s > float("-inf"):
            self.total += tokens - reservation.tokens
            reservation.tokens = tokens

    def _forget(self, now_s: float) -> None:
        while self.held and self.held[0].at_s + WINDOW_S <= now_s:
            gone = self.held.popleft()
            self.total -= gone.tokens
            gone.at_s = float("-inf")
