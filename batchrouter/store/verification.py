"""Every invariant of the database, re-derived from its rows: what holds is said too, so that silence means nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import cache

from batchrouter.core.charging import charge
from batchrouter.core.errors import ExitCode
from batchrouter.core.findings import Finding
from batchrouter.core.options import MaxFailed
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.pricing import Usage, cost_nano, worst_case_nano
from batchrouter.core.run_end import exit_code
from batchrouter.core.settings import Settings
from batchrouter.core.tables import TierSettings
from batchrouter.core.tokens import TIER_NAME_TOKENS, VERDICT_TOKENS, most_input_tokens
from batchrouter.core.version import VERSION
from batchrouter.store.examining import CLOCK_ADVICE, UNREADABLE, finding, reading_as_of_now
from batchrouter.store.invariants import INVARIANTS, TIMES_IN_ORDER
from batchrouter.store.soundness import integrity, schema, texts

_BY_STATE = "SELECT state, sum(records) FROM counters WHERE run = ? GROUP BY state"
_CHARGED = """
    SELECT a.*, c.version FROM attempts a JOIN run_configs c ON c.config = a.config WHERE a.state <> 'open'"""
_CALLED = """
    SELECT a.run, a.line, a.attempt, a.purpose, a.tier, a.model, a.gateway, a.config, a.reserved_nano, a.output_cap, c.version,
        q.prompt_bytes, q.images, q.choices, q.max_output_tokens, q.requested_model,
        total(a.error_class = 'truncated') OVER (PARTITION BY a.run, a.line, a.generation, a.tier ORDER BY a.attempt
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS truncated
    FROM attempts a JOIN run_configs c ON c.config = a.config JOIN requests q ON q.run = a.run AND q.line = a.line"""
_BASELINES = """
    SELECT s.run, s.line, s.baseline_nano, q.requested_model, a.config, a.input_tokens, a.cached_tokens,
        a.output_tokens, a.reasoning_tokens, a.cache_write_tokens
    FROM results s JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
    JOIN requests q ON q.run = s.run AND q.line = s.line WHERE s.state = 'done'"""
SettingsReader = Callable[[int], Settings | None]


def violations(connection: sqlite3.Connection) -> list[Finding]:
    """One finding for each invariant: ``ok``, or ``error`` with how often it is broken and where first.

    Never raises for what the file holds: what cannot be read is a finding.
    """
    with reading_as_of_now(connection):
        settings = _settings_reader(connection)
        findings = [finding("the file is sound", integrity(connection))]
        findings.append(finding("the schema is the program's", schema(connection)))
        findings.append(finding("every text is text", texts(connection)))
        findings.append(
            finding(
                "each configuration can be read, and counts in its run's currency",
                _configurations(connection, settings),
            )
        )
        findings += [finding(name, _rows(connection, sql)) for name, sql in INVARIANTS.items()]
        findings.append(finding("each finished run has the exit code of its records", _exit_codes(connection)))
        findings.append(finding("each call is one that its configuration makes", _calls(connection, settings)))
        findings.append(finding("each attempt costs what its tokens and prices make", _charges(connection, settings)))
        findings.append(finding("each baseline is what the same tokens cost there", _baselines(connection, settings)))
        findings.append(finding("times are in order", _rows(connection, TIMES_IN_ORDER), "warning", CLOCK_ADVICE))
        return findings


def _rows(connection: sqlite3.Connection, sql: str) -> Iterator[str]:
    for row in connection.execute(sql):
        yield row[0] or "a row without a key"


def _settings_reader(connection: sqlite3.Connection) -> SettingsReader:
    @cache
    def settings(config: int) -> Settings | None:
        row = connection.execute("SELECT settings FROM run_configs WHERE config = ?", (config,)).fetchone()
        try:
            return Settings.model_validate_json(row[0])
        except UNREADABLE:
            return None

    return settings


def _configurations(connection: sqlite3.Connection, settings: SettingsReader) -> Iterator[str]:
    for row in connection.execute("SELECT c.run, c.config, u.currency FROM run_configs c LEFT JOIN runs u USING (run)"):
        known = settings(row["config"])
        if known is None or known.currency != row["currency"]:
            yield f"run {row['run']}, configuration {row['config']}"


def _exit_codes(connection: sqlite3.Connection) -> Iterator[str]:
    for row in connection.execute("SELECT run, state, exit_code, max_failed FROM runs"):
        max_failed = MaxFailed.parse(row["max_failed"]) if row["max_failed"] is not None else None
        records = dict(tuple(each) for each in connection.execute(_BY_STATE, (row["run"],)))
        if row["state"] == "finished" and row["exit_code"] != exit_code(ExitCode.OK, records, max_failed):
            yield f"run {row['run']}"


def _calls(connection: sqlite3.Connection, settings: SettingsReader) -> Iterator[str]:
    for row in connection.execute(_CALLED):
        known = settings(row["config"])
        if known and not (_may_be_called(row, known) and (row["version"] != VERSION or _is_bounded(row, known))):
            yield _attempt(row)


def _may_be_called(row: sqlite3.Row, settings: Settings) -> bool:
    if row["purpose"] == "classify":
        asked = settings.routing.asks_a_model and row["model"] == settings.classifier_model
        return asked and row["gateway"] == settings.model[row["model"]].gateway
    if row["purpose"] == "judge" and row["tier"] is None:
        judge = settings.model.get(row["model"])
        return judge is not None and row["gateway"] == judge.gateway
    tier, model = settings.tier.get(row["tier"]), settings.model.get(row["model"])
    models = (row["requested_model"],) if row["tier"] is None else tier.models if tier else ()
    return model is not None and row["model"] in models and row["gateway"] == model.gateway


def _is_bounded(row: sqlite3.Row, settings: Settings) -> bool:
    """Whether the call had the output cap and the reservation that this version gives it."""
    if row["purpose"] == "classify":
        return bool(row["output_cap"] == TIER_NAME_TOKENS)  # what was asked is kept nowhere
    if row["purpose"] == "judge" and row["tier"] is None:
        return bool(row["output_cap"] == VERDICT_TOKENS)
    tier = settings.tier.get(row["tier"]) or TierSettings(models=(row["model"],))
    cap = row["max_output_tokens"] or tier.max_output_tokens * (2 if row["truncated"] else 1)
    model, prices = settings.model[row["model"]], settings.prices[row["model"]]
    tokens = most_input_tokens(row["prompt_bytes"], row["images"])
    worst = worst_case_nano(tokens, *model.really_sent(cap, row["choices"]), prices) if prices else None
    return (row["output_cap"], row["reserved_nano"]) == (cap, worst)


def _charges(connection: sqlite3.Connection, settings: SettingsReader) -> Iterator[str]:
    for row in connection.execute(_CHARGED):
        known = settings(row["config"])
        if known and not _charged_rightly(row, known):
            yield _attempt(row)


def _charged_rightly(row: sqlite3.Row, settings: Settings) -> bool:
    prices, cost, source = settings.prices.get(row["model"]), row["cost_nano"], row["cost_source"]
    reported = cost if source == "gateway" else None
    if reported is not None and not _is_trusted(row, settings):
        return False
    if row["version"] != VERSION:
        return source != "table" or (prices is not None and cost == cost_nano(usage_of(row), prices))
    error = ErrorClass(row["error_class"]) if row["state"] != "ok" else None
    usage = None if row["input_tokens"] is None else usage_of(row)
    outcome = Outcome(row["state"], error, usage=usage, reported_cost_nano=reported)
    return (cost, source) == charge(outcome, prices, row["reserved_nano"])


def _is_trusted(row: sqlite3.Row, settings: Settings) -> bool:
    gateway = settings.gateway.get(row["gateway"])
    return bool(gateway and gateway.trust_reported_cost and row["status_code"] == 200)


def _baselines(connection: sqlite3.Connection, settings: SettingsReader) -> Iterator[str]:
    for row in connection.execute(_BASELINES):
        known = settings(row["config"])
        prices = known.baseline_prices(row["requested_model"]) if known else None
        expected = cost_nano(usage_of(row), prices) if prices and row["input_tokens"] is not None else None
        if known and row["baseline_nano"] != expected:
            yield f"run {row['run']}, line {row['line']}"


def usage_of(row: sqlite3.Row) -> Usage:
    """The token counts of a row that has them."""
    return Usage(
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
    )


def _attempt(row: sqlite3.Row) -> str:
    return f"run {row['run']}, line {row['line']}, attempt {row['attempt']}"
