"""Whole processes, whose stdout and stderr are closed, full, odd, or a terminal."""

import os
import pty
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .conftest import TICKETS

ROOT = Path(__file__).parents[2]
BROKEN = TICKETS.with_name("broken_lines.jsonl")


def start(folder: Path, *arguments: str, **streams: Any) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **streams.pop("env", {})}
    command = [sys.executable, "-m", "batchrouter", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, timeout=60, check=False, **streams)


def everything_from(master: int) -> bytes:
    """What a terminal was given, until its last user has gone."""
    drawn = b""
    while True:
        try:
            chunk = os.read(master, 1 << 16)
        except OSError:  # Linux's way to say the end
            chunk = b""
        if not chunk:
            os.close(master)
            return drawn
        drawn += chunk


def a_closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a demo run of the tickets in run.db."""
    folder = tmp_path_factory.mktemp("streams")
    ended = start(folder, "run", str(TICKETS), "--demo", "--db", "run.db", capture_output=True)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("which", ["stdout", "stderr"])
def test_a_closed_pipe_does_not_change_how_a_run_ends(tmp_path: Path, which: str) -> None:
    other = "stderr" if which == "stdout" else "stdout"
    pipe = a_closed_pipe()
    ended = start(tmp_path, "run", str(BROKEN), "--demo", **{which: pipe, other: subprocess.PIPE})
    os.close(pipe)
    assert ended.returncode == 3


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_closed_stdout_takes_nothing_away_from_stderr(tmp_path: Path, options: tuple[str, ...]) -> None:
    pipe = a_closed_pipe()
    ended = start(
        tmp_path, "run", str(TICKETS), "--demo", "--budget", "0", *options, stdout=pipe, stderr=subprocess.PIPE
    )
    os.close(pipe)
    assert ended.returncode == 76
    assert b"\nstopped: " in ended.stderr
    assert b"\nhint: " in ended.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_change_how_a_run_ends(tmp_path: Path, closed: str) -> None:
    close = f"exec {closed}; exec "
    command = ["sh", "-c", f'{close} "$0" -m batchrouter run "$1" --demo', sys.executable, str(BROKEN)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, cwd=tmp_path, env=environment, timeout=60, check=False).returncode == 3


@pytest.mark.parametrize("command", ["report", "export", "status"])
def test_readers_end_quietly_when_nobody_reads(folder: Path, command: str) -> None:
    pipe = a_closed_pipe()
    ended = start(folder, command, "--db", "run.db", stdout=pipe, stderr=subprocess.PIPE)
    os.close(pipe)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk to write to")
@pytest.mark.parametrize("command", ["report", "export"])
def test_a_full_disk_is_74(folder: Path, command: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = start(folder, command, "--db", "run.db", stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 74
    assert b"No space left" in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk to write to")
@pytest.mark.parametrize("options", [(), ("--json",), ("-v", "--log-format", "json")])
@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
def test_a_full_disk_behind_the_streams_does_not_change_how_a_run_ends(
    tmp_path: Path, which: str, options: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("wb") as full:
        streams = {name: full if which in (name, "both") else subprocess.PIPE for name in ("stdout", "stderr")}
        ended = start(tmp_path, "run", str(BROKEN), "--demo", "--db", "run.db", *options, **streams)
    assert ended.returncode == 3
    assert b"Traceback" not in (ended.stderr or b"")
    assert done_in(tmp_path / "run.db") > 0
    if which == "stdout":
        assert b"No space left" in ended.stderr


def done_in(db: Path) -> int:
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM results WHERE state = 'done'").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux has a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to_no_home_and_no_locale(tmp_path: Path) -> None:
    bare = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }
    command = [sys.executable, "-m", "batchrouter", "run", str(TICKETS), "--demo", "--db", str(tmp_path / "run.db")]
    ended = subprocess.run(command, cwd="/proc", env=bare, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert b"60 done" in ended.stdout
    ended = subprocess.run(command[:-2], cwd="/proc", env=bare, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 74
    assert b"Choose a --db" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_locale_without_our_signs(folder: Path) -> None:
    odd = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}
    ended = start(folder, "report", "--db", "run.db", env=odd, capture_output=True)
    assert ended.returncode == 0
    assert b"?" in ended.stdout


def test_a_run_on_a_terminal_is_drawn_on_stderr_alone(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(everything_from, master)
        ended = start(tmp_path, "run", str(TICKETS), "--demo", stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        drawn = reading.result()
    assert ended.returncode == 0
    assert b"in flight" in drawn
    assert b"Demo gateway" in drawn
    assert b"\x1b" not in ended.stdout
    assert b"60 done" in ended.stdout


def test_help_does_not_load_what_it_does_not_need(tmp_path: Path) -> None:
    code = "import sys, batchrouter.cli.group; print([m for m in ('aiohttp', 'rich', 'pydantic') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=True)
    assert ended.stdout == b"[]\n"


def test_completion(tmp_path: Path) -> None:
    words = {"_BATCHROUTER_COMPLETE": "bash_complete", "COMP_WORDS": "batchrouter re", "COMP_CWORD": "1"}
    ended = start(tmp_path, env=words, capture_output=True)
    assert ended.stdout.split() == [b"plain,report", b"plain,resume", b"plain,retry"]
