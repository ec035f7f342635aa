"""The package's public surface."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import batchrouter
from batchrouter import api
from batchrouter.core.options import EvaluationOptions, RunOptions
from batchrouter.core.settings import Settings
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


@pytest.mark.parametrize("kind", [str, Path])
async def test_paths_are_strings_or_paths_everywhere(job: Job, kind: Callable[[Path], str | Path]) -> None:  # noqa: F811
    job.prompts("hi")
    db, source, output = kind(job.db), kind(job.input), kind(job.folder / "out.csv")
    settings = Settings.model_validate(job.settings)
    config = job.folder / "batchrouter.toml"
    config.write_text('currency = "INR"')
    gold, pairs = job.folder / "gold.jsonl", job.folder / "pairs.md"
    gold.write_text('{"line": 1, "verdict": "match"}')
    options = RunOptions(output=output)
    assert (await api.run(source, db=db, settings=settings, options=options)).exit_code == 0
    assert (await api.resume(db=db, settings=settings, options=options)).exit_code == 0
    assert await api.resume_all(db=db, settings=settings) == []
    assert await api.retry("latest", db=db, settings=settings, options=options) == (0, None)
    assert (await api.estimate(source, settings=settings)).total.records == 1
    assert [line.line async for line, _ in api.route_lines(source, settings=settings)] == [1]
    await api.evaluate(db=db, settings=settings, options=EvaluationOptions(gold=kind(gold), pairs=kind(pairs)))
    assert [one.summary for one in api.status(db)] == [api.report(db=db).run] != []
    assert [result.answer for result in api.results(db=db)] == ["yes"]
    assert api.export(db=db, destination=output) == 1
    assert all(one.level == "ok" for one in api.verify(db))
    assert await api.doctor(config=kind(config), db=db, source=source)
    assert api.load_settings(kind(config)).currency == "INR"
    assert (api.cached_decisions(db), await api.clear_cache(db)) == ([], 0)
    assert (await api.purge("1", db=db, requests=True)).requests == 1


def test_the_version_is_the_packages() -> None:
    pyproject = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f'version = "{batchrouter.__version__}"' in pyproject
