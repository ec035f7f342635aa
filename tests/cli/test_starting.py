"""What a command loads before it does its work: nobody waits for libraries that he does not use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .test_help import COMMANDS

ROOT = Path(__file__).parents[2]
HEAVY = {"aiohttp", "aiosqlite", "asyncio", "asyncio_throttle", "msgspec", "pydantic", "rich", "uvloop"}
MAIN = "from batchrouter.__main__ import run_command_line, batchrouter; run_command_line(batchrouter, {})"


def loaded_by(code: str, folder: Path) -> set[str]:
    """The modules and packages that a fresh interpreter has after this."""
    code += "\nimport sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return set(ended.stdout.splitlines()[-1].split())


def heavy_in(folder: Path, *arguments: str) -> set[str]:
    return HEAVY & loaded_by(MAIN.format(list(arguments)), folder)


@pytest.fixture(scope="module")
def with_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose batchrouter.db holds a run."""
    folder = tmp_path_factory.mktemp("starting")
    (folder / "in.jsonl").write_text('{"prompt": "hi"}\n')
    assert heavy_in(folder, "run", "in.jsonl", "--demo", "--db", "batchrouter.db", "-q") >= {"aiohttp", "pydantic"}
    return folder


def test_the_package_loads_nothing_but_what_is_asked_of_it(tmp_path: Path) -> None:
    loaded = loaded_by("import batchrouter", tmp_path)
    assert not loaded & (HEAVY | {"click", "orjson", "sqlite3"})
    assert not HEAVY & loaded_by("import batchrouter; batchrouter.InputUnfit, batchrouter.RunOptions", tmp_path)
    assert not HEAVY & loaded_by("import batchrouter; batchrouter.report", tmp_path)
    assert "aiohttp" not in loaded_by("import batchrouter; batchrouter.load_settings()", tmp_path)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_no_heavy_library(tmp_path: Path, command: str) -> None:
    assert not heavy_in(tmp_path, *command.split(), "--help")


def test_wrong_usage_loads_no_heavy_library(tmp_path: Path) -> None:
    assert not heavy_in(tmp_path, "run")
    assert not heavy_in(tmp_path, "status", "--db", "there_is_none.db")


@pytest.mark.parametrize("command", ["status", "report"])
def test_looking_loads_nothing_but_what_draws(with_a_run: Path, command: str) -> None:
    assert heavy_in(with_a_run, command) == {"rich"}
    assert not heavy_in(with_a_run, command, "--json")


def test_settings_and_estimates_load_no_network(with_a_run: Path) -> None:
    network = {"aiohttp", "aiosqlite", "uvloop"}
    assert not network & heavy_in(with_a_run, "route", "Compare these two contracts")
    assert not network & heavy_in(with_a_run, "estimate", "in.jsonl")


def test_a_run_has_loaded_its_libraries_before_it_tells_the_garbage_collector_to_forget_them(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "hi"}\n')
    watched = "import sys, gc; gc.freeze = lambda: print('\\n'.join(sys.modules), file=open('frozen', 'w')); "
    loaded_by(watched + MAIN.format(["run", "in.jsonl", "--demo", "-q"]), tmp_path)
    assert {"aiohttp", "pydantic", "batchrouter.gateway.client"} <= set((tmp_path / "frozen").read_text().split())
