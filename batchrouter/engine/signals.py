"""Signals that end a run: the first lets calls in flight finish within the grace, the second gives them up.

A disk or a thread that hangs cannot be waited for: a process that wants it is ended by force some time after the grace.
What is durable by then is all that counts at the next start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batchrouter.core.errors import ExitCode
from batchrouter.engine.stopping import Stop
from batchrouter.ports import RunEnd

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_by_signals(
    stop: Stop, grace_s: float, notice: Callable[[str], None], *, force_after_s: float | None = None
) -> Iterator[None]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP ask the run to stop.

    ``notice`` is told what each signal does; ``force_after_s`` (None: never) after the grace the process is ended. A signal inherited as ignored stays ignored (``nohup``). Outside the main thread nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1:
            hint = "The same command goes on where it stopped."
            notice(f"{number.name}: no new calls; those in flight get {grace_s:g} s, a second signal leaves at once")
            stop.request(RunEnd(ExitCode.INTERRUPTED, f"interrupted by {number.name}", hint), grace_s=grace_s)
            if force_after_s is not None:
                _end_by_force(grace_s + force_after_s)
        elif len(received) == 2:
            notice(f"{number.name}: leaving at once")
            stop.leave_now()
        else:
            os._exit(ExitCode.INTERRUPTED)

    before = {number: signal.getsignal(number) for number in _ENDING}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number] or signal.SIG_DFL)


def _end_by_force(after_s: float) -> None:
    def leave() -> None:
        sys.stderr.write(
            f"error: not at its end {after_s:g} s after the signal: leaving; what is committed is intact\n"
        )
        sys.stderr.flush()
        os._exit(ExitCode.INTERRUPTED)

    timer = threading.Timer(after_s, leave)
    timer.daemon = True
    timer.start()
