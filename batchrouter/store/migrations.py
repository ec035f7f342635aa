"""Forward-only migrations: ``NNNN_words.sql``, each applied together with its own record in one transaction."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from batchrouter.core.errors import DatabaseUnfit

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and SQL text."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The digest that tells an edited file from the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> list[Migration]:
    """All migrations in order: from the installed package, or from the checkout around it."""
    installed = resources.files("batchrouter") / "migrations"
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "migrations"
    found = [
        Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


def applied(connection: sqlite3.Connection) -> dict[int, str]:
    """Numbers and digests of what the file has; empty for a new file, DatabaseUnfit for somebody else's."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "schema_migrations" not in tables:
        if tables:
            raise DatabaseUnfit(
                f"this SQLite file holds other tables ({', '.join(sorted(tables)[:3])})", "Choose another --db."
            )
        return {}
    return dict(connection.execute("SELECT number, sha256 FROM schema_migrations"))


def pending(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> list[Migration]:
    """Those that the file does not have yet; DatabaseUnfit when it has some that this program does not know."""
    have = applied(connection)
    known = {migration.number for migration in migrations}
    if newer := sorted(have.keys() - known):
        raise DatabaseUnfit(
            f"the database has migration {newer[-1]:04d}, which this version of batchrouter does not know",
            "It was written by a newer version: upgrade batchrouter, or use another --db.",
        )
    for migration in migrations:
        if have.get(migration.number, migration.sha256) != migration.sha256:
            raise DatabaseUnfit(
                f"migration {migration.number:04d} of the database is not the one of this version",
                "It was made by another build: use the version that made it, or another --db.",
            )
    return [migration for migration in migrations if migration.number not in have]


def script(migration: Migration, applied_at: str) -> str:
    """The migration and its record as one transaction, for ``executescript``."""
    name = migration.name.replace("'", "''")
    record = (
        f"INSERT INTO schema_migrations VALUES ({migration.number}, '{name}', '{migration.sha256}', '{applied_at}');"
    )
    return f"BEGIN IMMEDIATE;\n{_RECORD}\n{migration.sql}\n{record}\nCOMMIT;"
