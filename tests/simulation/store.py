"""SQLite on the loop itself: the program's own SQL on a real file, without a thread that virtual time cannot wait for."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from batchrouter.store import migrations


class LoopCursor:
    """What aiosqlite's cursor is asked for."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.rowcount = cursor.rowcount
        self.lastrowid = cursor.lastrowid

    async def close(self) -> None:
        pass


class LoopConnection:
    """Stands in for an aiosqlite connection. After ``die`` nothing that it is asked for happens any more."""

    def __init__(self, path: Path, chance: random.Random, *, isolation_level: Any = "IMMEDIATE") -> None:
        self._connection = sqlite3.connect(path, isolation_level=isolation_level)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._chance = chance
        self._dead = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._connection.close()

    async def execute(self, sql: str, values: Iterable[Any] = ()) -> LoopCursor:
        await self._pause(0.0)
        return LoopCursor(self._connection.execute(sql, tuple(values)))

    async def execute_fetchall(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        await self._pause(0.0)
        rows = self._connection.execute(sql, tuple(values)).fetchall()
        await self._pause(0.002)
        return rows

    async def commit(self) -> None:
        await self.transact(sqlite3.Connection.commit)

    async def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        await self._pause(0.01)
        work(self._connection)
        await self._pause(0.001)

    async def _pause(self, most_s: float) -> None:
        """Other tasks may run here; a process that died meanwhile does nothing more."""
        if most_s or self._chance.random() < 0.2:
            await asyncio.sleep(self._chance.choice((0.0, most_s * self._chance.random())))
        if self._dead:
            raise asyncio.CancelledError

    def die(self) -> None:
        """The process is gone: what was not committed never was."""
        self._dead = True
        self._connection.rollback()
        self._connection.close()


def empty_database(path: Path) -> None:
    """A file with the program's schema and nothing in it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    for migration in migrations.shipped():
        connection.executescript(migrations.script(migration, "2026-01-01T00:00:00.000Z"))
    connection.close()
