"""A5: one process works on a database at a time, the second is told whose it is, and a dead one's place is free."""

import asyncio
import time
from pathlib import Path

import pytest

from batchrouter.core.errors import ExitCode, Interrupted
from tests.acceptance.conftest import Job, completion
from tests.acceptance.test_processes import config, held_after, ran, started, until

TRIES = 3


async def test_the_second_run_ends_within_a_second_and_names_the_holder(job: Job) -> None:
    config(job)
    reached = held_after(job.gateway, 0)
    job.prompts("hi")
    first = await started(job, "run", "in.jsonl", "--db", "runs.db")
    await until(reached, first)
    took_s = []
    for _ in range(TRIES):
        began_s = time.monotonic()
        with pytest.raises(Interrupted, match=f"pid {first.pid}") as error:
            await job.run()
        took_s.append(time.monotonic() - began_s)
        assert error.value.exit_code == ExitCode.INTERRUPTED
    assert min(took_s) < 1
    code, _, err = await ran(job, "resume", "--db", "runs.db")
    assert (code, f"pid {first.pid}" in err, "Traceback" in err) == (75, True, False)
    assert len(job.gateway.requests) == 1
    first.kill()
    await first.communicate()


async def test_the_place_of_a_killed_process_is_free_at_once(job: Job) -> None:
    config(job)
    reached = held_after(job.gateway, 3)
    job.prompts(*(f"question {n}" for n in range(10)))
    first = await started(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "2")
    await until(reached, first)
    first.kill()
    await first.wait()
    assert job.db.with_name("runs.db.lock").read_text().split()[0] == str(first.pid)
    job.gateway.reply = lambda _body, _n: completion()
    assert (await job.run()).exit_code == 0
    assert not job.db.with_name("runs.db.ballast").exists()
    assert job.rows("SELECT count(*) FROM results WHERE state = 'done'") == [(10,)]
    await first.communicate()
    job.check()


async def test_a_process_whose_lock_file_was_removed_gives_way_to_the_next_and_spoils_nothing(job: Job) -> None:
    config(job)
    go_on = asyncio.Event()
    reached = asyncio.Event()

    async def late() -> object:
        reached.set()
        await go_on.wait()
        return completion()

    job.gateway.reply = lambda _body, n: completion() if n < 3 else late()
    job.prompts(*(f"question {n}" for n in range(10)))
    first = await started(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "2")
    await until(reached, first)
    lock: Path = job.db.with_name("runs.db.lock")
    lock.unlink()
    job.gateway.reply = lambda _body, _n: completion()
    code, _, err = await ran(job, "resume", "--db", "runs.db")
    assert code == 0, err
    answered = set(job.rows("SELECT line, attempt, finished_at FROM results"))
    go_on.set()
    _, log = await first.communicate()
    assert first.returncode == 75, log.decode()
    assert b"Traceback" not in log
    assert set(job.rows("SELECT line, attempt, finished_at FROM results")) == answered
    assert job.rows("SELECT count(*), count(DISTINCT line) FROM results WHERE state = 'done'") == [(10, 10)]
    assert job.rows("SELECT state, exit_code FROM runs") == [("finished", 0)]
    job.check()
