"""Texts that are deleted for good."""

from __future__ import annotations

from pathlib import Path

from batchrouter.assembly.clock import SystemClock
from batchrouter.reporting import figures
from batchrouter.store import purging
from batchrouter.store.opening import open_reader, open_writer


async def purge(
    run: str | None = None,
    *,
    db: Path,
    requests: bool = False,
    answers: bool = False,
    older_than_s: float | None = None,
) -> purging.Purged:
    """Delete stored texts of a run for good (None: of all runs), if it ended so long ago; figures and costs stay.

    ``requests``: bodies, metadata and checks of ended records. ``answers``: answers, responses, texts of errors.
    """
    with open_reader(db) as reader:
        number = None if run is None else figures.find_run(reader, run)
    clock = SystemClock()
    before = None if older_than_s is None else clock.utc_ago(older_than_s)
    async with open_writer(db, clock.utc()) as connection:
        return await purging.purge(connection, db, run=number, ended_before=before, requests=requests, answers=answers)
