"""After a failed write: a connection of which is known what its file holds, so that answers in hand can be saved.

An error from COMMIT is not a rollback: the transaction may be in the file. So nothing is written again over the
connection that failed. A new one reads what is there; a transaction is there as a whole or not at all, so one of its
rows tells.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import aiosqlite

from batchrouter.store.changes import Changes, Row
from batchrouter.store.opening import connect_writer

_PRIMARY_CODE = 0xFF
_ATTEMPT = "SELECT 1 FROM attempts WHERE run = ? AND line = ? AND attempt = ?"


async def reopened(path: Path, failed: aiosqlite.Connection, error: sqlite3.Error) -> aiosqlite.Connection:
    """A new writing connection in the place of the one whose write ended in ``error``."""
    await failed.close()
    connection = await connect_writer(path)
    try:
        if error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_IOERR:
            await _sync_anew(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _sync_anew(connection: aiosqlite.Connection) -> None:
    """After a failed sync the kernel may call pages clean that never reached the disk.

    So everything that the log holds is written to the database and synced there, and the log begins anew: nothing that
    is committed from now on stands on those pages.
    """
    ((busy, _, _),) = await connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    if busy:
        raise sqlite3.OperationalError("the log could not be written to the database: somebody reads it")


async def is_written(connection: aiosqlite.Connection, changes: Changes) -> bool:
    """Whether the transaction of these changes happened; False too where writing it twice changes nothing."""
    witnesses: tuple[tuple[str, Sequence[Row]], ...] = (
        (_ATTEMPT, changes.started),
        (f"{_ATTEMPT} AND state <> 'open'", changes.ended),
        ("SELECT 1 FROM results WHERE run = ? AND line = ? AND generation = ?", changes.results),
    )
    for sql, rows in witnesses:
        if rows:
            return bool(list(await connection.execute_fetchall(sql, rows[0][:3])))
    return False
