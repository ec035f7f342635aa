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

from batchrouter.store.changes import Changes
from batchrouter.store.opening import WritingConnection, connect_writer
from batchrouter.store.statements import Row

_PRIMARY_CODE = 0xFF
_ATTEMPT = "SELECT 1 FROM attempts WHERE run = ? AND line = ? AND attempt = ?"
_RESULT = "SELECT 1 FROM results WHERE run = ? AND line = ? AND generation = ?"


async def reopened(path: Path, failed: WritingConnection, error: sqlite3.Error) -> WritingConnection:
    """A new writing connection in the place of the one whose write ended in ``error``."""
    await failed.close()
    connection = await connect_writer(path)
    unsure = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & _PRIMARY_CODE == sqlite3.SQLITE_IOERR
    if await _began_log_anew(connection) or not unsure:
        return connection
    await connection.close()
    raise error


async def _began_log_anew(connection: aiosqlite.Connection) -> bool:
    """Write all that the log holds to the database and sync it there: the log is empty then, and gives its room back.

    After a failed sync this is a must: the kernel may call pages clean that never reached the disk, and nothing that is
    committed from now on may stand on them.
    """
    try:
        ((busy, _, _),) = await connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError:
        return False
    return not busy


async def is_written(connection: aiosqlite.Connection, changes: Changes) -> bool:
    """Whether the transaction of these changes happened; False too where writing it twice changes nothing."""
    witnesses: tuple[tuple[str, Sequence[Row]], ...] = (
        (_ATTEMPT, changes.started),
        (f"{_ATTEMPT} AND state <> 'open'", changes.ended),
        (_RESULT, changes.results),
        (_RESULT, changes.reused),
        ("SELECT 1 FROM decisions WHERE run = ? AND line = ?", changes.decided),
    )
    for sql, rows in witnesses:
        if rows:
            return bool(list(await connection.execute_fetchall(sql, rows[0][: sql.count("?")])))
    return False
