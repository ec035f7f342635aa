"""The gate of one limit: an even grid of requests, a window of tokens, and pauses, for all models that share it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from batchrouter.core.limits import RequestGrid, TokenWindow, Turn

TRIAL_EVERY_S = 1.0
"""After a refusal calls go out one by one at this distance until one is answered."""


class Gate:
    """When the next call may be sent. ``lock`` is held by the one call that waits for its slot, in front of all others."""

    def __init__(self, grid: RequestGrid | None = None, window: TokenWindow | None = None) -> None:
        self.grid = grid
        self.window = window
        self.lock = asyncio.Lock()
        self.paused_until_s = self.held_until_s = -math.inf
        self.is_careful = False
        self.last_turn_s = -math.inf

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
        one.last_turn_s = max(gate.last_turn_s for gate in gates)
        return one

    def is_open(self, now_s: float) -> bool:
        """Whether nothing holds any call back."""
        return self.grid is None and self.window is None and not self.is_careful and self.paused_until_s <= now_s

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

    def take(self, tokens: int, now_s: float) -> Turn:
        """A call is sent now; its tokens are held."""
        self.last_turn_s = now_s
        turn = Turn(now_s, tokens)
        if self.grid:
            self.grid.take(turn)
        if self.window:
            self.window.reserve(turn)
        return turn
