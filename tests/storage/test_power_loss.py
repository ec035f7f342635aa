"""A2: what was reported as done is there after the power failed; a database that syncs less shows that this can fail."""

import asyncio
import fcntl
import json
import os
import random
import signal
import sqlite3
import struct
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import Job
from tests.storage.conftest import DiskJob, Mount, ext4_image, on_disk, sh

RECORDS = 300
EXT4_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING_THE_JOURNAL = 2
TELLING = Path(__file__).with_name("telling.py")


@pytest.fixture
def disk(mount: Mount, tmp_path: Path) -> Path:
    return mount("disk", "-o", "loop", ext4_image(tmp_path / "image", 64))


def lose_power(disk: Path) -> None:
    """Nothing that is not on the disk by now will ever be there."""
    folder = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, EXT4_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING_THE_JOURNAL))
    finally:
        os.close(folder)


def lose_power_between_two_steps(pid: int, disk: Path) -> None:
    """While the process stands still, with no sync under way.

    To one that is under way this kind of shutdown says now and then that it succeeded, also to a bare loop of INSERT and
    COMMIT.
    """
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    lose_power(disk)
    os.kill(pid, signal.SIGCONT)


async def lines_told_before_the_power_failed(job: DiskJob, tells: int, synchronous: str) -> int:
    """Run until so many records were told to be done; then the power fails. How many were told in all."""
    job.prompts(*(f"question {n}" for n in range(RECORDS)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(TELLING), str(job.input), str(job.db), json.dumps(job.settings), synchronous,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    for _ in range(tells):
        assert await process.stdout.readline(), await process.communicate()
    lose_power_between_two_steps(process.pid, job.disk)
    rest, err = await process.communicate()
    assert process.returncode == 74, err
    assert b"Traceback" not in err, err.decode()
    image = job.disk.with_name("image")
    sh("umount", job.disk)
    sh("mount", "-o", "loop", image, job.disk)
    return tells + rest.count(b"done")


def number_of(job: Job, sql: str) -> int:
    try:
        return int(job.rows(f"SELECT count(*) FROM {sql}")[0][0])
    except sqlite3.Error:  # not even its tables are left
        return 0


async def survives(job: DiskJob, seed: int) -> None:
    sys.stdout.write(f"seed {seed}\n")
    told = await lines_told_before_the_power_failed(job, random.Random(seed).randint(1, RECORDS - 50), "FULL")
    saved = number_of(job, "results WHERE state = 'done'")
    sys.stdout.write(f"{told} told, {saved} saved, {len(job.gateway.requests)} calls\n")
    assert saved >= told
    assert number_of(job, "attempts") >= len(job.gateway.requests)
    job.check()
    report = await job.run()
    assert report.exit_code == 0
    assert job.rows("SELECT count(*), count(DISTINCT line) FROM results WHERE state = 'done'") == [(RECORDS, RECORDS)]
    assert len(job.gateway.requests) - RECORDS <= report.summary.run.unknown_calls
    job.check()


@pytest.mark.parametrize("seed", range(2))
async def test_what_was_reported_as_done_survives_a_loss_of_power(job: Job, disk: Path, seed: int) -> None:
    await survives(on_disk(job, disk), seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 42))
async def test_what_was_reported_as_done_survives_many_losses_of_power(job: Job, disk: Path, seed: int) -> None:
    await survives(on_disk(job, disk), seed)


async def test_with_fewer_syncs_the_same_loss_of_power_would_be_noticed(job: Job, disk: Path) -> None:
    job = on_disk(job, disk)
    told = await lines_told_before_the_power_failed(job, 100, "NORMAL")
    assert number_of(job, "results WHERE state = 'done'") < told
