"""The package's public surface."""

import subprocess
import sys
from pathlib import Path

import batchrouter
from batchrouter import api
from tests.acceptance.conftest import Job, gateway, job  # noqa: F401


def test_everything_public_is_there_and_nothing_else() -> None:
    assert len(set(batchrouter.__all__)) == len(batchrouter.__all__)
    for name in batchrouter.__all__:
        assert getattr(batchrouter, name) is not None
    assert dir(batchrouter) == sorted(batchrouter.__all__)
    assert not hasattr(batchrouter, "no_such_thing")


def test_help_loads_neither_the_network_nor_the_terminal_library() -> None:
    code = (
        "import sys; from batchrouter.cli.exits import run_command_line; from batchrouter.cli.group import batchrouter; run_command_line(batchrouter, ['run', '--help']);"
        "print([name for name in ('aiohttp', 'rich', 'aiosqlite', 'msgspec') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


async def test_a_program_runs_a_job_and_reads_its_results(job: Job) -> None:  # noqa: F811
    job.write([{"id": "a", "prompt": "hi"}, "{"])
    await job.run()
    results = list(api.results(db=job.db))
    assert [(result.id, result.status, result.answer) for result in results] == [
        ("a", "done", "yes"),
        (None, "rejected", None),
    ]
    assert [result.line for result in api.results(db=job.db, statuses=["done"])] == [1]


def test_the_version_is_the_packages() -> None:
    pyproject = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f'version = "{batchrouter.__version__}"' in pyproject
