"""Whether the file is one that SQLite and this program can read: pages, schema, text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache

from batchrouter.store import migrations


def integrity(connection: sqlite3.Connection) -> Iterator[str]:
    """What SQLite itself finds in its pages, indexes and constraints."""
    yield from (row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok")


def schema(connection: sqlite3.Connection) -> Iterator[str]:
    """What the migrations make and the file has not, or not so; more than they make is a person's own."""
    found = _made(connection)
    yield from (name for name, made in _made_by_migrations().items() if found.get(name) != made)


def texts(connection: sqlite3.Connection) -> Iterator[str]:
    """Rows with text that is no UTF-8, over which every other reader would stumble."""
    as_before, connection.text_factory = connection.text_factory, bytes.decode
    try:
        for table in (name for name, made in _made_by_migrations().items() if made.startswith("CREATE TABLE")):
            rows, number = connection.execute(f"SELECT * FROM {table}"), 0
            try:
                for number, _ in enumerate(rows, start=1):  # noqa: B007 - the last good row
                    pass
            except UnicodeDecodeError:
                yield f"{table}, after {number} good rows"
    finally:
        connection.text_factory = as_before


@cache
def _made_by_migrations() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        for migration in migrations.shipped():
            fresh.executescript(migrations.script(migration, ""))
        return _made(fresh)


def _made(connection: sqlite3.Connection) -> dict[str, str]:
    """The SQL of everything in the schema, and the names of the migrations."""
    sql = (
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        " UNION ALL SELECT 'migration ' || number, name FROM schema_migrations"
    )
    return dict(tuple(row) for row in connection.execute(sql))
