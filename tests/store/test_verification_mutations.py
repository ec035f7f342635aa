"""``verify`` notices what anybody alters: every column of every table in turn, and every row that goes or comes.

What it cannot notice stands in ``UNNOTICED``, with the reason; the table must be exact in both directions.
"""

import asyncio
import random
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batchrouter import api
from batchrouter.assembly import examination
from batchrouter.assembly.retracing import retraced
from batchrouter.core.errors import DatabaseUnfit
from batchrouter.store import migrations
from batchrouter.store.verification import violations
from tests.canary import CANARY
from tests.store.every_kind import write_every_kind

Altered = dict[str, set[str]]

TABLES = (
    "attempt_counters",
    "attempts",
    "counters",
    "decision_cache",
    "decision_counters",
    "decisions",
    "escalation_counters",
    "evaluation_calls",
    "evaluations",
    "judgements",
    "latency_counters",
    "records",
    "requests",
    "result_counters",
    "results",
    "reusable",
    "reuse_counters",
    "run_configs",
    "runs",
    "schema_migrations",
    "worst_case_counters",
)
KINDS = {
    "attempts": "state, error_class, cost_source",
    "results": "state, error_class, generation",
    "records": "run, state, generation, tier",
    "requests": "run, needs, choices, expect IS NULL, metadata IS NULL, body IS NULL",
    "decisions": "run, router, tier",
    "counters": "run, records = 0",
}
"""What makes two rows of a table alike, so that one of them is enough; of other tables each row is altered."""

GARBLED = b"\xc3("
"""Bytes that are no text, where text should be."""
TRIED_SHARE = 0.2
CHECKS = (violations, retraced)
"""What ``verify`` asks, in its order."""
SHIPPED = migrations.shipped()
MEASURED = "measured once, by this program alone"
INPUTS = "a word of the input, whose lines are not kept"
LEFT_BEHIND = "a call that is behind no result leaves no response to read it from"
CLEARED = "where the body is cleared there is nothing left to work it out from"
AT_THE_TIME = "a count of the records of that time, which may have been done anew"
ALL_DONE = "1,complex,queued 1,medium,queued 1,simple,queued 3,,queued 3,medium,queued"
ZERO = "a counter of no records counts nothing"
UNNOTICED: dict[str, tuple[str, str]] = {
    "attempts.error": ("longer other", LEFT_BEHIND),
    "attempts.error_class": ("other", LEFT_BEHIND),
    "attempts.model_served": ("longer other", LEFT_BEHIND),
    "attempts.reasoning_tokens": ("more other", LEFT_BEHIND),
    "attempts.response_id": ("null longer other", LEFT_BEHIND),
    "attempts deleted": ("5,1,1", "a call that is still open: nothing follows from it yet"),
    "attempts.started_at": ("later", "a call that is still open has no end to be before"),
    "counters.run": ("more less other", ZERO),
    "counters.tier": ("longer empty other", ZERO),
    "counters.state": ("other", ZERO),
    "counters deleted": (f"{ALL_DONE} 2,,queued 3,simple,queued", ZERO),
    "counters doubled": (ALL_DONE, ZERO),
    "decision_cache.decided_at": ("earlier later", MEASURED),
    "decision_cache deleted": ("digest", "forgotten, as `cache --clear` does"),
    "decision_cache.prompt_version": ("more", "the word of the program that wrote it"),
    "decisions.reason": ("longer other", CLEARED),
    "evaluations.at_top": ("more", AT_THE_TIME),
    "evaluations.finished_at": ("later null", "asked for again, it is finished again"),
    "evaluations.judge": ("longer empty", "the user's word"),
    "evaluations.population": ("more", AT_THE_TIME),
    "evaluations.prompt_version": ("more", "the word of the program that wrote it"),
    "evaluations.sample": ("more", "the user's word"),
    "evaluations.seed": ("more less negative", "the user's word"),
    "evaluations.started_at": ("earlier", MEASURED),
    "evaluations.stratify": ("empty", "the user's word"),
    "evaluations.without_text": ("more", AT_THE_TIME),
    "judgements.other_answer": ("null longer empty other", "its response is not kept"),
    "records.digest": ("other", INPUTS),
    "records.id": ("longer empty other", INPUTS),
    "records.offset": ("more less other", INPUTS),
    "records.task": ("null longer other", INPUTS),
    "records.tier": ("other", "a pending record may have moved up without a call"),
    "requests.body": ("null", "cleared, as it may be once the record has ended"),
    "requests.choices": ("more other", CLEARED),
    "requests.expect": ("null other", INPUTS),
    "requests.images": ("more", CLEARED),
    "requests.metadata": ("null other", INPUTS),
    "requests.needs": ("longer other", CLEARED),
    "requests.prompt_bytes": ("more less zero other", CLEARED),
    "requests.requested_model": ("null longer other", INPUTS),
    "results.error": ("longer other", "why a line was rejected: the line is not kept"),
    "results.response": ("null other", "a refusal need not be JSON, and not all of an answer is read"),
    "reusable.line": ("other", "a digest of what is not kept"),
    "reusable deleted": ("digest", "what is gone is not reused"),
    "reusable.run": ("more less", "a digest of what is not kept"),
    "reuse_counters.cost_nano": ("more less zero", "what an answer cost, whose record may have been done anew"),
    "reuse_counters.unpriced": ("more", "what an answer cost, whose record may have been done anew"),
    "run_configs.version": ("longer", "the word of the program that wrote it"),
    "runs.demo": ("more", "says which runs are meant by the next --demo"),
    "runs.epoch": ("more less other", "a count of starts, of which only changes of the configuration leave a row"),
    "runs.exit_code": ("more less", "why a run stopped: only its end by itself leaves rows"),
    "runs.finished_at": ("later", MEASURED),
    "runs.found_at": ("earlier later longer empty", MEASURED),
    "runs.found_limits": ("longer empty", "what a gateway seemed to allow"),
    "runs.input": ("longer", "the user's word"),
    "runs.intake_digest": ("other", INPUTS),
    "runs.intake_ended": ("less zero", INPUTS),
    "runs.intake_offset": ("more less other", INPUTS),
    "runs.name": ("null longer other", "the user's word"),
    "runs.shared_limits": ("longer empty", "what a gateway seemed to allow"),
    "runs.started_at": ("earlier", MEASURED),
    "runs.stop_reason": ("longer", "why a run stopped: words for a person"),
    "schema_migrations.applied_at": ("earlier later", MEASURED),
}
"""By column (or ``deleted``, ``doubled`` with keys): what goes unnoticed in some row, and why nothing could tell it.

Times are altered by a year: within the bounds of what happened before and after, any time is as good as another.
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a database with a row of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_KEY", CANARY)
        patch.setattr("batchrouter.core.retry.BACKOFF_BASE_S", 0.0)
        path = asyncio.run(write_every_kind(tmp_path_factory.mktemp("every")))
    assert [finding.what for finding in api.verify(path) if finding.level != "ok"] == []
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path.read_bytes()


def opened(image: bytes) -> sqlite3.Connection:
    """A copy of the database in memory, for a person who knows no rules."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(image)
    connection.row_factory = sqlite3.Row
    return connection


def is_noticed(image: bytes, alter: Callable[[sqlite3.Connection], None]) -> bool:
    """Whether the file refuses the alteration, or the program the file, or ``verify`` finds something."""
    connection = opened(image)
    try:
        alter(connection)
        assert connection.total_changes > 0
        try:
            migrations.pending(connection, SHIPPED)
        except sqlite3.OperationalError:  # a StorageFailed in the end, for who opens the file
            return True
        return any(finding.level != "ok" for check in CHECKS for finding in check(connection))
    except (sqlite3.IntegrityError, DatabaseUnfit):
        return True
    finally:
        connection.close()


def columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """The table's columns with their types."""
    return {row["name"]: row["type"] for row in connection.execute(f"PRAGMA table_info({table})")}


def representatives(connection: sqlite3.Connection, table: str) -> list[sqlite3.Row]:
    """One row of every kind."""
    key = ", ".join(f'"{name}"' for name in primary_key(connection, table))
    kinds = KINDS.get(table, key)
    return list(connection.execute(f"SELECT *, min({key.split(',')[-1]}) FROM {table} GROUP BY {kinds} ORDER BY {key}"))


def primary_key(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row["name"] for row in connection.execute(f"PRAGMA table_info({table})") if row["pk"]]


def alterations(column: str, kind: str, value: Any, others: list[Any]) -> Iterator[tuple[str, Any]]:
    """What somebody may write over a value: by a name, and what then stands there."""
    yield "null", None
    if column.endswith("_at"):
        moment = value or "2026-01-01T00:00:00.000Z"
        yield from (("earlier", "2001" + moment[4:]), ("later", "2099" + moment[4:]))
    else:
        yield from (("other", other) for other in others if other != value)
    if kind == "INTEGER":
        yield from ((("more", (value or 0) + 1), ("less", (value or 0) - 1), ("zero", 0)))
        yield "negative", -1 if value is None else -abs(value) - 1
    elif kind == "TEXT":
        yield from (("longer", (value or "") + "x"), ("empty", ""), ("garbled", GARBLED))
    else:
        yield from (("longer", (value or b"") + b"x"), ("empty", b""))


def others_of(connection: sqlite3.Connection, table: str, column: str) -> list[Any]:
    """Values that stand in the column elsewhere: the few that it has, or some of the many."""
    sql = f'SELECT DISTINCT "{column}" FROM {table} WHERE "{column}" IS NOT NULL ORDER BY 1 LIMIT 4'
    return [row[0] for row in connection.execute(sql)]


def key_of(row: sqlite3.Row, key: list[str]) -> tuple[str, list[Any]]:
    return " AND ".join(f'"{name}" = ?' for name in key), [row[name] for name in key]


def unnoticed_changes(image: bytes, table: str, chance: random.Random | None = None) -> Altered:
    """By column: the alterations of some row that nothing notices; with ``chance`` one in five of them is tried."""
    unnoticed: Altered = defaultdict(set)
    connection = opened(image)
    key = primary_key(connection, table)
    for column, kind in columns(connection, table).items():
        others = others_of(connection, table, column)
        for row in representatives(connection, table):
            where, values = key_of(row, key)
            for name, value in dict.fromkeys(alterations(column, kind, row[column], others)):
                new = "CAST(? AS TEXT)" if value == GARBLED else "?"
                sql = f'UPDATE {table} SET "{column}" = {new} WHERE {where}'
                if value == row[column] or name in unnoticed[column] or (chance and chance.random() > TRIED_SHARE):
                    continue
                if not is_noticed(image, lambda one, s=sql, v=[value, *values]: one.execute(s, v)):
                    unnoticed[column].add(name)
                    sys.stdout.write(f"{table}.{column} {name} {values}: {row[column]} -> {value!r}\n")
    connection.close()
    return {column: names for column, names in unnoticed.items() if names}


def unnoticed_rows(image: bytes, table: str) -> Altered:
    """``deleted`` and ``doubled``, with the keys of the rows whose going or coming nothing notices."""
    unnoticed: Altered = defaultdict(set)
    connection = opened(image)
    key, names = primary_key(connection, table), columns(connection, table)
    for row in connection.execute(f"SELECT * FROM {table}").fetchall():
        where, values = key_of(row, key)
        place = ",".join("digest" if isinstance(value, bytes) else str(value) for value in values)
        if not is_noticed(image, lambda one, w=where, v=values: one.execute(f"DELETE FROM {table} WHERE {w}", v)):
            unnoticed["deleted"].add(place)
        for step in (1, 1000):
            last = key[-1] if names[key[-1]] == "INTEGER" else key[0]
            chosen = ", ".join(f'"{name}" + {step}' if name == last else f'"{name}"' for name in names)
            sql = f"INSERT INTO {table} SELECT {chosen} FROM {table} WHERE {where}"
            if not is_noticed(image, lambda one, s=sql, v=values: one.execute(s, v)):
                unnoticed["doubled"].add(place)
    connection.close()
    return unnoticed


def test_every_table_is_altered_here(image: bytes) -> None:
    tables = opened(image).execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert tuple(row[0] for row in tables) == TABLES
    assert {name.replace(" ", ".").split(".")[0] for name in UNNOTICED} <= set(TABLES)


@pytest.mark.parametrize(
    "column", ["runs.fixed", "run_configs.settings", "requests.body", "requests.expect", "results.response"]
)
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"tiers": 1}', '{"messages": [1]}', "[" * 2000])
def test_json_that_is_none_or_another_is_a_finding_of_each_check_and_never_an_exception(
    image: bytes, column: str, text: str
) -> None:
    table, name = column.split(".")
    connection = opened(image)
    connection.execute(f"UPDATE {table} SET {name} = ?", (text,))
    assert any(finding.level == "error" for finding in examination.verify(connection))
    connection.close()


def test_a_run_whose_texts_were_purged_is_as_whole_as_before(image: bytes) -> None:
    requests = (
        "UPDATE requests SET body = NULL, metadata = NULL, expect = NULL WHERE EXISTS"
        " (SELECT 1 FROM records r WHERE r.run = requests.run AND r.line = requests.line AND r.state <> 'queued')"
    )
    answers = (
        "UPDATE results SET answer = NULL, response = NULL, error = iif(error IS NULL, NULL, 'purged') WHERE state <> 'rejected';"
        "UPDATE attempts SET error = 'purged' WHERE error IS NOT NULL; UPDATE runs SET stop_reason = 'purged' WHERE stop_reason <> ''"
    )
    for purges in ((requests,), (answers,), (requests, answers)):
        connection = opened(image)
        for purge in purges:
            connection.executescript(purge)
        assert [finding.what for finding in examination.verify(connection) if finding.level != "ok"] == []
        connection.close()


@pytest.mark.parametrize(
    "alteration",
    [
        "DROP TRIGGER records_recounted",
        "DROP INDEX records_queued",
        "DROP VIEW answers; CREATE VIEW answers AS SELECT 1 AS run, 0 AS cost_nano",
        "DROP TABLE decisions",
    ],
)
def test_a_schema_that_somebody_altered_is_noticed(image: bytes, alteration: str) -> None:
    connection = opened(image)
    connection.executescript(alteration)
    assert any(finding.level == "error" for finding in examination.verify(connection))
    connection.close()


def named_columns(table: str) -> Altered:
    return {
        column.removeprefix(f"{table}."): set(names.split())
        for column, (names, _why) in UNNOTICED.items()
        if column.startswith(f"{table}.")
    }


@pytest.mark.parametrize("table", TABLES)
def test_a_column_that_is_altered_is_noticed_or_named_here(image: bytes, table: str) -> None:
    named = named_columns(table)
    for column, names in unnoticed_changes(image, table, random.Random(1)).items():
        assert names <= named.get(column, set()), column


@pytest.mark.long
@pytest.mark.parametrize("table", TABLES)
def test_each_column_that_is_altered_is_noticed_or_named_here(image: bytes, table: str) -> None:
    assert unnoticed_changes(image, table) == named_columns(table)


@pytest.mark.parametrize("table", TABLES)
def test_each_row_that_goes_or_comes_is_noticed_or_named_here(image: bytes, table: str) -> None:
    named = {
        column.removeprefix(f"{table} "): set(names.split())
        for column, (names, _why) in UNNOTICED.items()
        if column.startswith(f"{table} ")
    }
    assert unnoticed_rows(image, table) == named
