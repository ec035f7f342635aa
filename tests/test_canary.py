"""The search for the key of the tests can find it: in files, in what is said, and so that the session fails."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests import canary
from tests.canary import CANARY, files_with_key, holds_key

ROOT = Path(__file__).parents[1]
LEAKS = {
    "a file": "(tmp_path / 'log.txt').write_text('Bearer ' + CANARY)",
    "a log record": "logging.getLogger().warning(CANARY)",
    "a process": "subprocess.run([sys.executable, '-c', f'print({CANARY!r})'], capture_output=True)",
    "an awaited process": "asyncio.run(spoken())",
    "a command": "print(CANARY); capsys.readouterr()",
    "nothing": "(tmp_path / 'given.toml').write_text(CANARY)",
}
HEAD = """\
import asyncio, logging, subprocess, sys
from tests.canary import CANARY

async def spoken():
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"print({CANARY!r})", stdout=pipe)
    await process.communicate()

def test_that_passes(tmp_path, capsys):
    """


@pytest.mark.parametrize(
    ("leak", "workers"), [*((leak, 0) for leak in LEAKS), ("a file", 1), ("a process", 1), ("nothing", 1)]
)
def test_a_session_that_leaks_the_key_fails_and_says_where(tmp_path: Path, leak: str, workers: int) -> None:
    file = tmp_path / "given_test.py"
    file.write_text(HEAD + LEAKS[leak] + "\n")
    arguments = ["-m", "pytest", "-q", "-p", "tests.canary", "-c", os.devnull, "--rootdir", str(tmp_path)]
    arguments += ["-n", str(workers), "--basetemp", str(tmp_path / "given"), str(file)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True, check=False)
    assert "1 passed" in ended.stdout, ended.stdout
    assert ended.returncode == (0 if leak == "nothing" else 1)
    assert ("no key may be" in ended.stdout) == (leak != "nothing")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder that the search at the end of this session leaves out."""
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


def test_the_key_is_found_wherever_it_lies_in_a_file(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_BLOCK_BYTES", 50)
    inner = given / "inner"
    inner.mkdir()
    for at in (0, 40, 49, 50, 51, 999):
        (inner / f"{at}.bin").write_bytes(b"x" * at + CANARY.upper().encode() + b"\x00" * 70)
    (given / "clean").write_bytes(b"canary" * 100)
    (given / "given-key").write_text(CANARY)
    assert len(files_with_key(given)) == 6


def test_the_key_is_found_in_a_database_and_in_its_log(given: Path) -> None:
    connection = sqlite3.connect(given / "a.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (?)", (f"Bearer {CANARY}",))
    connection.commit()
    assert [path.name for path in files_with_key(given)] == ["a.db-wal"]
    connection.close()
    assert [path.name for path in files_with_key(given)] == ["a.db"]


def test_what_is_said_is_searched_in_any_case() -> None:
    assert holds_key(f"x{CANARY.upper()}")
    assert holds_key(CANARY.encode())
    assert not holds_key("sk-other")
    assert not holds_key(None)
