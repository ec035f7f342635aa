"""An event loop whose time jumps to the next timer, so that an hour costs nothing and the same seed gives the same run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Nothing is ready and no timer is set: the program would wait for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` is virtual seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            if not timers and not self._stopping:  # type: ignore[attr-defined]
                raise Deadlock
            self.now_s = max(self.now_s, min(timers, default=self.now_s))
        super()._run_once()  # type: ignore[misc]


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
