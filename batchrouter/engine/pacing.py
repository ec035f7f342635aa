"""Pacing of one model, shared by all lanes that use it: concurrency, and the gate of its limits.

A call comes in at the entry: there is room for those in flight (concurrency) and a few that shall follow them. Then it
takes a deck slot, so that under a rate limit or after a refusal only the calls that are about to be sent have an attempt
open in the ledger. When its row is committed it takes its place in flight and waits for its turn at the gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from batchrouter.core.commit_lead import CommitLead, lead_most
from batchrouter.core.limits import RequestGrid, TokenWindow, Turn
from batchrouter.engine.gate import TIMER_S, Gate
from batchrouter.engine.places import Places
from batchrouter.engine.stopping import Stop
from batchrouter.ports import Clock, Pacer

DECK_S = 0.25
"""Calls that may have their row committed before their turn: as many as leave within this time at the full rate."""

DECK_FEW = 4
"""A wait for tokens, or after a refusal, may be long: so few calls have their row open meanwhile."""

NEAR_S = 0.05
"""What the commit of a call's row may take: so long before its turn it needs what is taken only for the call itself."""

LOOK_AGAIN_S, LOOK_AGAIN_SELDOM_S = 0.25, 1.0
"""Calls that are settled meanwhile may make room for tokens sooner; a model in a pause may be given up."""


def _always() -> bool:
    return True


class Pacing:
    """The limits of one model. ``rpm``, ``tpm`` None: no limit of that kind; all of them may change while calls are made."""

    def __init__(
        self, *, rpm: float | None, tpm: float | None, concurrency: int, guard: Pacer | None, clock: Clock, stop: Stop
    ) -> None:
        self.place = Places(concurrency)
        self.entry = Places(concurrency)
        self._lead: CommitLead | None = CommitLead()
        self._gate = Gate(RequestGrid(rpm) if rpm else None, TokenWindow(tpm) if tpm else None, guard)
        self._clock = clock
        self._stop = stop
        self._deck_few = DECK_FEW
        self.deck = Places(self._deck_slots)

    def spare_others(self) -> None:
        """Other models share the calls that may be in flight: none of them is held for a call ahead, one for tokens."""
        self._deck_few, self._lead = 1, None
        self.deck.resize(self._deck_slots)

    @property
    def gate(self) -> Gate:
        """What calls go through; models whose limit is one share it."""
        return self._gate

    def go_through(self, gate: Gate) -> None:
        """Let all calls that have no turn yet wait for it there."""
        self._gate = gate
        self.deck.resize(self._deck_slots)

    @property
    def _deck_slots(self) -> int:
        slots, gate = self.entry.size, self._gate
        if gate.grid:
            slots = min(slots, max(1, math.ceil(gate.grid.rpm / 60 * DECK_S)))
        return min(slots, self._deck_few) if gate.window or gate.is_careful else slots

    def set_concurrency(self, calls: int) -> None:
        """Let so many calls be in flight from now on."""
        if calls != self.place.size:
            self.place.resize(calls)
            self._resize_entry()

    def row_committed(self, began_s: float) -> None:
        """A call's row that was handed over then is durable; how long that took tells how many should be ahead."""
        if self._lead is None:
            return
        ahead = self._lead.calls
        self._lead.committed(began_s, self._clock.monotonic_s())
        if self._lead.calls != ahead:
            self._resize_entry()

    def leave_place(self) -> None:
        """A call is no longer in flight."""
        if self._lead:
            self._lead.ended()
        self.place.leave()

    def _resize_entry(self) -> None:
        ahead = self._lead.calls if self._lead else 0
        self.entry.resize(self.place.size + min(ahead, lead_most(self.place.size)))
        self.deck.resize(self._deck_slots)

    def set_rpm(self, rpm: float) -> None:
        """Keep to so many requests a minute from now on."""
        if self._gate.grid is None:
            self._gate.grid = RequestGrid(rpm)
        self._gate.grid.set_rpm(rpm)
        self.deck.resize(self._deck_slots)

    def set_tpm(self, tpm: float) -> None:
        """Keep to so many tokens a minute from now on."""
        if self._gate.window is None:
            self._gate.window = TokenWindow(tpm)
        self._gate.window.tpm = tpm
        self.deck.resize(self._deck_slots)

    def recall(self, age_s: float, tokens: int) -> None:
        """A call of so many tokens was sent so long ago by a process before this one; the oldest is told first."""
        sent_s = self._clock.monotonic_s() - age_s
        if self._gate.grid:
            self._gate.grid.recall(sent_s)
        if self._gate.window:
            self._gate.window.recall(tokens, sent_s)

    def hold(self, seconds: float) -> None:
        """Nobody gets a turn for so long; it is no pause."""
        self._gate.held_until_s = max(self._gate.held_until_s, self._clock.monotonic_s() + seconds)

    def pause(self, seconds: float) -> None:
        """Nobody gets a turn for so long, and then one at a time until ``resume``."""
        now_s = self._clock.monotonic_s()
        self._gate.paused_until_s = max(self._gate.paused_until_s, now_s + seconds)
        self._gate.is_careful, self._gate.refused_at_s = True, now_s
        self.deck.resize(self._deck_slots)

    def resume(self, sent_s: float) -> None:
        """A call of this time was answered: the others may follow at the full rate, if it left after the last refusal."""
        if self._gate.is_careful and sent_s >= self._gate.refused_at_s:
            self._gate.is_careful = False
            self.deck.resize(self._deck_slots)

    @property
    def pause_left_s(self) -> float:
        """Seconds until the pause is over; negative or zero: there is none."""
        return self._gate.paused_until_s - self._clock.monotonic_s()

    @property
    def is_paused(self) -> bool:
        """Whether a pause is running."""
        return self.pause_left_s > 0

    async def near(self, tokens: int, *, is_wanted: Callable[[], bool]) -> None:
        """Wait until the turn of a call of about so many tokens is a moment away, or it is not wanted any more."""
        while is_wanted() and (wait_s := self._gate.wait_s(tokens, self._clock.monotonic_s())) > NEAR_S:
            if not await self._stop.sleep(min(wait_s - NEAR_S, LOOK_AGAIN_S)):
                return

    async def turn(self, tokens: int, *, is_wanted: Callable[[], bool] = _always) -> Turn | None:
        """Wait until a call of about so many tokens may be sent; its tokens are held in the window from then on.

        None: nothing holds it back, or the run stops, or it is not wanted any more: the caller looks before it sends.
        """
        while not (gate := self._gate).is_open(self._clock.monotonic_s()):
            if turn := await gate.line_up(tokens):
                return turn
            try:
                await self._wait_at(gate, tokens, is_wanted)
                if self._stop.is_requested or not is_wanted():
                    return None
                if gate is self._gate:
                    turn = await gate.take(tokens, self._clock)
                    await gate.let_through(self._clock)
                    return turn
            finally:
                gate.leave_front()
        return None

    async def _wait_at(self, gate: Gate, tokens: int, is_wanted: Callable[[], bool]) -> None:
        """Wait for whatever is last; what is settled or paused meanwhile may change it."""
        while gate is self._gate and (wait_s := gate.wait_s(tokens, self._clock.monotonic_s())) > 0:
            look_again_s = LOOK_AGAIN_S if gate.window else LOOK_AGAIN_SELDOM_S
            if not (is_wanted() and await self._stop.sleep(max(TIMER_S, min(wait_s, look_again_s)))):
                return

    def left(self, turn: Turn) -> None:
        """The call of this turn has left: from here on it counts."""
        turn.left(self._clock.monotonic_s())
        if self._gate.grid:
            self._gate.grid.left(turn)

    def settle(self, turn: Turn | None, tokens: int | None) -> None:
        """Put the real count in place of the estimate; None (unknown) leaves the estimate."""
        if turn and turn.window:
            turn.window.settle(turn, tokens)
        if turn and self._gate.grid:
            self._gate.grid.settle(turn)
