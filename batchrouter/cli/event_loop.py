"""The event loop of commands; for those that make many calls uvloop, and a garbage collector that looks less often.

Both are for programs of their own: whoever calls ``batchrouter.run`` from Python chooses these for himself. asyncio is
imported when a command runs: it is a third of what ``--help`` would wait for.
"""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
GC_THRESHOLDS = (50_000, 20, 100)
"""With hundreds of calls in flight the default looks through all of them many times a second, and finds nothing."""


def run_once(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``."""
    import asyncio  # noqa: PLC0415

    return asyncio.run(main)


def run_quickly(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` for a long job."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return run_once(main)
    import asyncio  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
