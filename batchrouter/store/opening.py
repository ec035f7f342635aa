"""Opening the database for an event loop: one writing connection a process, and a read-only one beside it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite

from batchrouter.core.errors import DatabaseUnfit
from batchrouter.store import migrations
from batchrouter.store.failures import storage_errors
from batchrouter.store.lock import locked
from batchrouter.store.reading import BUSY_TIMEOUT_S, read_as_it_is, read_only_address, require_readable

ROWS_AT_ONCE = 64
STATEMENTS_KEPT = 128
"""Prepared ones: each of many rows takes some 0.3 MB."""
PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "secure_delete = ON",
)


class WritingConnection(aiosqlite.Connection):
    """A connection whose thread can be given the work of a whole transaction, not only one statement at a time."""

    async def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do the work in the connection's thread."""
        await self._execute(work, self._conn)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def open_writer(path: Path, now: str) -> AsyncIterator[WritingConnection]:
    """Lock the database, create or migrate it, and give the connection that writes (durable at every commit)."""
    with locked(path), storage_errors(path):
        _create_private(path)
        connection = await connect_writer(path)
        try:
            for migration in await _pending(connection):
                await connection.executescript(migrations.script(migration, now))
            yield connection
        finally:
            await connection.close()


async def connect_writer(path: Path) -> WritingConnection:
    """A connection whose commits are durable; there is never more than one at a time."""
    connection = await _connect(path, isolation_level="IMMEDIATE")
    try:
        for pragma in PRAGMAS:
            await connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        await connection.close()
        raise
    return connection


async def _pending(connection: aiosqlite.Connection) -> list[migrations.Migration]:
    """What the file lacks, read over a connection of the moment that only reads."""
    async with connection.execute("PRAGMA database_list") as cursor:
        row = await cursor.fetchone()
    path = Path(row[2]) if row else Path()
    with read_as_it_is(path) as reader:
        return migrations.pending(reader, migrations.shipped())


@asynccontextmanager
async def reading_beside(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """A read-only connection for queries beside the writer's work."""
    connection = await _connect(read_only_address(path), isolation_level=None, uri=True)
    try:
        yield connection
    finally:
        await connection.close()


async def _connect(path: Path | str, **options: Any) -> WritingConnection:
    """Open first, and give it to aiosqlite then: its thread outlives the event loop when it fails to open by itself."""
    options |= {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "cached_statements": STATEMENTS_KEPT}
    opened = partial(sqlite3.connect, path, **options)
    raw = await asyncio.to_thread(opened)
    connection = WritingConnection(lambda: raw, iter_chunk_size=ROWS_AT_ONCE)
    await connection
    return connection


def _create_private(path: Path) -> None:
    """Answers may be confidential: the file is its owner's alone from the first byte."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise DatabaseUnfit(f"{path} is a folder", "Give --db the name of a file.") from None
        require_readable(path)
