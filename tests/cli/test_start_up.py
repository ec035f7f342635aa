"""What a command loads before it does anything: nobody waits for an HTTP client to read a help text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchrouter.store.opening import open_writer

HEAVY = {"aiohttp", "jinja2", "jsonschema_rs", "pydantic", "uvloop"}


def loaded(arguments: list[str], folder: Path) -> set[str]:
    """The modules that a process has loaded at its end."""
    program = f"""
import sys
from batchrouter.cli.group import batchrouter
try:
    batchrouter({arguments!r}, standalone_mode=False)
finally:
    print(*sys.modules, file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    names = {name.partition(".")[0] for name in ended.stderr.splitlines()[-1].split()}
    assert "batchrouter" in names
    return names


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["doctor", "--help"]])
def test_a_help_text_loads_neither_a_client_nor_a_configuration(arguments: list[str], tmp_path: Path) -> None:
    assert not loaded(arguments, tmp_path) & {*HEAVY, "rich", "aiosqlite", "asyncio"}


async def test_status_needs_neither_a_client_nor_a_configuration_nor_an_event_loop(tmp_path: Path) -> None:
    async with open_writer(tmp_path / "runs.db", "2026-01-01T00:00:00.000Z"):
        pass
    names = loaded(["status", "--db", "runs.db"], tmp_path)
    assert "sqlite3" in names
    assert not names & {*HEAVY, "aiosqlite", "asyncio"}


def test_what_compares_an_input_needs_neither_the_engine_nor_a_client(tmp_path: Path) -> None:
    program = "import sys; from batchrouter.api.working import resume, run; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = set(ended.stdout.split())
    assert "batchrouter.assembly.finding" in names
    assert not names & {"aiohttp", "batchrouter.engine.pipeline", "batchrouter.reporting.figures"}


def test_a_run_has_loaded_what_it_needs_before_the_garbage_collector_is_told_what_stays(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "hi"}\n')
    program = """
import gc, sys
from pathlib import Path
from batchrouter.cli.group import batchrouter
gc.freeze = lambda: Path("frozen").write_text(" ".join(sys.modules))
batchrouter(["run", "in.jsonl", "--demo", "-q"], standalone_mode=False)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True)
    frozen = set((tmp_path / "frozen").read_text().split())
    assert {"aiohttp", "pydantic", "batchrouter.gateway.client"} <= frozen
