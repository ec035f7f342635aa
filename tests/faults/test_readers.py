"""Readers never harm a run: status and report again and again, and a reader that stays open, while it is killed."""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.errors import BatchRouterError
from tests.faults.test_kills import KillLoop


class Readers:
    """A thread that looks at the newest job; ``looks`` says how often it saw one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again)
        self._staying: dict[Path, sqlite3.Connection] = {}
        self.looks = 0
        self.error: Exception | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._thread.join()

    def _look_again_and_again(self) -> None:
        try:
            while not self._is_over.wait(0.002):
                self._look()
        except Exception as error:  # noqa: BLE001 - told by the test, in its own thread
            self.error = error
        for connection in self._staying.values():
            connection.close()

    def _look(self) -> None:
        for db in sorted(self._folder.glob("*/runs.db"), key=lambda path: int(path.parent.name))[-1:]:
            with suppress(BatchRouterError):  # it is being made: not a database yet
                api.status(db)
                api.report(db=db)
                self.looks += 1
                self._stay(db)

    def _stay(self, db: Path) -> None:
        """A person's shell that has begun to read and does not go on: it holds its snapshot until the end."""
        if db not in self._staying:
            connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True, isolation_level=None)
            self._staying[db] = connection
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM records").fetchone()


async def read_while_killed(folder: Path, processes: Any, kills: int, seed: int) -> int:
    """How often was looked."""
    readers = Readers(folder)
    with readers.at_work():
        await KillLoop(folder, processes, seed).kill(kills)
    sys.stdout.write(f"{readers.looks} looks at status and report during {kills} kills\n")
    if readers.error:
        raise readers.error
    return readers.looks


async def test_readers_harm_no_run_that_is_killed_meanwhile(tmp_path: Path, processes: Any) -> None:
    assert await read_while_killed(tmp_path, processes, 30, seed=1) > 30


@pytest.mark.long
async def test_a_thousand_looks_harm_no_run(tmp_path: Path, processes: Any) -> None:
    assert await read_while_killed(tmp_path, processes, 300, seed=random.randrange(10**6)) > 1_000
