"""What SQLite and the disk say when they fail, as what a person can do about it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchrouter.core.errors import BatchRouterError, DatabaseUnfit, StorageFailed

INTACT = "What was committed is intact. Free some space, or mend the disk, and start the same command again."
UNCHANGED = "Nothing was changed. See whether the disk is full or broken; a copy in another folder can be read as well."


@contextmanager
def storage_errors(path: Path, *, reading: bool = False) -> Iterator[None]:
    """Turn what SQLite and the disk say into what a person can do about it."""
    failure = reading_failure if reading else storage_failure
    try:
        yield
    except BatchRouterError:
        raise
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise  # our own mistake, not the disk's
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise DatabaseUnfit(f"{path} is not an SQLite database", "Choose another --db.") from error
        raise failure(path, error) from error
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) != path:
            raise
        raise failure(path, error) from error


def storage_failure(path: Path, error: Exception, hint: str = INTACT) -> StorageFailed:
    """The error of a write that did not happen, with the way on."""
    return StorageFailed(f"writing {path} failed: {error}", hint)


def reading_failure(path: Path, error: Exception) -> StorageFailed:
    """The error of who only looked."""
    return StorageFailed(f"reading {path} failed: {error}", UNCHANGED)
