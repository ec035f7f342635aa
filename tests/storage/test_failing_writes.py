"""A4: whichever write or sync fails, once or for good: no corruption, 74, and the next start completes the run."""

import asyncio
import errno
import itertools
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchrouter.core.errors import BatchRouterError
from tests.acceptance.conftest import Job
from tests.acceptance.test_processes import config, ran

RECORDS = 16
AT_ONCE = 3
IN_CI = 20
ERRORS = (errno.EIO, errno.ENOSPC)


@dataclass(frozen=True)
class Fault:
    """The n-th write of the database's files fails, or all from then on."""

    at: int
    error: int
    lasting: bool

    def environ(self, shim: Path, mark: Path) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(shim),
            "FAULT_PATH": "runs.db",
            "FAULT_AT": str(self.at),
            "FAULT_ERRNO": str(self.error),
            "FAULT_LASTING": str(int(self.lasting)),
            "FAULT_MARK": str(mark),
        }


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("SKIPPED, NOT SHOWN: failing writes need a C compiler and Linux")
    built = tmp_path_factory.mktemp("shim") / "failing_writes.so"
    source = Path(__file__).with_name("failing_writes.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", built, source, "-ldl"], check=True)
    return built


@dataclass
class Trials:
    """Runs with one fault each, some beside one another, and what came of them."""

    job: Job
    shim: Path

    def __post_init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.hit: Counter[str] = Counter()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._looking = asyncio.Lock()

    async def trial(self, fault: Fault) -> bool:
        """Whether the fault was met before the run was over."""
        name = f"fault-{fault.at}-{fault.error}-{fault.lasting:d}"
        folder = self.job.folder / name
        folder.mkdir()
        job = Job(folder, self.job.gateway, self.job.settings)
        config(job)
        job.prompts(*(f"{name} question {n}" for n in range(RECORDS)))
        mark = folder / "mark"
        async with self._places:
            arguments = ("run", "in.jsonl", "--db", "runs.db", "--concurrency", "4")
            code, _, err = await ran(job, *arguments, **fault.environ(self.shim, mark))
        async with self._looking:
            try:
                await self._judge(job, name, code, err)
            except (AssertionError, BatchRouterError) as error:
                hit = mark.read_text() if mark.exists() else "nothing"
                raise AssertionError(f"{fault} hit {hit}: {error}\n{err}") from error
        if mark.exists():
            call, path = mark.read_text().split(" ", 1)
            self.hit[f"{call} {Path(path).name}"] += 1
        reached = mark.exists()
        shutil.rmtree(folder)
        return reached

    async def _judge(self, job: Job, name: str, code: int, err: str) -> None:
        assert code in (0, 74), code
        assert "Traceback" not in err
        outcome = "absorbed" if code == 0 else "answers saved" if "Every answer that came" in err else "stopped"
        self.outcomes[outcome] += 1
        before = set()
        if self._paid(name):
            job.check()
            before = set(job.rows("SELECT line, attempt, finished_at FROM results"))
        if outcome != "stopped":
            assert len(before) == self._paid(name), "an answer that came is not saved"
        report = await job.run()
        assert report.exit_code == 0
        assert before <= set(job.rows("SELECT line, attempt, finished_at FROM results"))
        assert job.rows("SELECT count(*), count(DISTINCT line) FROM results WHERE state = 'done'") == [(RECORDS,) * 2]
        twice = self._paid(name) - RECORDS
        assert 0 <= twice <= report.summary.run.unknown_calls <= 4
        job.check()

    def _paid(self, name: str) -> int:
        return sum(f"{name} " in prompt for prompt in self.job.gateway.prompts())

    async def writes(self, name: str, records: int) -> int:
        """How often a run of so many records, on a database that is new, writes into it."""
        folder = self.job.folder / name
        folder.mkdir()
        job = Job(folder, self.job.gateway, self.job.settings)
        config(job)
        job.prompts(*(f"{name} question {n}" for n in range(records)))
        count = folder / "count"
        environ = Fault(0, 0, False).environ(self.shim, folder / "mark") | {"FAULT_COUNT": str(count)}
        code, _, err = await ran(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "4", **environ)
        assert code == 0, err
        return int(count.read_text())

    def tell(self) -> None:
        sys.stdout.write(f"{sum(self.outcomes.values())} faults: {dict(self.outcomes)}\nhit: {dict(self.hit)}\n")


async def test_a_spread_of_failing_writes_never_costs_a_line_or_a_second_payment_that_is_not_told(
    job: Job, shim: Path
) -> None:
    seed = int(os.environ.get("SEED", "1"))
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    trials = Trials(job, shim)
    new_database, whole_run = await trials.writes("one", 1), await trials.writes("all", RECORDS)
    spans = ((1, new_database), (new_database, whole_run))
    cases = itertools.cycle(itertools.product(spans, ERRORS, (False, True)))
    faults = {Fault(chance.randint(*span), error, lasting) for span, error, lasting in itertools.islice(cases, IN_CI)}
    async with asyncio.TaskGroup() as tasks:
        for fault in faults:
            tasks.create_task(trials.trial(fault))
    trials.tell()
    assert trials.outcomes["answers saved"] > 0
    assert trials.outcomes["stopped"] > 0


@pytest.mark.long
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("error", ERRORS)
async def test_every_failing_write_until_the_run_completes_without_one(
    job: Job, shim: Path, error: int, lasting: bool
) -> None:
    trials = Trials(job, shim)
    first = 1
    while True:
        faults = [Fault(at, error, lasting) for at in range(first, first + AT_ONCE)]
        if not all(await asyncio.gather(*(trials.trial(fault) for fault in faults))):
            break
        first += AT_ONCE
    trials.tell()
