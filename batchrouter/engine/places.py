"""Places for calls in flight whose number may change while they are taken."""

from __future__ import annotations

import asyncio
from collections import deque


class Places:
    """So many may be within an ``async with`` block at once, who came first is first; it can be resized.

    Where places are taken away, those who are within stay, and nobody follows them until there is room.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a place; who has one gives it back with ``leave``."""
        if self._taken < self.size and not self._waiting:
            self._taken += 1
            return
        given = asyncio.get_running_loop().create_future()
        self._waiting.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():
                self.leave()
            elif given in self._waiting:
                self._waiting.remove(given)
            raise

    __aenter__ = take

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give a place back, to who waits first."""
        self._taken -= 1
        self._give()

    def locked(self) -> bool:
        """Whether all places are taken."""
        return self._taken >= self.size

    def resize(self, size: int) -> None:
        """Have so many places from now on."""
        self.size = size
        self._give()

    def _give(self) -> None:
        while self._waiting and self._taken < self.size:
            given = self._waiting.popleft()
            if not given.done():
                self._taken += 1
                given.set_result(None)
