"""Room kept in hand: a file beside the database, given up when the disk is full, so that answers already paid for fit.

It holds random bytes, because zeros take no room where a filesystem compresses. It is not synced: a filesystem sets
the room aside when a page is written, and the ballast of a short run never has to reach the disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchrouter.core.room import WAL_BYTES, ballast_that_fits
from batchrouter.core.settings import Settings
from batchrouter.core.surroundings import calls_in_flight_most
from batchrouter.core.tokens import BYTES_A_TOKEN

BYTES_A_CALL = 8 * 1024
"""The pages that the rows of one answer touch, its text apart."""
BYTES_MOST = 32 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


def ballast_bytes(settings: Settings, concurrency: int | None) -> int:
    """Room for the answers of all calls in flight, each as long as its tier lets it be."""
    calls = calls_in_flight_most(settings, concurrency)
    tokens = max(tier.max_output_tokens for tier in settings.tier.values())
    return min(BYTES_MOST, WAL_BYTES + calls * (BYTES_A_CALL + tokens * BYTES_A_TOKEN))


class Ballast:
    """The file; made by ``ballast_beside``."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".ballast")

    def make(self, bytes_wanted: int) -> int:
        """Write it as large as is wanted, and as the free room allows; how many bytes it has."""
        self.free()  # a crash left it behind
        try:
            size = ballast_that_fits(bytes_wanted, shutil.disk_usage(self.path.parent).free)
            self._write(size)
        except OSError:  # a quota, or a limit of file sizes: a run goes on without
            self.free()
            return 0
        return size

    def _write(self, size: int) -> None:
        chunk = os.urandom(min(size, _CHUNK_BYTES))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while size:
                size -= os.write(descriptor, chunk[:size])
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give its room back."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


@contextmanager
def ballast_beside(database: Path, bytes_wanted: int, notice: Callable[[str], None]) -> Iterator[Ballast]:
    """A ballast while the block runs; ``notice`` is told when the disk has not enough room for all of it."""
    ballast = Ballast(database)
    try:
        size = ballast.make(bytes_wanted)
        if size < bytes_wanted:
            notice(
                f"little room beside {database}: {size / 1e6:,.2f} MB instead of {bytes_wanted / 1e6:,.2f} MB are kept"
                " in hand for the answers that are in flight should the disk become full"
            )
        yield ballast
    finally:
        ballast.free()
