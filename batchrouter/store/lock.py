"""One process works on a database at a time: an advisory lock on a file beside it.

The kernel drops the lock when the process dies, however it dies, so a crash never leaves a lock behind. The lock is
not on the database itself: closing any descriptor of that file would drop SQLite's own locks in this process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchrouter.core.errors import Interrupted, StorageFailed


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the database's lock; Interrupted (75) at once, with the holder's process id, if another process has it."""
    path = database.with_name(database.name + ".lock")
    descriptor = _acquire(path)
    try:
        with suppress(OSError):  # who holds it is good to know; the lock holds without
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(path: Path) -> int:
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
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
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
