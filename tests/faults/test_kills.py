"""kill -9 at random instants, during resume and the resume of a resume: what the gateway was paid is what was told."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults import child
from tests.faults.conftest import CALLS_IN_FLIGHT, settings_for
from tests.faults.gateway import FaultGateway
from tests.faults.invariants import Broken, check_done, durable_answers

KILLS = 300
KILLS_A_SEED = 100
KILLS_A_JOB = 10
RECORDS = 150
LATENCY_S = 0.01


class KillLoop:
    """Jobs that are killed again and again; ``lost`` has the calls paid for nothing by each kill."""

    def __init__(self, folder: Path, processes: Any, seed: int, bug: str = "") -> None:
        sys.stdout.write(f"seed {seed}\n")
        self._folder = folder
        self._processes = processes
        self._chance = random.Random(seed)
        self._bug = bug
        self.lost: list[int] = []
        self.poisoned = 0

    async def kill(self, times: int) -> None:
        """So many kills, in as many jobs as that takes."""
        job = 0
        while len(self.lost) < times:
            job += 1
            folder = self._folder / str(job)
            folder.mkdir()
            await self._job(folder, min(times - len(self.lost), KILLS_A_JOB))

    async def _job(self, folder: Path, kills: int) -> None:
        lines = (json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(RECORDS))
        (folder / "in.jsonl").write_text("".join(lines))
        async with FaultGateway(folder / "ledger", latency_s=LATENCY_S) as gateway:
            lost: list[int] = []
            while len(lost) < kills and await self._kill_once(folder, gateway):
                lost.append(sum(gateway.paid.values()) - durable_answers(folder) - sum(lost))
            self.lost += lost
            process = self._start(folder, gateway)
            await asyncio.to_thread(process.join)
            self.poisoned += check_done(folder, gateway, records=RECORDS, kills=len(lost), code=process.exitcode)

    def _start(self, folder: Path, gateway: FaultGateway) -> Any:
        process = self._processes.Process(target=child.main, args=(folder, settings_for(gateway.base_url), self._bug))
        process.start()
        return process

    async def _kill_once(self, folder: Path, gateway: FaultGateway) -> bool:
        """Kill at some instant from the start on; False if the job was done before."""
        process = self._start(folder, gateway)
        ended = asyncio.create_task(asyncio.to_thread(process.join))
        if self._chance.random() < 0.7:
            seen = asyncio.create_task(gateway.has_seen(gateway.requests + self._chance.randint(1, 25)))
            await asyncio.wait((seen, ended), return_when=asyncio.FIRST_COMPLETED)
            seen.cancel()
        await asyncio.wait((ended,), timeout=self._chance.random() * 0.1)
        process.kill()
        await ended
        await gateway.has_read_all()
        return bool(process.exitcode == -signal.SIGKILL)


async def _killed(loop: KillLoop, times: int) -> None:
    await loop.kill(times)
    histogram = sorted(Counter(loop.lost).items())
    sys.stdout.write(f"{len(loop.lost)} kills; calls paid for nothing: {sum(loop.lost)}; a kill: {histogram}\n")
    sys.stdout.write(f"records given up as poison: {loop.poisoned}\n")
    assert max(loop.lost) <= CALLS_IN_FLIGHT


@pytest.mark.parametrize("seed", range(KILLS // KILLS_A_SEED))
async def test_after_kills_every_line_is_answered_once_and_what_was_paid_twice_is_told(
    seed: int, tmp_path: Path, processes: Any
) -> None:
    await _killed(KillLoop(tmp_path, processes, seed), KILLS_A_SEED)


@pytest.mark.long
async def test_after_a_thousand_kills(tmp_path: Path, processes: Any) -> None:
    await _killed(KillLoop(tmp_path, processes, random.randrange(10**6)), 1_000)


@pytest.mark.parametrize("bug", ["two transactions", "sent before its row"])
async def test_the_kill_loop_finds_a_planted_bug(bug: str, tmp_path: Path, processes: Any) -> None:
    with pytest.raises(Broken, match=r"told|verify|good answer"):
        await KillLoop(tmp_path, processes, 1, bug).kill(200)
