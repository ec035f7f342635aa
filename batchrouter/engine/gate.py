"""The gate of one limit: an even grid of requests, a window of tokens, and pauses, for all models that share it.

Calls stand in a line. The one in front waits for its slot; when it has it, it lets those behind it through whose time has
come too. A busy event loop comes late to a slot, and were each call woken only by the one before it, it would never make
up for that.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence

from batchrouter.core.limits import RequestGrid, TokenWindow, Turn
from batchrouter.ports import Clock, Pacer

TRIAL_EVERY_S = 1.0
"""After a refusal calls go out one by one at this distance until one is answered."""


TIMER_S = 0.001
"""The least that a timer of the event loop measures."""


class Gate:
    """When the next call may be sent. ``guard`` is asked last, by one call at a time."""

    def __init__(
        self, grid: RequestGrid | None = None, window: TokenWindow | None = None, guard: Pacer | None = None
    ) -> None:
        self.grid = grid
        self.window = window
        self._guard = guard
        self._line: deque[tuple[int, asyncio.Future[Turn | None]]] = deque()
        self._has_front = False
        self.paused_until_s = self.held_until_s = -math.inf
        self.is_careful = False
        self.refused_at_s = self.last_turn_s = -math.inf

    @classmethod
    def in_place_of(cls, gates: Sequence[Gate]) -> Gate:
        """One gate that goes on where these were: with what was sent through them, and with their pauses."""
        grids = [gate.grid for gate in gates if gate.grid]
        windows = [gate.window for gate in gates if gate.window]
        one = cls(
            RequestGrid.in_place_of(grids) if grids else None,
            TokenWindow.in_place_of(windows) if windows else None,
        )
        one.paused_until_s = max(gate.paused_until_s for gate in gates)
        one.held_until_s = max(gate.held_until_s for gate in gates)
        one.is_careful = any(gate.is_careful for gate in gates)
        one.refused_at_s = max(gate.refused_at_s for gate in gates)
        one.last_turn_s = max(gate.last_turn_s for gate in gates)
        return one

    def is_open(self, now_s: float) -> bool:
        """Whether nothing holds any call back."""
        is_free = self.grid is None and self.window is None and not self.is_careful
        return is_free and max(self.paused_until_s, self.held_until_s) <= now_s

    def wait_s(self, tokens: int, now_s: float) -> float:
        """Seconds until a call of about so many tokens may be sent; zero or less: now."""
        wait_s = max(self.paused_until_s, self.held_until_s) - now_s
        if self.is_careful:
            wait_s = max(wait_s, self.last_turn_s + TRIAL_EVERY_S - now_s)
        if self.grid:
            wait_s = max(wait_s, self.grid.wait_s(now_s))
        if self.window:
            wait_s = max(wait_s, self.window.wait_s(tokens, now_s))
        return wait_s

    async def line_up(self, tokens: int) -> Turn | None:
        """Stand in line; the turn, or None in front: then this call waits for its slot, and leaves the front after it."""
        if not self._has_front:
            self._has_front = True
            return None
        called: asyncio.Future[Turn | None] = asyncio.get_running_loop().create_future()
        self._line.append((tokens, called))
        try:
            return await called
        except asyncio.CancelledError:
            if not called.cancelled() and called.result() is None:
                self.leave_front()
            raise

    def leave_front(self) -> None:
        """The next in line comes to the front."""
        while self._line:
            _, called = self._line.popleft()
            if not called.done():
                called.set_result(None)
                return
        self._has_front = False

    async def let_through(self, clock: Clock) -> None:
        """From the front: turns for those behind whose time has come."""
        while self._line and self.wait_s(self._line[0][0], clock.monotonic_s()) <= 0:
            tokens, called = self._line[0]
            turn = None if called.done() else await self.take(tokens, clock)
            if not called.done():
                called.set_result(turn)
            self._line.popleft()

    async def take(self, tokens: int, clock: Clock) -> Turn:
        """A call is sent now; its tokens are held."""
        if self._guard:
            await self._guard.wait()
        self.last_turn_s = now_s = clock.monotonic_s()
        turn = Turn(now_s, tokens)
        if self.grid:
            self.grid.take(turn)
        if self.window:
            self.window.reserve(turn)
        return turn
