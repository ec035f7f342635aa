"""One process works on a database at a time: an advisory lock on a file beside it.

The kernel drops the lock when the process dies, however it dies, so a crash never leaves a lock behind. The lock is
not on the database itself: closing any descriptor of that file would drop SQLite's own locks in this process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchrouter.core.errors import DatabaseUnfit, Interrupted, StorageFailed

PATIENCE_S = 0.5
"""Whoever only asks who works holds the lock for an instant."""
AGAIN_AFTER_S = 0.02
UNTOLD = 0
"""No run's number: the lock is another user's, so whether it is held is not known."""


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the database's lock; Interrupted (75), with the holder's process id, if another process keeps it."""
    descriptor = _acquire(_lock_file(database))
    try:
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def name_run(database: Path, run: int) -> None:
    """Say which run the holder of the lock, this process, works on from now on."""
    with suppress(OSError):
        descriptor = os.open(_lock_file(database), os.O_WRONLY | os.O_CLOEXEC)
        try:
            _sign(descriptor, run)
        finally:
            os.close(descriptor)


def run_at_work(database: Path) -> int | None:
    """The run that a process works on now; None: there is none; UNTOLD. Nothing is made or changed."""
    try:
        descriptor = os.open(_lock_file(database), os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return UNTOLD
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _signed(descriptor)[1]
    else:
        return None
    finally:
        os.close(descriptor)


def _lock_file(database: Path) -> Path:
    if not database.name:
        raise DatabaseUnfit(f"{database} is a folder", "Give --db the name of a file.")
    return database.with_name(database.name + ".lock")


def _sign(descriptor: int, run: int | None = None) -> None:
    """Who holds the lock is good to know; it holds without. Always as long: a reader sees the old words or the new."""
    with suppress(OSError):
        os.pwrite(descriptor, f"{os.getpid():<12}\n{run or '':<18}\n".encode(), 0)


def _signed(descriptor: int) -> tuple[str, int | None]:
    """(process id, run) as the holder wrote them."""
    words = os.pread(descriptor, 32, 0).decode(errors="replace").split()
    return words[0] if words else "unknown", int(words[1]) if len(words) > 1 and words[1].isdecimal() else None


def _acquire(path: Path) -> int:
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFailed(
                f"cannot create {path}: {error.strerror}", "Choose a --db in an existing folder that you can write to."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder, _ = _signed(descriptor)
            os.close(descriptor)
            if time.monotonic() < give_up_s:
                time.sleep(AGAIN_AFTER_S)
                continue
            raise Interrupted(
                f"another process (pid {holder}) is working on this database",
                "Wait for it, or stop it; `batchrouter status` shows what it does.",
            ) from error
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one that the path names now (somebody may have removed it meanwhile)."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
