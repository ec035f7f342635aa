"""Whether all is well: before money is spent, and of what is stored."""

from __future__ import annotations

from pathlib import Path

from batchrouter.assembly import examination
from batchrouter.core.findings import Finding
from batchrouter.core.settings import Settings
from batchrouter.store.opening import open_reader


def verify(db: Path) -> list[Finding]:
    """Re-derive every invariant of the database; findings of level ``error`` are violations."""
    with open_reader(db) as reader:
        return examination.verify(reader)


async def doctor(
    *, settings: Settings | None = None, config: Path | None = None, db: Path, source: str | None = None
) -> list[Finding]:
    """Configuration, keys, gateways, database and machine, before any money is spent.

    ``settings`` None: those of the file ``config``, whose mistakes are findings like all others.
    """
    return await examination.doctor(settings, config, db, source)
