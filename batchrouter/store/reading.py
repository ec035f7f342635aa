"""Reading the database beside whoever writes it. No event loop is needed, so none is loaded: `status` is quick."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from batchrouter.core.errors import DatabaseUnfit, InputMissing
from batchrouter.store import migrations
from batchrouter.store.failures import storage_errors

BUSY_TIMEOUT_S = 10.0


@contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection with rows by name; never creates a file, never harms a run that is writing."""
    if not path.is_file():
        raise InputMissing(f"there is no database {path}", "Name it with --db; `batchrouter run` makes one.")
    with storage_errors(path), read_as_it_is(path) as connection:
        if missing := migrations.pending(connection, migrations.shipped()):
            raise DatabaseUnfit(
                f"{path} lacks migration {missing[0].number:04d}",
                "It was made by an older version, or its first run never began: `batchrouter run` or `resume` mends it.",
            )
        yield connection


@contextmanager
def read_as_it_is(path: Path) -> Iterator[sqlite3.Connection]:
    """The same whatever the file holds."""
    connection = sqlite3.connect(read_only_address(path), uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        yield connection
    finally:
        connection.close()


def read_only_address(path: Path) -> str:
    """The file as SQLite opens it for reading alone."""
    return f"file:{quote(str(path))}?mode=ro"
