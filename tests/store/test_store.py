"""The file: private, locked, migrated forward only, and read without harm."""

import asyncio
import fcntl
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from batchrouter.core.errors import DatabaseUnfit, InputMissing, Interrupted, StorageFailed
from batchrouter.store import lock, migrations
from batchrouter.store.lock import locked, name_run, run_at_work
from batchrouter.store.opening import connect_writer, open_writer
from batchrouter.store.reading import open_reader

NOW = "2026-01-01T00:00:00.000Z"


async def made(path: Path) -> None:
    async with open_writer(path, NOW):
        pass


async def test_a_new_file_is_its_owners_alone_and_has_all_migrations(tmp_path: Path) -> None:
    path = tmp_path / "a b?.db"
    await made(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with open_reader(path) as reader:
        names = [row[0] for row in reader.execute("SELECT name FROM schema_migrations ORDER BY number")]
    assert names == [migration.name for migration in migrations.shipped()]
    assert len(names) >= 2


async def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await made(path)
    before = path.read_bytes()
    await made(path)
    assert path.read_bytes() == before


async def test_a_newer_file_is_refused_by_readers_and_writers(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await made(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'future', 'x', 'then')")
    connection.close()
    with pytest.raises(DatabaseUnfit, match="9999"), open_reader(path):
        pass
    with pytest.raises(DatabaseUnfit, match="9999"):
        await made(path)


async def test_another_build_of_a_migration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await made(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_migrations SET sha256 = 'other' WHERE number = 1")
    connection.close()
    with pytest.raises(DatabaseUnfit, match="0001"):
        await made(path)


def test_a_failing_migration_leaves_nothing_of_itself(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    good, bad = (
        migrations.Migration(1, "good", "CREATE TABLE a (x);"),
        migrations.Migration(2, "bad", "CREATE TABLE b (x); oops;"),
    )
    connection.executescript(migrations.script(good, NOW))
    with pytest.raises(sqlite3.OperationalError):
        connection.executescript(migrations.script(bad, NOW))
    connection.rollback()
    assert migrations.applied(connection).keys() == {1}
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'b'").fetchone() == (0,)
    connection.close()


def test_a_reader_never_makes_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputMissing), open_reader(tmp_path / "none.db"):
        pass
    assert list(tmp_path.iterdir()) == []


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await made(path)
    with pytest.raises(StorageFailed, match="readonly"), open_reader(path) as reader:
        reader.execute("DELETE FROM runs")


def test_the_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with locked(path), pytest.raises(Interrupted, match="pid"), locked(path):
        pass
    with locked(path):
        pass


def test_who_asks_whether_somebody_works_makes_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert run_at_work(path) is None
    assert list(tmp_path.iterdir()) == []
    with locked(path):
        assert run_at_work(path) is None
        for run in (7, 123_456_789, 8):
            name_run(path, run)
            assert run_at_work(path) == run
        with pytest.raises(Interrupted, match=rf"pid {os.getpid()}\)"), locked(path):
            pass
    before = (tmp_path / "a.db.lock").read_bytes()
    assert run_at_work(path) is None
    with locked(path):
        assert run_at_work(path) is None, "the run of the one before"
    assert (tmp_path / "a.db.lock").read_bytes() != before


def test_who_only_asks_keeps_nobody_from_working(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with locked(path):
        pass
    descriptor = os.open(tmp_path / "a.db.lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    asking = threading.Timer(lock.PATIENCE_S / 5, os.close, (descriptor,))
    asking.start()
    with locked(path):
        pass
    asking.join()


def test_a_lock_file_that_was_removed_meanwhile_is_not_mistaken_for_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with locked(path):
        (tmp_path / "a.db.lock").unlink()
        with locked(path), pytest.raises(Interrupted), locked(path):
            pass


def test_a_file_that_cannot_be_opened_leaves_no_thread_behind_that_speaks_of_a_closed_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: said.append(arguments.exc_value))
    for _ in range(100):
        with pytest.raises(sqlite3.OperationalError):
            asyncio.run(connect_writer(tmp_path / "no" / "folder.db"))
    assert said == []
