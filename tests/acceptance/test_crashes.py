"""What crashes leave behind: frozen processes keep their answers, and a record that kills the program is found out."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import Job, completion
from tests.acceptance.test_processes import config, ran, started, until


async def test_a_frozen_process_keeps_every_answer_that_arrived_meanwhile(job: Job) -> None:
    path = config(job)
    path.write_text(path.read_text().replace("[gateway]", "[gateway]\ntimeout_s = 2").replace("= 8", "= 50"))
    all_here, go_on = asyncio.Event(), asyncio.Event()

    async def answer_when_frozen() -> Any:
        if len(job.gateway.requests) == 50:
            all_here.set()
        await go_on.wait()
        return completion()

    job.gateway.reply = lambda _body, _n: answer_when_frozen()
    job.prompts(*(f"question {n}" for n in range(50)))
    process = await started(job, "run", "in.jsonl", "--db", "runs.db")
    await until(all_here, process)
    process.send_signal(signal.SIGSTOP)
    go_on.set()
    await asyncio.sleep(3)  # longer than timeout_s: the passing of time is what is tested
    process.send_signal(signal.SIGCONT)
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert len(job.gateway.requests) == 50
    job.check()


async def test_a_thawed_process_makes_no_burst_above_its_limit(job: Job) -> None:
    path = config(job)
    path.write_text(path.read_text().replace("concurrency = 8", "concurrency = 8\nrpm = 600"))
    times: list[float] = []
    begun = asyncio.Event()

    def reply(_body: dict[str, Any], n: int) -> Any:
        times.append(time.monotonic())
        if n == 5:
            begun.set()
        return completion()

    job.gateway.reply = reply
    job.prompts(*(f"question {n}" for n in range(40)))
    process = await started(job, "run", "in.jsonl", "--db", "runs.db")
    await until(begun, process)
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(3)  # thirty calls' time: the passing of time is what is tested
    process.send_signal(signal.SIGCONT)
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    most = max(sum(start_s <= time_s < start_s + 2 for time_s in times) for start_s in times)
    assert most <= 2 * 10 + 10, "half as much again for a busy machine, where all thirty at once would be a burst"
    job.check()


async def test_a_record_that_kills_the_program_fails_after_three_crashes_and_all_others_are_answered(job: Job) -> None:
    config(job)
    pid = 0

    def reply(body: dict[str, Any], _n: int) -> Any:
        if "poison" in body["messages"][-1]["content"]:
            os.kill(pid, signal.SIGKILL)
            return asyncio.sleep(3600)
        return completion()

    job.gateway.reply = reply
    job.prompts(*("poison" if n == 30 else f"question {n}" for n in range(60)))
    codes = []
    while len(codes) < 10 and (not codes or codes[-1] == -signal.SIGKILL):
        process = await started(job, "run", "in.jsonl", "--db", "runs.db")
        pid = process.pid
        await process.communicate()
        codes.append(process.returncode)
    assert codes == [-signal.SIGKILL] * 3 + [3]
    assert job.rows("SELECT status, count(*) FROM answers GROUP BY 1 ORDER BY 1") == [("done", 59), ("failed", 1)]
    assert job.rows("SELECT line, error_class FROM results WHERE state = 'failed'") == [(31, "poison")]
    job.check()


async def test_three_kills_at_the_start_hurt_no_healthy_record(job: Job) -> None:
    config(job)
    job.prompts(*(f"question {n}" for n in range(60)))
    for _ in range(3):
        reached = asyncio.Event()

        async def hold(reached: asyncio.Event = reached) -> Any:
            reached.set()
            await asyncio.Event().wait()

        job.gateway.reply = lambda _body, _n, hold=hold: hold()
        process = await started(job, "run", "in.jsonl", "--db", "runs.db")
        await until(reached, process)
        process.kill()
        await process.communicate()
    job.gateway.reply = lambda _body, _n: completion()
    code, _, err = await ran(job, "run", "in.jsonl", "--db", "runs.db")
    assert code == 0, err
    assert job.rows("SELECT count(*) FROM answers WHERE status = 'done'") == [(60,)]
    job.check()


async def test_a_run_over_a_pipe_that_never_ends_heeds_a_signal(job: Job) -> None:
    config(job)
    os.mkfifo(job.folder / "pipe.jsonl")
    served = asyncio.Event()

    def reply(_body: dict[str, Any], _n: int) -> Any:
        served.set()
        return completion()

    job.gateway.reply = reply
    process = await started(job, "run", "pipe.jsonl", "--db", "runs.db")
    pipe = await asyncio.to_thread(open, job.folder / "pipe.jsonl", "w")
    await asyncio.to_thread(pipe.write, '{"prompt": "%s"}\n' % ("many words " * 200) * 1200)
    await asyncio.to_thread(pipe.flush)
    await until(served, process)
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    pipe.close()
    assert process.returncode == 75, err.decode()
    sys.stdout.write(err.decode())
    job.check()


async def test_a_process_that_hangs_after_its_grace_is_ended_by_force(job: Job) -> None:
    config(job)
    served = asyncio.Event()

    async def hold() -> Any:
        served.set()
        await asyncio.Event().wait()

    job.gateway.reply = lambda _body, _n: hold()
    job.prompts("hi")
    (job.folder / "sitecustomize.py").write_text(
        "import threading\n"
        "from batchrouter.cli import options\n"
        "from batchrouter.store import runs\n"
        "options.FORCE_AFTER_S = 0.5\n"
        "async def hang(*_arguments, **_more): threading.Event().wait()\n"
        "runs.end = hang\n"
    )
    process = await started(
        job, "run", "in.jsonl", "--db", "runs.db", "--grace", "0.2", PYTHONPATH=f"{job.folder}:{Path.cwd()}"
    )
    await until(served, process)
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    assert process.returncode == 75
    assert "what is committed is intact" in err.decode()
