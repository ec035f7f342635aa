"""The event loop of commands that make calls: uvloop where it is installed, and a garbage collector that looks less often.

Both are for programs of their own: whoever calls ``batchrouter.run`` from Python chooses these for himself.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
GC_THRESHOLDS = (50_000, 20, 100)
"""With hundreds of calls in flight the default looks through all of them many times a second, and finds nothing."""


def run_quickly(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` for a long job."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
