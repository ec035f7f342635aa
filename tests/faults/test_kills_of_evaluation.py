"""kill -9 at random instants of an evaluation: what is committed is paid once, and the records stay as they were."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.commit_lead import lead_most
from tests.faults import child
from tests.faults.conftest import run_in, settings_for
from tests.faults.gateway import FaultGateway
from tests.faults.invariants import Broken, check_database, rows

KILLS = 40
KILLS_A_JOB = 8
RECORDS = 60
LATENCY_S = 0.01
CALLS_OF_A_MODEL = 4
CALLS_IN_FLIGHT = 2 * CALLS_OF_A_MODEL
"""Two models are asked: the dearer one and the judge."""
OPEN_MOST = CALLS_IN_FLIGHT + 2 * lead_most(CALLS_OF_A_MODEL)
ANSWERS = "SELECT line, status, tier, answer, cost_nano, attempts FROM answers ORDER BY line"
RUN = "SELECT state, exit_code, stop_reason, finished_at FROM runs"


def says(body: dict[str, Any]) -> str:
    """The cheap model answers otherwise on two of three records; the judge finds the dearer answer better."""
    last = body["messages"][-1]["content"]
    if last.startswith("{"):
        pair = json.loads(last)
        return "worse" if pair["answer_a"] == "cheap" else "better"
    return "cheap" if body["model"] == "small" and int(last.split()[1]) % 3 else "good"


def settings(gateway: FaultGateway) -> dict[str, Any]:
    own = settings_for(gateway.base_url)
    return own | {"model": {name: {**model, "concurrency": CALLS_OF_A_MODEL} for name, model in own["model"].items()}}


class Evaluations:
    """Evaluations that are killed again and again; ``lost`` has the calls paid for nothing by each kill."""

    def __init__(self, folder: Path, processes: Any, seed: int, bug: str = "") -> None:
        sys.stdout.write(f"seed {seed}\n")
        self._folder = folder
        self._processes = processes
        self._chance = random.Random(seed)
        self._bug = bug
        self.lost: list[int] = []

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
        async with FaultGateway(folder / "paid_for_answers", says=says) as gateway:
            await run_in(folder, settings(gateway))
        before = rows(folder, ANSWERS), rows(folder, RUN)
        async with FaultGateway(folder / "paid_for_evaluation", says=says, latency_s=LATENCY_S) as gateway:
            lost: list[int] = []
            while len(lost) < kills and await self._kill_once(folder, gateway):
                lost.append(sum(gateway.paid.values()) - durable(folder) - sum(lost))
            self.lost += lost
            process = self._start(folder, gateway)
            await asyncio.to_thread(process.join)
            _holds(process.exitcode == 0, f"exit code {process.exitcode}")
            check(folder, gateway, kills=len(lost))
        _holds((rows(folder, ANSWERS), rows(folder, RUN)) == before, "the records and their run stay as they were")

    def _start(self, folder: Path, gateway: FaultGateway) -> Any:
        process = self._processes.Process(target=child.evaluate, args=(folder, settings(gateway), RECORDS, self._bug))
        process.start()
        return process

    async def _kill_once(self, folder: Path, gateway: FaultGateway) -> bool:
        """Kill at some instant from the start on; False if the evaluation was done before."""
        process = self._start(folder, gateway)
        ended = asyncio.create_task(asyncio.to_thread(process.join))
        if self._chance.random() < 0.8:
            seen = asyncio.create_task(gateway.has_seen(gateway.requests + self._chance.randint(1, 25)))
            await asyncio.wait((seen, ended), return_when=asyncio.FIRST_COMPLETED)
            seen.cancel()
        await asyncio.wait((ended,), timeout=self._chance.random() * 0.1)
        process.kill()
        await ended
        await gateway.has_read_all()
        return bool(process.exitcode == -signal.SIGKILL)


def durable(folder: Path) -> int:
    """Calls of the evaluation whose end outlived the process."""
    return int(rows(folder, "SELECT count(*) FROM attempts WHERE purpose = 'judge' AND state = 'ok'")[0][0])


def check(folder: Path, gateway: FaultGateway, *, kills: int) -> None:
    """Raise ``Broken`` unless each pair was judged once and all that was paid for nothing is told."""
    verdicts = dict(rows(folder, "SELECT how, count(*) FROM judgements WHERE verdict IS NOT NULL GROUP BY how"))
    _holds(verdicts == {"exact": RECORDS // 3, "judge": RECORDS * 2 // 3}, f"verdicts {verdicts}")
    calls = "SELECT j.how, count(*) FROM judgements j JOIN attempts a USING (run, line) WHERE a.purpose = 'judge' AND a.state = 'ok'"
    paid = set(rows(folder, f"{calls} GROUP BY j.line"))
    _holds(paid == {("exact", 1), ("judge", 3)}, f"good calls of a pair: {paid}")
    lost = rows(folder, "SELECT count(*) FROM attempts WHERE state = 'unknown'")[0][0]
    twice = sum(gateway.paid.values()) - durable(folder)
    _holds(
        twice <= min(lost, kills * CALLS_IN_FLIGHT) and lost <= kills * OPEN_MOST,
        f"{twice} calls paid for nothing, {lost} told, {kills} kills",
    )
    _holds(api.report(db=folder / "runs.db").run.unknown_calls == lost, "lost calls are told")
    (cost,) = rows(folder, "SELECT sum(cost_nano) FROM attempts WHERE purpose = 'judge' AND state = 'ok'")[0]
    _holds(round((api.report(db=folder / "runs.db").run.judge_cost or 0) * 10**9) == cost, "costs add up")
    check_database(folder)


def _holds(condition: bool, what: str) -> None:
    if not condition:
        raise Broken(what)


async def _killed(loop: Evaluations, times: int) -> None:
    await loop.kill(times)
    sys.stdout.write(f"{len(loop.lost)} kills; calls paid for nothing by each: {sorted(loop.lost)}\n")
    assert max(loop.lost) <= CALLS_IN_FLIGHT


async def test_after_kills_each_pair_is_judged_once_and_what_was_paid_twice_is_told(
    tmp_path: Path, processes: Any
) -> None:
    await _killed(Evaluations(tmp_path, processes, 1), KILLS)


@pytest.mark.long
async def test_after_five_hundred_kills_of_evaluations(tmp_path: Path, processes: Any) -> None:
    await _killed(Evaluations(tmp_path, processes, random.randrange(10**6)), 500)


async def test_the_kill_loop_finds_a_verdict_that_is_written_after_its_call(tmp_path: Path, processes: Any) -> None:
    with pytest.raises(Broken, match="good calls of a pair"):
        await Evaluations(tmp_path, processes, 1, "verdict in a second transaction").kill(100)
