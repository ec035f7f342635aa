"""Places for calls in flight whose number may change while they are taken."""

from __future__ import annotations

import asyncio


class Places(asyncio.Semaphore):
    """A semaphore that can be resized: places too many are not given again when they are left."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size
        self._surplus = 0

    def resize(self, size: int) -> None:
        """Have so many places from now on."""
        more = size - self.size
        self.size = size
        if more < 0:
            self._surplus -= more
            return
        taken_back = min(more, self._surplus)
        self._surplus -= taken_back
        for _ in range(more - taken_back):
            super().release()

    def release(self) -> None:
        """Leave a place."""
        if self._surplus:
            self._surplus -= 1
        else:
            super().release()
