"""Reading where nothing may be written: a read-only folder, another user's file."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from batchrouter import api
from batchrouter.core.errors import InputMissing, Interrupted, StorageFailed
from batchrouter.store import migrations
from batchrouter.store.lock import locked, name_run
from batchrouter.store.reading import open_reader
from tests.rights import anothers_rights, let_all_read_and_none_write, public_folder

__all__ = ["public_folder"]
RUN = "INSERT INTO runs (input, state, started_at, currency, fixed) VALUES ('/i', 'running', '', 'INR', '{}')"
Database = Callable[[int], sqlite3.Connection]


@pytest.fixture
def write(public_folder: Path) -> Iterator[Database]:
    """A database with so many runs, in whose log they stand as long as the connection is open."""
    with closing(sqlite3.connect(public_folder / "a.db", isolation_level=None)) as connection:

        def written(runs: int) -> sqlite3.Connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for migration in migrations.shipped():
                connection.executescript(migrations.script(migration, ""))
            for _ in range(runs):
                connection.execute(RUN)
            return connection

        yield written


def runs_seen_by_another_user(path: Path) -> int:
    with anothers_rights(), open_reader(path) as reader:
        return int(reader.execute("SELECT count(*) FROM runs").fetchone()[0])


def test_another_user_reads_a_database_in_a_folder_that_nobody_may_write_to(
    write: Database, public_folder: Path
) -> None:
    write(2).close()
    let_all_read_and_none_write(public_folder)
    assert runs_seen_by_another_user(public_folder / "a.db") == 2
    assert [path.name for path in public_folder.iterdir()] == ["a.db"]


def test_another_user_leaves_no_file_in_a_folder_that_all_may_write_to(write: Database, public_folder: Path) -> None:
    write(2).close()
    let_all_read_and_none_write(public_folder)
    public_folder.chmod(0o777)
    assert runs_seen_by_another_user(public_folder / "a.db") == 2
    assert [path.name for path in public_folder.iterdir()] == ["a.db"], "a file of theirs would stop the owner's run"


def test_another_user_reads_beside_the_writer(write: Database, public_folder: Path) -> None:
    connection = write(1)
    let_all_read_and_none_write(public_folder)
    assert runs_seen_by_another_user(public_folder / "a.db") == 1
    connection.execute(RUN)
    assert runs_seen_by_another_user(public_folder / "a.db") == 2


@pytest.mark.parametrize(
    ("left", "mode_of_log", "runs"),
    [(["-wal", "-shm"], 0o444, 3), (["-wal"], 0o444, None), (["-wal", "-shm"], 0, None)],
)
def test_what_a_killed_process_left_is_read_or_it_is_said_who_can(
    write: Database, public_folder: Path, left: list[str], mode_of_log: int, runs: int | None
) -> None:
    connection = write(0)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(3):
        connection.execute(RUN)
    folder = public_folder / "left"
    folder.mkdir()
    for ending in ("", *left):
        shutil.copy(public_folder / f"a.db{ending}", folder)
    let_all_read_and_none_write(folder)
    (folder / "a.db-wal").chmod(mode_of_log)
    if runs is not None:
        assert runs_seen_by_another_user(folder / "a.db") == runs
    else:
        with pytest.raises(InputMissing, match="cannot be read without a") as caught:
            runs_seen_by_another_user(folder / "a.db")
        assert "copies them to a folder of their own" in caught.value.hint
    folder.chmod(0o755)


@pytest.mark.parametrize("mode", [0o444, 0])
@pytest.mark.parametrize("left", [["-wal"], ["-wal", "-shm"]])
def test_an_empty_log_is_none(write: Database, public_folder: Path, left: list[str], mode: int) -> None:
    write(2).close()
    with open_reader(public_folder / "a.db") as reader:
        reader.execute("SELECT 1")
    assert (public_folder / "a.db-shm").exists(), "what the owner's `status` leaves"
    let_all_read_and_none_write(public_folder)
    for ending in ("-wal", "-shm"):
        (public_folder / f"a.db{ending}").chmod(mode)
    public_folder.chmod(0o755)
    for ending in {"-wal", "-shm"} - {*left}:
        (public_folder / f"a.db{ending}").unlink()
    assert runs_seen_by_another_user(public_folder / "a.db") == 2


def test_a_file_that_may_not_be_read_is_missing(write: Database, public_folder: Path) -> None:
    write(2).close()
    (public_folder / "a.db").chmod(0o000)
    with pytest.raises(InputMissing, match="may not be read by this user"):
        runs_seen_by_another_user(public_folder / "a.db")


def test_who_cannot_see_locks_does_not_trust_what_changed_meanwhile(write: Database, public_folder: Path) -> None:
    write(2).close()
    path = public_folder / "a.db"
    let_all_read_and_none_write(public_folder)
    with ExitStack() as reading:
        with anothers_rights():
            reading.enter_context(open_reader(path))
        os.utime(path)
        with pytest.raises(Interrupted, match="written to while it was read"):
            reading.close()


def test_a_failure_of_reading_is_called_one(write: Database, public_folder: Path) -> None:
    write(2).close()
    with pytest.raises(StorageFailed, match=r"^reading .* failed: no such table: gone") as caught:
        with open_reader(public_folder / "a.db") as reader:
            reader.execute("SELECT * FROM gone")
    assert "space" not in caught.value.hint


def test_whether_another_users_run_works_is_not_known_and_its_row_is_believed(
    write: Database, public_folder: Path
) -> None:
    write(1).close()
    path = public_folder / "a.db"
    with locked(path):
        name_run(path, 1)
    let_all_read_and_none_write(public_folder)
    (public_folder / "a.db.lock").chmod(0o000)
    with anothers_rights():
        assert [one.summary.state for one in api.status(path)] == ["running"]
        assert api.report(db=path).run.state == "running"
