"""Opening the database: one writing connection a process, and read-only ones for everybody else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from batchrouter.core.errors import BatchRouterError, DatabaseUnfit, InputMissing, StorageFailed
from batchrouter.store import migrations
from batchrouter.store.lock import locked

BUSY_TIMEOUT_S = 10.0
ROWS_AT_ONCE = 64
STATEMENTS_KEPT = 128
"""Prepared ones: each of many rows takes some 0.3 MB."""
INTACT = "What was committed is intact. Free some space, or mend the disk, and start the same command again."
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
    with _reading(path) as reader:
        return migrations.pending(reader, migrations.shipped())


@asynccontextmanager
async def reading_beside(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """A read-only connection for queries beside the writer's work."""
    connection = await _connect(_read_only(path), isolation_level=None, uri=True)
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


@contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection with rows by name; never creates a file, never harms a run that is writing."""
    if not path.is_file():
        raise InputMissing(f"there is no database {path}", "Name it with --db; `batchrouter run` makes one.")
    with storage_errors(path), _reading(path) as connection:
        if missing := migrations.pending(connection, migrations.shipped()):
            raise DatabaseUnfit(
                f"{path} lacks migration {missing[0].number:04d}",
                "It was made by an older version, or its first run never began: `batchrouter run` or `resume` mends it.",
            )
        yield connection


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(_read_only(path), uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        yield connection
    finally:
        connection.close()


def _read_only(path: Path) -> str:
    return f"file:{quote(str(path))}?mode=ro"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into what a person can do about it."""
    try:
        yield
    except BatchRouterError:
        raise
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise  # our own mistake, not the disk's
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise DatabaseUnfit(f"{path} is not an SQLite database", "Choose another --db.") from error
        raise storage_failure(path, error) from error
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) != path:
            raise
        raise storage_failure(path, error) from error


def storage_failure(path: Path, error: Exception, hint: str = INTACT) -> StorageFailed:
    """The error of a write that did not happen, with the way on."""
    return StorageFailed(f"writing {path} failed: {error}", hint)
