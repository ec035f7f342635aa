"""The rows of evaluations: what may be drawn, what was drawn, what is still to be judged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from batchrouter.ports import Comparison, JudgementRow
from batchrouter.store.queue import job_of


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """What makes two evaluations the same: asked for again, it goes on, or is shown."""

    run: int
    seed: int
    sample: int
    against: str
    judge: str
    stratify: str
    prompt_version: int


@dataclass(frozen=True, slots=True)
class Population:
    """Done records of a run: those that can be drawn, those at the top, those whose texts are gone."""

    drawable: int
    at_top: int
    without_text: int


_DRAWABLE = """
FROM records r JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation
JOIN requests q ON q.run = r.run AND q.line = r.line
WHERE r.run = ? AND r.state = 'done' AND r.tier IS NOT NULL
"""
_HAS_TEXT = "q.body IS NOT NULL AND s.response IS NOT NULL"


def population(connection: sqlite3.Connection, run: int, top: str) -> Population:
    """How many done records there are of each kind."""
    row = connection.execute(
        f"SELECT total(r.tier <> ? AND {_HAS_TEXT}), total(r.tier = ?), total(r.tier <> ? AND NOT ({_HAS_TEXT})) {_DRAWABLE}",
        (top, top, top, run),
    ).fetchone()
    return Population(*(int(count) for count in row))


def drawable(connection: sqlite3.Connection, run: int, top: str) -> Iterator[tuple[int, int, str, str]]:
    """(line, generation, tier, task or '') of the records that can be drawn, in line order."""
    sql = f"SELECT r.line, r.generation, r.tier, coalesce(r.task, '') {_DRAWABLE} AND r.tier <> ? AND {_HAS_TEXT} ORDER BY r.line"
    for row in connection.execute(sql, (run, top)):
        yield tuple(row)


def find(connection: sqlite3.Connection, key: EvaluationKey) -> int | None:
    """The number of this evaluation, if it was begun."""
    row = connection.execute(
        "SELECT evaluation FROM evaluations WHERE run = ? AND seed = ? AND sample = ? AND against = ? AND judge = ?"
        " AND stratify = ? AND prompt_version = ?",
        (key.run, key.seed, key.sample, key.against, key.judge, key.stratify, key.prompt_version),
    ).fetchone()
    return int(row[0]) if row else None


async def create(
    connection: aiosqlite.Connection,
    key: EvaluationKey,
    found: Population,
    drawn: Sequence[tuple[int, int, str, str]],
    now: str,
) -> int:
    """Note an evaluation and its sample: (line, generation, tier, tier to compare with)."""
    cursor = await connection.execute(
        "INSERT INTO evaluations (run, seed, sample, against, judge, stratify, prompt_version, population, at_top,"
        " without_text, started_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(key.run, key.seed, key.sample, key.against, key.judge, key.stratify, key.prompt_version),
            *(found.drawable, found.at_top, found.without_text, now),
        ),
    )
    evaluation = cursor.lastrowid or 0
    await connection.executemany(
        "INSERT INTO judgements (evaluation, run, line, generation, tier, against_tier) VALUES (?, ?, ?, ?, ?, ?)",
        [(evaluation, key.run, *one) for one in drawn],
    )
    await connection.commit()
    return evaluation


async def give_up_purged(connection: aiosqlite.Connection, evaluation: int, now: str) -> int:
    """What was drawn and then purged before it was judged is unjudged for good; how many."""
    cursor = await connection.execute(
        "UPDATE judgements SET verdict = 'unjudged', judged_at = ? WHERE evaluation = ? AND verdict IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM requests q JOIN results s ON s.run = q.run AND s.line = q.line"
        " WHERE q.run = judgements.run AND q.line = judgements.line AND s.generation = judgements.generation"
        f" AND {_HAS_TEXT})",
        (now, evaluation),
    )
    await connection.commit()
    return cursor.rowcount


async def finish(connection: aiosqlite.Connection, evaluation: int, now: str) -> None:
    """Note the end, if nothing is left to be judged."""
    await connection.execute(
        "UPDATE evaluations SET finished_at = ? WHERE evaluation = ? AND finished_at IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM judgements j WHERE j.evaluation = evaluations.evaluation AND j.verdict IS NULL)",
        (now, evaluation),
    )
    await connection.commit()


_CALLS_OF_TOOLS = "iif(s.answer IS NULL OR instr(q.needs, 'tools'), CAST(s.response AS BLOB), NULL)"
"""The response where calls of tools may stand in it."""
_UNJUDGED = f"""
SELECT s.answer, s.finish_reason, {_CALLS_OF_TOOLS},
    j.other_attempt, j.other_model, j.other_answer, j.forward, j.backward,
    j.line, j.against_tier, j.against_tier, r.generation, CAST(q.body AS BLOB), q.prompt_bytes, q.images, q.choices,
    q.max_output_tokens, q.needs, q.requested_model, CAST(q.expect AS BLOB), r.task,
    (SELECT max(a.attempt) FROM attempts a WHERE a.run = j.run AND a.line = j.line), NULL
FROM judgements j
JOIN records r ON r.run = j.run AND r.line = j.line
JOIN requests q ON q.run = j.run AND q.line = j.line
JOIN results s ON s.run = j.run AND s.line = j.line AND s.generation = j.generation
WHERE j.evaluation = ? AND j.verdict IS NULL ORDER BY j.line
"""


def unjudged(connection: sqlite3.Connection, evaluation: int) -> list[Comparison]:
    """What is left to be judged, in line order."""
    return [_comparison(evaluation, tuple(row)) for row in connection.execute(_UNJUDGED, (evaluation,))]


def _comparison(evaluation: int, row: tuple[Any, ...]) -> Comparison:
    answer, finish_reason, response, attempt, model, other, forward, backward = row[:8]
    job = job_of(row[8:])
    known = JudgementRow(evaluation, job.line, attempt, model, other, forward, backward, None, None, None)
    return Comparison(job, answer, finish_reason, response, known)


_JUDGED = f"""
SELECT j.line, j.tier, j.how, j.verdict, j.gold, r.id, r.task, q.body, s.answer, s.model, j.other_model, j.other_answer,
    j.against_tier, j.forward, j.backward, {_CALLS_OF_TOOLS} AS response
FROM judgements j
JOIN records r ON r.run = j.run AND r.line = j.line
LEFT JOIN requests q ON q.run = j.run AND q.line = j.line
LEFT JOIN results s ON s.run = j.run AND s.line = j.line AND s.generation = j.generation
WHERE j.evaluation = ? ORDER BY j.line
"""


def sampled(connection: sqlite3.Connection, evaluation: int) -> list[sqlite3.Row]:
    """The sample with both answers and all that was said of them, in line order."""
    return connection.execute(_JUDGED, (evaluation,)).fetchall()


def row_of(connection: sqlite3.Connection, evaluation: int) -> sqlite3.Row:
    """The evaluation's own row."""
    row: sqlite3.Row = connection.execute("SELECT * FROM evaluations WHERE evaluation = ?", (evaluation,)).fetchone()
    return row


_COST = """
SELECT coalesce(sum(a.cost_nano), 0) AS cost, coalesce(sum(a.cost_nano IS NULL), 0) AS unpriced
FROM evaluations e
JOIN judgements j ON j.evaluation = e.evaluation
JOIN evaluation_calls c ON c.run = j.run AND c.line = j.line AND c.evaluation = e.evaluation
JOIN attempts a ON a.run = c.run AND a.line = c.line AND a.attempt = c.attempt AND a.state IN ('ok', 'error', 'not_sent')
WHERE e.evaluation = ?
"""


def cost_nano(connection: sqlite3.Connection, evaluation: int) -> int | None:
    """What the calls of this evaluation cost; lost ones are not inside. None: not known of all of them."""
    row = connection.execute(_COST, (evaluation,)).fetchone()
    return None if row["unpriced"] else int(row["cost"])


async def set_gold(connection: aiosqlite.Connection, evaluation: int, gold: Mapping[int, str]) -> None:
    """Note what a person says of the records on these lines; what was said before is forgotten."""
    await connection.execute("UPDATE judgements SET gold = NULL WHERE evaluation = ?", (evaluation,))
    await connection.execute(
        "UPDATE judgements SET gold = g.value FROM json_each(?) AS g WHERE evaluation = ? AND line = CAST(g.key AS INTEGER)",
        (json.dumps({str(line): verdict for line, verdict in gold.items()}), evaluation),
    )
    await connection.commit()
