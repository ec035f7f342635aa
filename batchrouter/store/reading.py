"""Reading the database beside whoever writes it. No event loop is needed, so none is loaded: `status` is quick.

SQLite makes two files beside a database even for who only reads it: the log (-wal), and what readers and writers see one
another by (-shm). Who may not make them reads those that are there, or a database without a log as one that stands still.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote

from batchrouter.core.errors import DatabaseUnfit, InputMissing, Interrupted
from batchrouter.store import migrations
from batchrouter.store.failures import storage_errors

BUSY_TIMEOUT_S = 10.0
STANDS_STILL = "&immutable=1"


@contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection with rows by name; never creates a file, never harms a run that is writing."""
    if not (_allows(path, os.F_OK) and path.is_file()):
        raise InputMissing(f"there is no database {path}", "Name it with --db; `batchrouter run` makes one.")
    require_readable(path)
    _require_log(path)
    with storage_errors(path, reading=True), read_as_it_is(path) as connection:
        if missing := migrations.pending(connection, migrations.shipped()):
            raise DatabaseUnfit(
                f"{path} lacks migration {missing[0].number:04d}",
                "It was made by an older version, or its first run never began: `batchrouter run` or `resume` mends it.",
            )
        yield connection


@contextmanager
def read_as_it_is(path: Path) -> Iterator[sqlite3.Connection]:
    """The same whatever the file holds."""
    address = read_only_address(path)
    with _standing_still(path) if address.endswith(STANDS_STILL) else nullcontext():
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA query_only = ON")
            yield connection
        finally:
            connection.close()


def read_only_address(path: Path) -> str:
    """The file as SQLite opens it for reading alone."""
    return f"file:{quote(str(path))}?mode=ro" + ("" if _log_can_be_read(path) else STANDS_STILL)


def require_readable(path: Path) -> None:
    """InputMissing for a file that is another user's own."""
    if not _allows(path, os.R_OK):
        raise InputMissing(f"{path} may not be read by this user", "Ask its owner for the right to read it.")


def _require_log(path: Path) -> None:
    log, _ = _beside(path)
    if log.exists() and log.stat().st_size and not _log_can_be_read(path):
        raise InputMissing(
            f"{path} cannot be read without {log.name} beside it, which holds what was written last,"
            f" and this user may not read it, or not make the file ({path.name}-shm) that this takes",
            f"Somebody who may read both copies them to a folder of their own, and reads the copy there; or the owner of"
            f" {path.name} ends the run with `batchrouter resume`, after which it is whole by itself.",
        )


@contextmanager
def _standing_still(path: Path) -> Iterator[None]:
    """Who sees no lock may have read half of a change."""
    before = path.stat()
    yield
    after = path.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise Interrupted(f"{path} was written to while it was read", "Start the same command again.")


def _beside(path: Path) -> tuple[Path, Path]:
    """(the log, what readers and writers see one another by)."""
    real = path.resolve()
    return real.with_name(real.name + "-wal"), real.with_name(real.name + "-shm")


def _log_can_be_read(path: Path) -> bool:
    """Whether both files beside the database can be opened, or made."""
    real = path.resolve()
    may_make = _allows(real, os.W_OK) and _allows(real.parent, os.W_OK)
    return all(_allows(file, os.R_OK) if file.exists() else may_make for file in _beside(path))


def _allows(path: Path, right: int) -> bool:
    return os.access(path, right, effective_ids=True)
