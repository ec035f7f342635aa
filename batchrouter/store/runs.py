"""The rows of runs: finding, making, going on with and ending them.

These statements run before the engine starts and after it ended, on the connection that nobody else uses then.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiosqlite

from batchrouter.core.errors import ExitCode
from batchrouter.core.records import Position


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a process works under: its run, its number among the run's processes, and its configuration.

    ``evaluation``: the one that all its calls are for (None: it works on the run itself).
    """

    run: int
    epoch: int
    config: int
    evaluation: int | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as its row says."""

    run: int
    name: str | None
    input: str
    demo: bool
    state: str
    exit_code: int | None
    currency: str
    fixed: Mapping[str, Any]
    intake_state: str
    position: Position

    @property
    def is_finished(self) -> bool:
        """True when no record is pending and the input was read to its end."""
        return self.state == "finished"


FoundLimits = Mapping[str, Mapping[str, int]]
"""Model -> rpm, tpm, concurrency."""
_RUN = (
    "SELECT run, name, input, demo, state, exit_code, currency, fixed, intake_state, intake_offset, intake_line,"
    " intake_digest, intake_ended, intake_blank FROM runs"
)


def _run_row(row: sqlite3.Row | tuple[Any, ...]) -> RunRow:
    run, name, source, demo, state, exit_code, currency, fixed, intake_state, offset, line, digest, ended, blank = row
    position = Position(offset=offset, line=line, digest=digest, ended=bool(ended), blank=blank)
    return RunRow(run, name, source, bool(demo), state, exit_code, currency, json.loads(fixed), intake_state, position)


async def newest_run(connection: aiosqlite.Connection, *, name: str | None, source: str, demo: bool) -> RunRow | None:
    """The newest run of the name or, without one, of the input."""
    where, value = ("name", name) if name is not None else ("input", source)
    sql = f"{_RUN} WHERE {where} = ? AND demo = ? ORDER BY run DESC LIMIT 1"
    rows = list(await connection.execute_fetchall(sql, (value, int(demo))))
    return _run_row(rows[0]) if rows else None


async def run_by_number(connection: aiosqlite.Connection, run: int) -> RunRow:
    """The run of that number, which exists."""
    rows = list(await connection.execute_fetchall(f"{_RUN} WHERE run = ?", (run,)))
    return _run_row(rows[0])


async def unfinished_runs(connection: aiosqlite.Connection) -> list[RunRow]:
    """Runs with something left to do, oldest first."""
    rows = await connection.execute_fetchall(f"{_RUN} WHERE state <> 'finished' ORDER BY run")
    return [_run_row(row) for row in rows]


def all_runs(connection: sqlite3.Connection) -> list[RunRow]:
    """Every run, for who only reads."""
    return [_run_row(row) for row in connection.execute(f"{_RUN} ORDER BY run")]


async def create_run(
    connection: aiosqlite.Connection,
    *,
    name: str | None,
    source: str,
    demo: bool,
    currency: str,
    fixed: Mapping[str, Any],
    now: str,
) -> RunRow:
    """A new run with nothing taken in."""
    cursor = await connection.execute(
        "INSERT INTO runs (name, input, demo, state, started_at, currency, fixed) VALUES (?, ?, ?, 'stopped', ?, ?, ?)",
        (name, source, int(demo), now, currency, json.dumps(fixed, ensure_ascii=False)),
    )
    await connection.commit()
    return await run_by_number(connection, cursor.lastrowid or 0)


async def begin_anew(
    connection: aiosqlite.Connection, run: RunRow, *, currency: str, fixed: Mapping[str, Any]
) -> RunRow:
    """A run that has taken in nothing yet takes other settings."""
    await connection.execute(
        "UPDATE runs SET currency = ?, fixed = ? WHERE run = ?",
        (currency, json.dumps(fixed, ensure_ascii=False), run.run),
    )
    await connection.commit()
    return replace(run, currency=currency, fixed=fixed)


async def begin(
    connection: aiosqlite.Connection, run: int, *, settings: str, version: str, max_failed: str | None, now: str
) -> tuple[Invocation, int]:
    """Start working on a run: under what, and how many calls a dead process left open.

    Those calls may have been paid for: they are unknown from now on, at the worst case that was reserved for them.
    """
    lost = await _lose_open_calls(connection, run, now)
    await connection.execute(
        "UPDATE runs SET state = 'running', exit_code = NULL, stop_reason = NULL, finished_at = NULL, max_failed = ?,"
        " epoch = epoch + 1 WHERE run = ?",
        (max_failed, run),
    )
    epoch = await current_epoch(connection, run)
    config = await _config(connection, run, settings=settings, version=version, now=now)
    await connection.commit()
    return Invocation(run, epoch, config), lost


async def begin_beside(
    connection: aiosqlite.Connection, run: int, evaluation: int, *, settings: str, version: str, now: str
) -> tuple[Invocation, int]:
    """Start making calls for an evaluation of a run that is not worked on: its state stays what it is."""
    lost = await _lose_open_calls(connection, run, now)
    await connection.execute("UPDATE runs SET epoch = epoch + 1 WHERE run = ?", (run,))
    epoch = await current_epoch(connection, run)
    config = await _config(connection, run, settings=settings, version=version, now=now)
    await connection.commit()
    return Invocation(run, epoch, config, evaluation), lost


async def _lose_open_calls(connection: aiosqlite.Connection, run: int, now: str) -> int:
    cursor = await connection.execute(
        "UPDATE attempts INDEXED BY attempts_open SET state = 'unknown', error_class = 'crash', cost_nano = reserved_nano, ended_at = ?,"
        " cost_source = CASE WHEN reserved_nano IS NULL THEN 'none' ELSE 'reserved' END,"
        " error = 'the program ended while this call was open; it may have been paid for'"
        " WHERE run = ? AND state = 'open'",
        (now, run),
    )
    return cursor.rowcount


async def current_epoch(connection: aiosqlite.Connection, run: int) -> int:
    """The number of the newest process of a run."""
    ((epoch,),) = await connection.execute_fetchall("SELECT epoch FROM runs WHERE run = ?", (run,))
    return int(epoch)


async def _config(connection: aiosqlite.Connection, run: int, *, settings: str, version: str, now: str) -> int:
    rows = list(
        await connection.execute_fetchall(
            "SELECT config, settings, version FROM run_configs WHERE run = ? ORDER BY config DESC LIMIT 1", (run,)
        )
    )
    if rows and (rows[0][1], rows[0][2]) == (settings, version):
        return int(rows[0][0])
    cursor = await connection.execute(
        "INSERT INTO run_configs (run, started_at, version, settings) VALUES (?, ?, ?, ?)",
        (run, now, version, settings),
    )
    return cursor.lastrowid or 0


async def end(
    connection: aiosqlite.Connection,
    run: int,
    exit_code: ExitCode,
    reason: str,
    *,
    now: str,
    cut: bool = False,
    found_limits: FoundLimits | None = None,
    shared_limits: Sequence[Sequence[str]] = (),
) -> None:
    """Note how the work on a run ended.

    ``cut``: its input is no more, what was taken in is all there is. ``found_limits``: model -> rpm, tpm, concurrency;
    None or empty leaves what an earlier start found. ``shared_limits``: groups of models that share one.
    """
    found = json.dumps(found_limits) if found_limits else None
    shared = json.dumps(shared_limits) if shared_limits else None
    finished = exit_code in (ExitCode.OK, ExitCode.SOME_FAILED)
    await connection.execute(
        "UPDATE runs SET state = ?, exit_code = ?, stop_reason = ?, finished_at = ?,"
        " intake_state = CASE WHEN ? THEN 'cut' ELSE intake_state END WHERE run = ?",
        ("finished" if finished else "stopped", int(exit_code), reason or None, now, int(cut), run),
    )
    if found:
        await connection.execute(
            "UPDATE runs SET found_limits = ?, shared_limits = ?, found_at = ? WHERE run = ?", (found, shared, now, run)
        )
    await connection.commit()


async def found_earlier(connection: aiosqlite.Connection, run: int, since: str) -> list[tuple[FoundLimits, Any]]:
    """(limits, the configuration they were found under) of the run and others of its input or name, the newest first."""
    sql = (
        "SELECT f.found_limits, (SELECT c.settings FROM run_configs c WHERE c.run = f.run AND c.started_at <= f.found_at"
        " ORDER BY c.config DESC LIMIT 1) FROM runs f JOIN runs u ON u.run = ?"
        " WHERE f.found_at >= ? AND f.demo = u.demo AND (f.run = u.run OR f.input = u.input OR f.name = u.name)"
        " ORDER BY f.found_at DESC"
    )
    rows = await connection.execute_fetchall(sql, (run, since))
    return [(json.loads(found), json.loads(settings)) for found, settings in rows if settings]


async def reopen_intake(connection: aiosqlite.Connection, run: int) -> None:
    """The input has grown: there are lines to take in again."""
    await connection.execute("UPDATE runs SET intake_state = 'reading', state = 'stopped' WHERE run = ?", (run,))
    await connection.commit()


async def spent_nano(connection: aiosqlite.Connection, run: int) -> int:
    """Nano-units of the budget that are gone: known costs, and lost calls at their worst case."""
    sql = "SELECT coalesce(sum(cost_nano), 0) FROM attempt_counters WHERE run = ?"
    ((spent,),) = await connection.execute_fetchall(sql, (run,))
    return int(spent)


async def recently_sent(
    connection: aiosqlite.Connection, since: str, models: Collection[str]
) -> list[tuple[str, str, int]]:
    """(model, UTC time, tokens) of all runs' calls of these models that may have been sent since then, oldest first.

    A call whose process died may have been sent at any time up to now.
    """
    sql = (
        "SELECT model, strftime('%Y-%m-%dT%H:%M:%fZ', ended_at, '-' || (coalesce(latency_ms, 0) / 1000.0) || ' seconds'),"
        " coalesce(input_tokens + output_tokens, output_cap) FROM attempts WHERE ended_at >= ? AND state <> 'not_sent'"
        " AND model IN (SELECT value FROM json_each(?)) ORDER BY 2"
    )
    values = (since, json.dumps(list(models), ensure_ascii=False))
    return [(row[0], row[1], row[2]) for row in await connection.execute_fetchall(sql, values)]


async def counts(connection: aiosqlite.Connection, run: int) -> list[tuple[str, str, int]]:
    """(tier or '', state, records) of a run."""
    sql = "SELECT tier, state, records FROM counters WHERE run = ? AND records > 0"
    return [(row[0], row[1], row[2]) for row in await connection.execute_fetchall(sql, (run,))]


async def repeated_ids(connection: aiosqlite.Connection, run: int) -> tuple[int, str]:
    """How many ids stand on more than one line of the input, and the first of them in order."""
    sql = (
        "SELECT count(*), coalesce(min(id), '') FROM ("
        "SELECT id FROM records WHERE run = ? AND id IS NOT NULL GROUP BY id HAVING count(*) > 1)"
    )
    ((repeated, first),) = await connection.execute_fetchall(sql, (run,))
    return repeated, first


async def line_of_record(connection: aiosqlite.Connection, run: int, ordinal: int) -> int | None:
    """The line of the ordinal-th valid record (1-based), or None if there are not so many yet."""
    sql = "SELECT line FROM records WHERE run = ? AND state <> 'rejected' ORDER BY line LIMIT 1 OFFSET ?"
    rows = list(await connection.execute_fetchall(sql, (run, ordinal - 1)))
    return int(rows[0][0]) if rows else None


def line_digests(connection: sqlite3.Connection, run: int, first: int, last: int) -> list[tuple[int, bytes]]:
    """(line, digest) of the rows from one line to another, both included, in line order."""
    sql = "SELECT line, digest FROM records WHERE run = ? AND line BETWEEN ? AND ? ORDER BY line"
    return [(row[0], row[1]) for row in connection.execute(sql, (run, first, last))]
