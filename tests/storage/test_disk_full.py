"""A3: a full disk stops the sending, answers in hand are saved, and the next start pays nothing twice."""

import asyncio
import json
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Job, completion
from tests.acceptance.test_processes import config, ran, said, started
from tests.storage.conftest import DiskJob, Mount, ext4_image, on_disk, sh

RECORDS = 320
LATE = 4
FREE_BYTES = 20 * 1024 * 1024
"""A quarter of it is more than a whole ballast, which is as large as the write-ahead log becomes and some answers."""
LONG = "word " * 8_000


def fill_the_disk_while_some_calls_are_in_flight(job: Job) -> asyncio.Event:
    """The first records' answers wait for the event; the others, 40 kB each, fill the disk beside them."""
    go_on = asyncio.Event()

    async def late() -> Any:
        await go_on.wait()
        return completion(LONG)

    def reply(body: dict[str, Any], _n: int) -> Any:
        return late() if "late" in body["messages"][-1]["content"] else completion(LONG)

    job.gateway.reply = reply
    job.prompts(*(f"{'late' if n < LATE else 'question'} {n}" for n in range(RECORDS)))
    return go_on


async def run_until_the_disk_is_full(job: Job, **process: Any) -> str:
    """Its log after 74; the late answers come when it says that it stops."""
    go_on = fill_the_disk_while_some_calls_are_in_flight(job)
    config(job)
    running = await started(job, "run", "in.jsonl", "--db", str(job.db), "--concurrency", "8", **process)
    log = await said(running, "no new calls")
    sent = len(job.gateway.requests)
    go_on.set()
    _, err = await running.communicate()
    log += err.decode()
    assert running.returncode == 74, log
    assert len(job.gateway.requests) == sent, "something was sent after the failed write"
    assert "Traceback" not in log
    return log


def done(job: Job) -> int:
    return int(job.rows("SELECT count(*) FROM results WHERE state = 'done'")[0][0])


async def finish(job: Job) -> None:
    """The next start does the rest and pays for nothing that was saved."""
    job.check()
    code, out, err = await ran(job, "resume", "--db", str(job.db), "--json")
    assert code == 0, err
    run = json.loads(out)["run"]
    assert job.rows("SELECT count(*), count(DISTINCT line) FROM results WHERE state = 'done'") == [(RECORDS, RECORDS)]
    assert len(job.gateway.requests) - RECORDS <= run["unknown_calls"]
    job.check()


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_a_full_disk_loses_no_answer_and_the_next_start_with_more_room_pays_nothing_twice(
    job: Job, mount: Mount, kind: str
) -> None:
    image = ["-o", "loop", ext4_image(job.folder / "image", 64)]
    disk = mount("disk", *(image if kind == "ext4" else ["-t", "tmpfs", "-o", "size=32m", "tmpfs"]))
    other = disk / "somebody else's"
    other.write_bytes(os.urandom(max(0, shutil.disk_usage(disk).free - FREE_BYTES)))
    job = on_disk(job, disk)
    err = await run_until_the_disk_is_full(job)
    assert "little room beside" not in err
    assert "Every answer that came is saved. Free some space" in err
    assert done(job) == len(job.gateway.requests)
    assert job.rows("SELECT count(*) FROM results WHERE state = 'done' AND line <= 4") == [(LATE,)]
    assert job.rows("SELECT state, exit_code FROM runs") == [("stopped", 74)]
    assert not (disk / "runs.db.ballast").exists()
    other.unlink()
    if kind == "tmpfs":
        sh("mount", "-o", "remount,size=64m", disk)
    job.gateway.reply = lambda _body, _n: completion()
    await finish(job)
    assert len(job.gateway.requests) == RECORDS


@pytest.mark.parametrize("size", ["600k", "1m"])
async def test_a_disk_too_small_for_a_whole_ballast_loses_no_more_than_is_told(
    job: Job, mount: Mount, size: str
) -> None:
    disk = mount("disk", "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    job = on_disk(job, disk)
    err = await run_until_the_disk_is_full(job)
    assert "little room beside" in err
    sh("mount", "-o", "remount,size=64m", disk)
    sys.stdout.write(f"{len(job.gateway.requests)} answers were paid, {done(job)} are saved\n")
    await finish(job)


@pytest.mark.parametrize("size", ["4k", "40k", "120k"])
async def test_a_disk_too_small_to_begin_is_a_sentence_and_74(job: Job, mount: Mount, size: str) -> None:
    disk = mount("disk", "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    job = on_disk(job, disk)
    config(job)
    job.prompts("hi")
    code, out, err = await ran(job, "run", "in.jsonl", "--db", str(job.db))
    assert (code, out, "Traceback" in err) == (74, "", False), err
    assert "error: " in err
    assert "hint: " in err
    assert job.gateway.requests == []
    sh("mount", "-o", "remount,size=64m", disk)
    assert (await ran(job, "run", "in.jsonl", "--db", str(job.db)))[0] == 0


async def test_a_limit_of_file_sizes_is_met_like_a_full_disk(job: Job) -> None:
    two_mib = 2 * 1024 * 1024
    job = DiskJob(job.folder, job.gateway, job.settings, disk=job.folder)
    await run_until_the_disk_is_full(
        job, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (two_mib, two_mib))
    )
    await finish(job)


async def test_a_ballast_left_by_a_crash_is_replaced_and_a_clean_end_leaves_none(job: Job) -> None:
    left: Path = job.folder / "runs.db.ballast"
    left.write_bytes(b"x" * 10_000_000)
    sizes: list[int] = []

    async def look() -> Any:
        sizes.append(left.stat().st_size)
        return completion()

    job.gateway.reply = lambda _body, _n: look()
    job.prompts("hi")
    assert (await job.run(concurrency=1)).exit_code == 0
    assert sizes == [4 * 1024 * 1024 + 8 * 1024 + 100 * 10]
    assert not left.exists()
