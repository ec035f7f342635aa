"""Every invariant of the database, re-derived from its rows: what holds is said too, so that silence means nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import cache

from batchrouter.core.findings import Finding
from batchrouter.core.pricing import Prices, Usage, cost_nano
from batchrouter.core.settings import Settings

_VIOLATIONS = {
    "counters agree with the records": """
        SELECT 'run ' || run || ', tier ' || tier || ', ' || state || ': off by ' || sum(n) FROM (
            SELECT run, coalesce(tier, '') AS tier, state, count(*) AS n FROM records GROUP BY 1, 2, 3
            UNION ALL SELECT run, tier, state, -records FROM counters)
        GROUP BY run, tier, state HAVING sum(n) <> 0""",
    "each ended record has one result of its generation and state, each queued one none": """
        SELECT 'run ' || r.run || ', line ' || r.line FROM records r
        LEFT JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation
        WHERE CASE r.state WHEN 'queued' THEN s.line IS NOT NULL ELSE s.state IS NOT r.state END""",
    "each result belongs to a record": """
        SELECT 'run ' || s.run || ', line ' || s.line FROM results s
        LEFT JOIN records r ON r.run = s.run AND r.line = s.line
        WHERE r.line IS NULL OR s.generation > r.generation""",
    "each record has its request, and each request its record": """
        SELECT 'run ' || r.run || ', line ' || r.line FROM records r
        LEFT JOIN requests q ON q.run = r.run AND q.line = r.line
        WHERE (r.state <> 'rejected') <> (q.line IS NOT NULL) OR (r.state = 'queued' AND q.body IS NULL)
        UNION ALL SELECT 'run ' || q.run || ', line ' || q.line FROM requests q
        LEFT JOIN records r ON r.run = q.run AND r.line = q.line WHERE r.line IS NULL""",
    "each answered record's result names an attempt that was answered": """
        SELECT 'run ' || s.run || ', line ' || s.line FROM results s
        LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
        WHERE s.state = 'done' AND (a.state IS NOT 'ok' OR a.model IS NOT s.model OR a.generation <> s.generation)""",
    "each good answer is behind a result": """
        SELECT 'run ' || a.run || ', line ' || a.line || ', attempt ' || a.attempt FROM attempts a
        LEFT JOIN results s ON s.run = a.run AND s.line = a.line AND s.attempt = a.attempt
        WHERE a.purpose = 'answer' AND a.state = 'ok' AND a.error_class IS NULL AND s.state IS NOT 'done'""",
    "attempts of a record are numbered from 1 without a gap": """
        SELECT 'run ' || run || ', line ' || line FROM attempts
        GROUP BY run, line HAVING min(attempt) <> 1 OR max(attempt) <> count(*)""",
    "each attempt belongs to a record": """
        SELECT 'run ' || a.run || ', line ' || a.line FROM attempts a
        LEFT JOIN records r ON r.run = a.run AND r.line = a.line
        WHERE r.line IS NULL OR r.state = 'rejected' OR a.generation > r.generation""",
    "calls are open only while their run is running": """
        SELECT 'run ' || a.run || ', line ' || a.line FROM attempts a JOIN runs u ON u.run = a.run
        WHERE a.state = 'open' AND u.state <> 'running'""",
    "every line that was read is a row or was blank": """
        SELECT 'run ' || u.run || ': ' || u.intake_line || ' lines, ' || u.intake_blank || ' blank, '
            || count(r.line) || ' rows' FROM runs u LEFT JOIN records r ON r.run = u.run
        GROUP BY u.run HAVING count(r.line) + u.intake_blank <> u.intake_line OR max(r.line) > u.intake_line""",
    "finished runs have nothing pending": """
        SELECT 'run ' || u.run FROM runs u WHERE u.state = 'finished'
        AND EXISTS (SELECT 1 FROM records r WHERE r.run = u.run AND r.state = 'queued')""",
    "the costs of the answers add up to the run's answer cost": """
        SELECT 'run ' || u.run FROM runs u WHERE
            (SELECT coalesce(sum(cost_nano), 0) FROM answers a WHERE a.run = u.run) <>
            (SELECT coalesce(sum(cost_nano), 0) FROM attempts a WHERE a.run = u.run AND a.purpose = 'answer'
                AND a.state IN ('ok', 'error', 'not_sent'))""",
}

_CHARGED = """
    SELECT run, line, attempt, model, config, state, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
        cache_write_tokens, cost_nano, cost_source, reserved_nano FROM attempts WHERE state <> 'open'"""
_BASELINES = """
    SELECT s.run, s.line, s.baseline_nano, q.requested_model, a.config, a.input_tokens, a.cached_tokens,
        a.output_tokens, a.reasoning_tokens, a.cache_write_tokens
    FROM results s JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
    JOIN requests q ON q.run = s.run AND q.line = s.line WHERE s.state = 'done'"""


def violations(connection: sqlite3.Connection) -> list[Finding]:
    """One finding for each invariant: ``ok``, or ``error`` with how often it is broken and where first."""
    connection.execute("BEGIN")
    try:
        findings = [_finding("the file is sound", _integrity(connection))]
        findings += [_finding(name, (row[0] for row in connection.execute(sql))) for name, sql in _VIOLATIONS.items()]
        settings = _settings_reader(connection)
        findings.append(_finding("each attempt costs what its tokens and prices make", _charges(connection, settings)))
        findings.append(_finding("each baseline is what the same tokens cost there", _baselines(connection, settings)))
        return findings
    finally:
        connection.execute("ROLLBACK")


def _finding(name: str, broken: Iterator[str]) -> Finding:
    first = next(broken, None)
    if first is None:
        return Finding("ok", name)
    more = sum(1 for _ in broken)
    where = f"{first}, and {more} more" if more else first
    return Finding(
        "error", f"not so: {name}: {where}", "Keep a copy of the file; something else than batchrouter wrote to it."
    )


def _integrity(connection: sqlite3.Connection) -> Iterator[str]:
    return (row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok")


def _settings_reader(connection: sqlite3.Connection) -> Callable[[int], Settings]:
    @cache
    def settings(config: int) -> Settings:
        row = connection.execute("SELECT settings FROM run_configs WHERE config = ?", (config,)).fetchone()
        return Settings.model_validate_json(row[0])

    return settings


def _charges(connection: sqlite3.Connection, settings: Callable[[int], Settings]) -> Iterator[str]:
    for row in connection.execute(_CHARGED):
        prices = settings(row["config"]).prices.get(row["model"])
        if not _charged_rightly(row, prices):
            yield f"run {row['run']}, line {row['line']}, attempt {row['attempt']}"


def _charged_rightly(row: sqlite3.Row, prices: Prices | None) -> bool:
    cost = row["cost_nano"]
    match row["cost_source"]:
        case "table":
            return prices is not None and row["input_tokens"] is not None and cost == cost_nano(_usage(row), prices)
        case "reserved":
            return cost is not None and cost == row["reserved_nano"]
        case "gateway":
            return cost is not None and cost >= 0
        case _:
            unknown_price = prices is None and row["state"] != "not_sent"
            return cost is None if cost != 0 else not (unknown_price and row["state"] == "ok")


def _baselines(connection: sqlite3.Connection, settings: Callable[[int], Settings]) -> Iterator[str]:
    for row in connection.execute(_BASELINES):
        prices = settings(row["config"]).baseline_prices(row["requested_model"])
        expected = cost_nano(_usage(row), prices) if prices and row["input_tokens"] is not None else None
        if row["baseline_nano"] != expected:
            yield f"run {row['run']}, line {row['line']}"


def _usage(row: sqlite3.Row) -> Usage:
    return Usage(
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
    )
