"""Rows worked out once more from what they came from: answers from responses, requests and tiers from bodies.

Only what this version of the program wrote is compared: another may read the same bytes in another way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import cache

import msgspec
import orjson

from batchrouter.assembly import wiring
from batchrouter.assembly.carried import settings_of
from batchrouter.core.checks import expectation_of, failed_check
from batchrouter.core.findings import Finding
from batchrouter.core.pricing import Usage
from batchrouter.core.records import Decision, Record, Request
from batchrouter.core.settings import Settings
from batchrouter.core.version import VERSION
from batchrouter.engine.deciding import Deciding
from batchrouter.gateway.decoding import decode
from batchrouter.intake.parser import read_again
from batchrouter.intake.raw_object import BadLine
from batchrouter.store import runs
from batchrouter.store.examining import finding, reading_as_of_now
from batchrouter.store.verification import usage_of

_OF_THIS_VERSION = "SELECT run FROM run_configs GROUP BY run HAVING min(version) = :version AND max(version) = :version"
_ROUTED_OTHERWISE = "SELECT 1 FROM decisions WHERE run = ? AND (router = 'none') <> ? LIMIT 1"
_NOT_TIMED = f"""
    SELECT 'run ' || run || ', line ' || line || ', attempt ' || attempt FROM attempts WHERE run IN ({_OF_THIS_VERSION})
        AND ((latency_ms IS NULL AND (status_code IS NOT NULL OR error_class IN ('reset', 'lost')))
            OR (state = 'error' AND status_code >= 400 AND error <> 'purged'
                AND substr(error, 1, 4) <> status_code || ':'))"""
_ANSWERED = f"""
    SELECT s.run, s.line, s.generation, s.answer, s.finish_reason, s.response, a.state, a.status_code, a.output_cap,
        a.error_class, a.error, a.model_served, a.response_id, a.input_tokens, a.cached_tokens, a.output_tokens,
        a.reasoning_tokens, a.cache_write_tokens, q.max_output_tokens, q.expect,
        q.body, q.choices, q.body IS NULL AS is_cleared
    FROM results s JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
    JOIN requests q ON q.run = s.run AND q.line = s.line WHERE s.run IN ({_OF_THIS_VERSION})"""
_REQUESTED = f"""
    SELECT q.*, r.task, r.id, r.digest, r."offset", d.tier, d.router, d.reason FROM requests q
    JOIN records r ON r.run = q.run AND r.line = q.line LEFT JOIN decisions d ON d.run = q.run AND d.line = q.line
    WHERE q.run IN ({_OF_THIS_VERSION})"""


def retraced(connection: sqlite3.Connection) -> list[Finding]:
    """One finding for each kind of row that can be worked out again."""
    with reading_as_of_now(connection):
        return [
            finding("each run has the settings that it was begun with", _fixed(connection)),
            finding("each answered call was timed, and each refusal names its status", _timed(connection)),
            finding("each answer is what the response behind it says", _answers(connection)),
            finding("each request and its tier are what its body makes of them", _requests(connection)),
        ]


def _fixed(connection: sqlite3.Connection) -> Iterator[str]:
    """Each run's own settings, laid over those of each of its starts, change nothing."""
    for run in runs.all_runs(connection):
        for (text,) in connection.execute("SELECT settings FROM run_configs WHERE run = ?", (run.run,)):
            settings = Settings.model_validate_json(text)
            own, options = settings_of(run, settings)
            others = connection.execute(_ROUTED_OTHERWISE, (run.run, options.no_routing)).fetchone()
            if others or own.fixed_at_intake() != settings.fixed_at_intake():
                yield f"run {run.run}"


def _timed(connection: sqlite3.Connection) -> Iterator[str]:
    yield from (row[0] for row in connection.execute(_NOT_TIMED, {"version": VERSION}))


def _answers(connection: sqlite3.Connection) -> Iterator[str]:
    for row in connection.execute(_ANSWERED, {"version": VERSION}):
        if not (_answered(row) if row["response"] is not None else _unanswered(row)):
            yield f"run {row['run']}, line {row['line']}, generation {row['generation']}"


def _answered(row: sqlite3.Row) -> bool:
    outcome = decode(row["status_code"], {}, row["response"].encode())
    answer, check = outcome.answer, None
    if answer:
        check = failed_check(
            answer,
            expectation_of(row["expect"].encode()) if row["expect"] else None,
            own_cap=row["output_cap"] if row["max_output_tokens"] is None else None,
            body=(row["body"] or "").encode(),
            output_tokens=row["output_tokens"] if row["choices"] == 1 else None,
        )
    content, finish_reason = (answer.content, answer.finish_reason) if answer else (None, None)
    error, reason = (check.error, check.reason) if check else (outcome.error, outcome.message)
    return (
        (outcome.state, outcome.usage) == (row["state"], _counted(row))
        and (content, finish_reason) == (row["answer"], row["finish_reason"])
        and (row["is_cleared"] or (error, reason or None) == (row["error_class"], row["error"]))
        and (outcome.model_served, outcome.response_id) == (row["model_served"], row["response_id"])
    )


def _unanswered(row: sqlite3.Row) -> bool:
    """Whether a call may have left no response: it had none, or its texts were purged."""
    return row["answer"] is None and (row["state"] == "ok" or row["finish_reason"] is None)


def _counted(row: sqlite3.Row) -> Usage | None:
    return None if row["input_tokens"] is None else usage_of(row)


def _requests(connection: sqlite3.Connection) -> Iterator[str]:
    deciding = _deciding_of_runs(connection)
    for row in connection.execute(_REQUESTED, {"version": VERSION}):
        if not _requested(row, deciding(row["run"])):
            yield f"run {row['run']}, line {row['line']}"


def _deciding_of_runs(connection: sqlite3.Connection) -> Callable[[int], Deciding]:
    known = {run.run: run for run in runs.all_runs(connection)}

    @cache
    def deciding(run: int) -> Deciding:
        (text,) = connection.execute("SELECT settings FROM run_configs WHERE run = ?", (run,)).fetchone()
        return wiring.routing(*settings_of(known[run], Settings.model_validate_json(text))).deciding

    return deciding


def _requested(row: sqlite3.Row, deciding: Deciding) -> bool:
    try:
        if row["metadata"] is not None:
            orjson.loads(row["metadata"])
        if row["expect"] is not None:
            expectation_of(row["expect"].encode())
        return row["body"] is None or _read_alike(row, deciding)
    except (BadLine, ValueError):
        return False


def _read_alike(row: sqlite3.Row, deciding: Deciding) -> bool:
    request, text = read_again(row["body"].encode(), row["task"])
    request = msgspec.structs.replace(request, requested_model=row["requested_model"])
    pinned = row["tier"] if row["router"] == "pin" else None
    record = Record(row["line"], row["offset"], row["digest"], row["id"], request, text, row["task"], pinned)
    decision = Decision(row["tier"], row["reason"], row["router"]) if row["router"] else None
    stored = Request(
        row["body"].encode(),
        *(row["prompt_bytes"], row["images"], row["choices"], row["max_output_tokens"]),
        frozenset(row["needs"].split(",")) if row["needs"] else frozenset(),
        row["requested_model"],
    )
    by_model = decision is not None and decision.router == "llm"  # what it said does not follow from the body
    return request == stored and deciding.of(record) == (None if by_model else decision)
