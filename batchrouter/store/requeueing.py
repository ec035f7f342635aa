"""Queueing ended records again, as new generations: what ``retry`` does before a run goes on."""

from __future__ import annotations

import json
from typing import Any

import aiosqlite

from batchrouter.core.options import RetrySelection


async def queue_again(
    connection: aiosqlite.Connection, run: int, which: RetrySelection, *, most: int | None = None
) -> tuple[int, int]:
    """Queue ended records again as a new generation on the tier that was decided first; ``most``: so many, the first in the input.

    Returns how many, and how many that were meant have no request any more.
    """
    conditions, values = _selected(which)
    await connection.execute("CREATE TEMP TABLE chosen (line INTEGER PRIMARY KEY)")
    sql = (
        "INSERT INTO temp.chosen SELECT r.line FROM records r"
        " JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation"
        f" WHERE r.run = ? AND {' AND '.join(conditions)}"
    )
    await connection.execute(sql, (run, *values))
    cursor = await connection.execute(
        "DELETE FROM temp.chosen WHERE line IN (SELECT line FROM requests WHERE run = ? AND body IS NULL)", (run,)
    )
    purged = cursor.rowcount
    if most is not None:
        sql = "DELETE FROM temp.chosen WHERE line NOT IN (SELECT line FROM temp.chosen ORDER BY line LIMIT ?)"
        await connection.execute(sql, (most,))
    ((chosen,),) = await connection.execute_fetchall("SELECT count(*) FROM temp.chosen")
    await connection.execute(
        "UPDATE records SET state = 'queued', generation = generation + 1, tier ="
        " (SELECT d.tier FROM decisions d WHERE d.run = records.run AND d.line = records.line)"
        " WHERE run = ? AND line IN (SELECT line FROM temp.chosen)",
        (run,),
    )
    if chosen:
        await connection.execute(
            "UPDATE runs SET state = 'stopped', exit_code = NULL WHERE run = ? AND state <> 'running'", (run,)
        )  # the calls of a process that died are open until the next one begins
    await connection.execute("DROP TABLE temp.chosen")
    await connection.commit()
    return int(chosen), purged


def _selected(which: RetrySelection) -> tuple[list[str], list[Any]]:
    conditions, values = [], []
    for column, wanted in (
        ("r.state", which.statuses),
        ("s.error_class", which.error_classes),
        ("r.task", which.tasks),
        ("r.id", which.ids),
        ("r.tier", [which.tier] if which.tier else []),
    ):
        if wanted:
            conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(wanted), ensure_ascii=False))
    conditions.append("r.state IN ('done', 'failed')")
    return conditions, values
