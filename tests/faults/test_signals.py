"""Signals at random instants: calls in flight end within the grace, so nothing is paid twice."""

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from tests.faults import child
from tests.faults.conftest import settings_for
from tests.faults.gateway import FaultGateway

RECORDS = 150
SIGNALS = 30
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def signalled(folder: Path, processes: Any, times: int, seed: int) -> None:
    """So many signals, in as many jobs as that takes; each job is then run to its end."""
    sys.stdout.write(f"seed {seed}\n")
    chance, sent, job = random.Random(seed), 0, 0
    while sent < times:
        job += 1
        place = folder / str(job)
        place.mkdir()
        lines = (json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(RECORDS))
        (place / "in.jsonl").write_text("".join(lines))
        async with FaultGateway(place / "ledger", latency_s=0.01) as gateway:
            code = None
            while code != 0:
                code = await _signal_once(place, gateway, processes, chance, more=sent < times)
                sent += code == 75
            assert gateway.requests == RECORDS
            assert set(gateway.paid.values()) == {1}
            run = api.report(db=place / "runs.db").run
            assert (run.done, run.unknown_calls) == (RECORDS, 0)
            assert [finding.what for finding in api.verify(place / "runs.db") if finding.level != "ok"] == []
    sys.stdout.write(f"{sent} signals: no call was paid twice\n")


async def _signal_once(place: Path, gateway: FaultGateway, processes: Any, chance: random.Random, *, more: bool) -> int:
    """One process, and a signal once it makes calls, if there are to be more; its exit code."""
    process = processes.Process(target=child.main, args=(place, settings_for(gateway.base_url)))
    process.start()
    ended = asyncio.create_task(asyncio.to_thread(process.join))
    if more:
        seen = asyncio.create_task(gateway.has_seen(gateway.requests + chance.randint(1, 40)))
        await asyncio.wait((seen, ended), return_when=asyncio.FIRST_COMPLETED)
        seen.cancel()
        await asyncio.wait((ended,), timeout=chance.random() * 0.02)
        if process.is_alive():
            process_signal(process, chance.choice(ENDING))
    await ended
    assert process.exitcode in (0, 75)
    return int(process.exitcode)


def process_signal(process: Any, number: signal.Signals) -> None:
    """Send it, unless the process has just ended."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


async def test_signals_at_random_instants_pay_nothing_twice(tmp_path: Path, processes: Any) -> None:
    await signalled(tmp_path, processes, SIGNALS, seed=1)


@pytest.mark.long
async def test_two_hundred_signals_pay_nothing_twice(tmp_path: Path, processes: Any) -> None:
    await signalled(tmp_path, processes, 200, seed=random.randrange(10**6))
