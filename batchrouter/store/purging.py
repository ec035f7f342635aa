"""Deleting the texts of a run for good: what was sent, what came back. States, counts, tokens and costs stay.

SQLite leaves what was deleted in the file until something else is written there, and in the log beside it. Deleted
text is overwritten (``secure_delete``), but a page that was split keeps copies where nothing looks any more: only a
file that is written anew holds nothing but its rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from batchrouter.core.errors import Interrupted, StorageFailed
from batchrouter.store.failures import storage_errors

PURGED = "purged"
"""Stands where an error's text was: such texts quote answers and requests."""

_ENDED_RUNS = """
SELECT run FROM runs WHERE (?1 IS NULL OR run = ?1) AND (?2 IS NULL OR coalesce(finished_at,
    (SELECT max(s.finished_at) FROM results s WHERE s.run = runs.run), started_at) < ?2) ORDER BY run
"""
_REQUESTS = """
UPDATE requests SET body = NULL, metadata = NULL, expect = NULL
WHERE run = ? AND (body IS NOT NULL OR metadata IS NOT NULL OR expect IS NOT NULL)
    AND (SELECT r.state FROM records r WHERE r.run = requests.run AND r.line = requests.line) <> 'queued'
"""
_REASONS = f"UPDATE results SET error = '{PURGED}' WHERE run = ? AND state = 'rejected' AND error <> '{PURGED}'"
"""Why a line was rejected may quote it."""
_ANSWERS = f"""
UPDATE results SET answer = NULL, response = NULL, error = CASE WHEN error IS NOT NULL THEN '{PURGED}' END
WHERE run = ? AND state <> 'rejected' AND (answer IS NOT NULL OR response IS NOT NULL OR error <> '{PURGED}')
"""
_COMPARED = "UPDATE judgements SET other_answer = NULL WHERE run = ? AND other_answer IS NOT NULL"
"""What a dearer tier answered to the same request."""
_ERRORS = (
    f"UPDATE attempts SET error = '{PURGED}' WHERE run = ? AND state <> 'open' AND error <> '{PURGED}'",
    f"UPDATE runs SET stop_reason = '{PURGED}' WHERE run = ? AND stop_reason <> '{PURGED}'",
)
_OF_THE_DONE = (
    f"UPDATE attempts SET error = '{PURGED}' WHERE run = ? AND error <> '{PURGED}' AND EXISTS (SELECT 1 FROM records r"
    " WHERE r.run = attempts.run AND r.line = attempts.line AND r.state = 'done')",
    f"UPDATE results SET error = '{PURGED}', response = iif(answer IS NULL, NULL, response)"
    f" WHERE run = ? AND error <> '{PURGED}' AND EXISTS (SELECT 1 FROM records r"
    " WHERE r.run = results.run AND r.line = results.line AND r.state = 'done')",
)
"""Failures on the way to an answer."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What was deleted: rows of these runs, and the bytes that the file lost by it."""

    runs: tuple[int, ...]
    requests: int
    answers: int
    bytes_freed: int


async def purge(
    connection: aiosqlite.Connection,
    path: Path,
    *,
    run: int | None,
    ended_before: str | None,
    requests: bool,
    answers: bool,
) -> Purged:
    """Delete texts of one run, or of all, that ended before a UTC time (None: whenever); all of them or none.

    Records that are still to be done keep their request. The rows are gone when this raises for lack of room
    (StorageFailed) or because somebody reads the old ones (Interrupted), but not yet every trace of them.
    """
    before = _bytes_of(path)
    chosen = [row[0] for row in await connection.execute_fetchall(_ENDED_RUNS, (run, ended_before))]
    cleared_requests = await _changed(connection, _REQUESTS, chosen) if requests else 0
    cleared_answers = await _changed(connection, _ANSWERS, chosen) if answers else 0
    for sql in (*((_REASONS,) if requests else ()), *((*_ERRORS, _COMPARED) if answers else ())):
        await _changed(connection, sql, chosen)
    await connection.commit()
    if chosen:
        await rewrite(connection, path)
    return Purged(tuple(chosen), cleared_requests, cleared_answers, max(0, before - _bytes_of(path)))


async def _changed(connection: aiosqlite.Connection, sql: str, chosen: list[int]) -> int:
    rows = 0
    for run in chosen:
        cursor = await connection.execute(sql, (run,))
        rows += cursor.rowcount
        await cursor.close()
    return rows


async def forget_done(connection: aiosqlite.Connection, path: Path, run: int) -> None:
    """Leave no trace of the cleared requests of done records: none in errors that quote them, none in any file.

    StorageFailed and Interrupted: as of ``rewrite``, or there was no room to change the errors.
    """
    try:
        with storage_errors(path):
            for sql in _OF_THE_DONE:
                await _changed(connection, sql, [run])
            await connection.commit()
    except BaseException:
        await connection.rollback()
        raise
    await rewrite(connection, path)


async def rewrite(connection: aiosqlite.Connection, path: Path) -> None:
    """Write the file anew, so that it and the log beside it hold nothing but the rows that are there.

    StorageFailed: there is no room for that. Interrupted: somebody reads rows as they were before.
    """
    await _empty_log(
        connection, path
    )  # what is deleted is overwritten in the file even if there is no room to rewrite it
    try:
        await connection.execute("VACUUM")
    except asyncio.CancelledError:
        await connection.interrupt()
        raise
    except sqlite3.OperationalError as error:
        raise StorageFailed(
            f"{path} cannot be written anew: {error}; the texts are deleted, but traces of them may be left in the file",
            f"Free {_bytes_of(path) / 1e6:,.0f} MB beside it and in the folder for temporary files, and do the same again.",
        ) from error
    await _empty_log(connection, path)


async def _empty_log(connection: aiosqlite.Connection, path: Path) -> None:
    ((busy, _, _),) = await connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    if busy:
        raise Interrupted(
            f"another process reads {path}: the texts are deleted, but {path}-wal still holds them",
            "End it, and do the same again.",
        )


def _bytes_of(path: Path) -> int:
    log = path.with_name(f"{path.name}-wal")
    return sum(file.stat().st_size for file in (path, log) if file.exists())
