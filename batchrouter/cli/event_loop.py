"""The process of commands that make calls: uvloop where there is one, a lazy garbage collector, open files enough.

All are for programs of their own: whoever calls ``batchrouter.run`` from Python chooses these for himself.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
GC_THRESHOLDS = (50_000, 20, 100)
"""With hundreds of calls in flight the default looks through all of them many times a second, and finds nothing."""

OPEN_FILES = 10_240


def load_engine_beside() -> None:
    """Begin to load the engine and the HTTP client in a thread, when nothing else is to be loaded before the comparison.

    The interpreter is free while the input is hashed, and while certificates are read.
    """
    from threading import Thread  # noqa: PLC0415

    Thread(target=_load_engine).start()


def _load_engine() -> None:
    from importlib import import_module  # noqa: PLC0415

    import_module("batchrouter.assembly.finishing")
    gc.freeze()


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, loaded only now: a help text needs no event loop."""
    import asyncio  # noqa: PLC0415

    return asyncio.run(main)


def run_quickly(main: Coroutine[Any, Any, T]) -> T:
    """The same for a long job."""
    import asyncio  # noqa: PLC0415

    _allow_open_files()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
