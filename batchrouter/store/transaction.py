"""One group of changes as one transaction, in the writer's thread from its first statement to its commit.

Between two statements the thread never waits for the event loop, which may be busy with hundreds of answers.
"""

from __future__ import annotations

import sqlite3

from batchrouter.core.errors import Interrupted
from batchrouter.store.changes import Changes


def write(changes: Changes, epoch: int, connection: sqlite3.Connection) -> None:
    """Commit the changes. Interrupted, and nothing written, where another process of the run has begun meanwhile."""
    try:
        _execute(changes, connection)
    except sqlite3.OperationalError:  # of the disk: over a new connection is read what is there
        raise
    except Exception:
        _check_epoch(changes.run, epoch, connection)
        connection.rollback()  # a fault of ours: whoever commits next must not commit half of it
        raise
    _check_epoch(changes.run, epoch, connection)
    connection.commit()


def _check_epoch(run: int, epoch: int, connection: sqlite3.Connection) -> None:
    ((current,),) = connection.execute("SELECT epoch FROM runs WHERE run = ?", (run,))
    if current != epoch:
        connection.rollback()
        raise Interrupted(
            f"another process works on run {run} now: the lock beside the database was removed or is not heeded",
            "Look at `batchrouter status`; keep the database on a disk of this machine.",
        )


def _execute(changes: Changes, connection: sqlite3.Connection) -> None:
    for sql, values, rows in changes.statements():
        changed = connection.execute(sql, values).rowcount
        if changed != rows:
            raise AssertionError(f"{changed} rows changed where {rows} were expected: {sql[:60]}…")
