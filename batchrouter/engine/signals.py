"""Signals that end a run: the first lets calls in flight finish within the grace, the second gives them up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batchrouter.core.errors import ExitCode
from batchrouter.engine.stopping import Stop
from batchrouter.ports import RunEnd

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_by_signals(stop: Stop, grace_s: float, notice: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP ask the run to stop.

    ``notice`` is told what each signal does. A signal inherited as ignored stays ignored (``nohup``). Outside the main thread nothing is installed.
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
            stop.request(RunEnd(ExitCode.INTERRUPTED, f"stopped by {number.name}", hint), grace_s=grace_s)
        elif len(received) == 2:
            notice(f"{number.name}: leaving at once")
            stop.leave_now()
        else:
            os._exit(ExitCode.INTERRUPTED)

    heeded = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)
