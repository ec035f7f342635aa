"""F2: who only reads needs no right to write, on a disk that is mounted for reading alone either."""

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import Job, completion
from tests.acceptance.test_processes import config, held_after, ran, started, until
from tests.storage.conftest import Mount, sh

READERS = (["status"], ["report"], ["export"], ["verify"], ["cache"])


@pytest.fixture
def read_only(job: Job, mount: Mount, tmp_path: Path) -> Path:
    """The folder of the job's database, mounted a second time for reading alone, once there is something in it."""
    (tmp_path / "written").mkdir()
    place = mount("read-only", "--bind", tmp_path / "written")
    sh("mount", "-o", "remount,bind,ro", place)
    return place


async def test_readers_work_on_a_disk_that_is_mounted_for_reading_alone(job: Job, read_only: Path) -> None:
    config(job)
    job.prompts(*(f"question {n}" for n in range(20)))
    reached = held_after(job.gateway, 5)
    process = await started(job, "run", "in.jsonl", "--db", "written/runs.db", "--concurrency", "4")
    await until(reached, process)
    await all_can_read(job, read_only, "running")
    process.kill()
    await process.communicate()
    await all_can_read(job, read_only, "interrupted")
    job.gateway.reply = lambda _body, _n: completion()
    assert (await ran(job, "resume", "--db", "written/runs.db"))[0] == 0
    assert [path.name for path in read_only.glob("runs.db-*")] == [], "no log is left"
    await all_can_read(job, read_only, "finished")


async def all_can_read(job: Job, folder: Path, state: str) -> None:
    for command in READERS:
        code, out, err = await ran(job, *command, "--db", str(folder / "runs.db"))
        assert (code, "error" in err) == (0, False), (command, out, err)
    _, out, _ = await ran(job, "status", "--db", str(folder / "runs.db"), "--json")
    assert json.loads(out)["runs"][0]["state"] == state
