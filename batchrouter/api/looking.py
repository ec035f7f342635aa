"""What a database holds, while a run writes it as well as after."""

from __future__ import annotations

from pathlib import Path

from batchrouter.assembly import looking_on
from batchrouter.reporting import figures


def status(db: Path) -> list[figures.RunStatus]:
    """All runs, newest last, with their progress and their oldest calls in flight.

    The state of a run whose process died is ``interrupted``.
    """
    return looking_on.statuses(db)


def report(run: str = "latest", *, db: Path) -> figures.Summary:
    """The figures of a run."""
    return looking_on.summary(db, run)
