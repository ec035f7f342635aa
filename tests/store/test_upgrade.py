"""A database of an older version is brought up to date with every row, and its views say what they said."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.store import migrations
from batchrouter.store.opening import open_writer
from tests.canary import CANARY
from tests.store.every_kind import write_every_kind

NOW = "2026-01-01T00:00:00.000Z"
BEFORE_LARGE_ROWS = 3
VIEWS = {
    "answers": "run, line",
    "run_summary": "run",
    "tier_summary": "run, tier, model",
    "daily_cost": "day, gateway, model, purpose, currency, cost_source",
}
TABLES = ("runs", "run_configs", "records", "requests", "decisions", "attempts", "results")


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of today with a row of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_KEY", CANARY)
        patch.setattr("batchrouter.core.retry.BACKOFF_BASE_S", 0.0)
        return asyncio.run(write_every_kind(tmp_path_factory.mktemp("every"), of_the_first_version=True))


@pytest.fixture
def older(newest: Path, tmp_path: Path) -> Path:
    """The same rows in the tables of an older version, which summed them up in its views."""
    path = tmp_path / "older.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for migration in migrations.shipped()[:BEFORE_LARGE_ROWS]:
            connection.executescript(migrations.script(migration, NOW))
        connection.execute("ATTACH ? AS newest", (str(newest),))
        for table in TABLES:
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newest.{table}")
    return path


def columns_of_first(view: str) -> str:
    """The columns that the view had in its first version: later ones stand behind them."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in migrations.shipped()[:BEFORE_LARGE_ROWS]:
            connection.executescript(migrations.script(migration, NOW))
        return ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({view})"))


def seen(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            view: connection.execute(f"SELECT {columns_of_first(view)} FROM {view} ORDER BY {key}").fetchall()
            for view, key in VIEWS.items()
        }


async def upgraded(path: Path) -> None:
    async with open_writer(path, NOW):
        pass


def test_an_older_database_keeps_every_row_and_its_views_say_the_same(older: Path) -> None:
    before = seen(older)
    asyncio.run(upgraded(older))
    assert seen(older) == before
    assert before["tier_summary"]
    assert [finding.what for finding in api.verify(older) if finding.level != "ok"] == []


def test_what_is_summed_up_as_calls_end_is_what_their_rows_add_up_to(older: Path, newest: Path) -> None:
    assert seen(newest) == seen(older)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("counters", "state"), ("attempt_counters", "purpose"), ("attempt_counters", "state")),
        *(("attempts", "purpose"), ("attempts", "state"), ("attempts", "cost_source")),
    ],
)
def test_an_unknown_word_is_no_state(newest: Path, table: str, column: str) -> None:
    with closing(sqlite3.connect(newest, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match=f"CHECK constraint failed: {column} = "):
            connection.execute(f"UPDATE {table} SET {column} = 'other'")


def test_an_upgrade_that_breaks_off_leaves_the_old_database(older: Path) -> None:
    before = older.read_bytes()
    large_rows, *_ = migrations.shipped()[BEFORE_LARGE_ROWS:]
    with closing(sqlite3.connect(older, isolation_level=None)) as connection:
        script = migrations.script(large_rows, NOW).removesuffix("COMMIT;")
        connection.executescript(script)
        connection.execute("ROLLBACK")
    assert older.read_bytes() == before
