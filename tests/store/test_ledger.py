"""The ledger: durable when it says so, whole transactions, and an end at the first failed write."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
import pytest

from batchrouter.assembly.clock import SystemClock
from batchrouter.core.errors import ExitCode, Interrupted, StorageFailed
from batchrouter.core.options import RetrySelection
from batchrouter.core.outcome import Answer, ErrorClass, Outcome
from batchrouter.core.pricing import Usage
from batchrouter.core.records import Batch, Decision, Position, Record, Rejection, Request, RequestText
from batchrouter.ports import AttemptEnd, AttemptStart, ResultRow, TierMove
from batchrouter.store import rescue, runs
from batchrouter.store.ballast import ballast_beside
from batchrouter.store.changes import Changes
from batchrouter.store.ledger import RunLedger, open_ledger
from batchrouter.store.opening import connect_writer, open_writer
from batchrouter.store.queue import QUEUED_RECORDS
from batchrouter.store.reading import open_reader
from batchrouter.store.requeueing import queue_again
from batchrouter.store.transaction import write
from batchrouter.store.verification import violations

NOW = "2026-01-01T00:00:00.000Z"
SETTINGS = (
    '{"gateway": {"default": {"base_url": "http://x"}}, "tiers": ["low", "high"],'
    ' "tier": {"low": {"models": ["m"]}, "high": {"models": ["m"]}}, "model": {"m": {"input": "1", "output": "2"}}}'
)
FIXED = {"tiers": ["low", "high"]}
OK = Outcome("ok", answer=Answer("yes", "stop"), usage=Usage(1000, 500), response=b"{}", status_code=200, latency_ms=7)


@asynccontextmanager
async def ledger_of(path: Path, stopped: list[StorageFailed] | None = None) -> AsyncIterator[RunLedger]:
    """A ledger of run 1, which is made if it is not there; a failed write is put into ``stopped``."""
    stopped = [] if stopped is None else stopped
    async with open_writer(path, NOW) as connection:
        if not await runs.unfinished_runs(connection):
            await runs.create_run(connection, name=None, source="/in", demo=False, currency="INR", fixed=FIXED, now=NOW)
        invocation, _ = await runs.begin(connection, 1, settings=SETTINGS, version="0", max_failed=None, now=NOW)
        with ballast_beside(path, 100_000, print) as ballast:
            async with open_ledger(
                connection,
                path=path,
                invocation=invocation,
                clear_requests=False,
                clock=SystemClock(),
                ballast=ballast,
                stop=stopped.append,
            ) as ledger:
                yield ledger


def record(line: int) -> Record:
    request = Request(b'{"messages":[]}', 10)
    return Record(
        line, line * 10, b"d" * 16, f"id-{line}", request, RequestText("", ""), task="t" if line % 2 else None
    )


async def take_in(ledger: RunLedger, *lines: int) -> None:
    batch = Batch(tuple(record(line) for line in lines), Position(offset=99, line=lines[-1], digest="0" * 64))
    await ledger.take_in(batch, [(record(line), Decision("low", "why", "rules")) for line in lines])


def start(line: int, attempt: int = 1) -> AttemptStart:
    return AttemptStart(line, attempt, 1, "answer", "low", "m", "default", NOW, 5_000_000, 100)


def end(line: int, outcome: Outcome = OK, *, cost: int = 2_000_000, source: str = "table") -> AttemptEnd:
    return AttemptEnd(line, 1, outcome, outcome.error, outcome.message or None, cost, source, NOW)


def result(line: int) -> ResultRow:
    return ResultRow(line, 1, "done", 1, "low", "m", OK, None, None, None, 2_000_000, NOW)


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with open_reader(path) as reader:
        return [tuple(row) for row in reader.execute(sql)]


async def test_what_open_returned_for_is_on_disk_for_every_other_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with ledger_of(path) as ledger:
        await take_in(ledger, 1, 2, 3)
        await asyncio.gather(*(ledger.open(start(line)) for line in (1, 2, 3)))
        assert rows(path, "SELECT line, state FROM attempts") == [(1, "open"), (2, "open"), (3, "open")]


async def test_an_end_and_its_result_are_there_together_when_the_ledger_closes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with ledger_of(path) as ledger:
        await take_in(ledger, *range(1, 1201))
        await asyncio.gather(*(ledger.open(start(line)) for line in range(1, 1201)))
        for line in range(1, 1201):
            ledger.settle(end(line), result(line))
    assert rows(path, "SELECT status, count(*), sum(cost_nano) FROM answers GROUP BY 1") == [
        ("done", 1200, 2_400_000_000)
    ]
    assert rows(path, "SELECT tier, state, records FROM counters WHERE records > 0") == [("low", "done", 1200)]


async def test_open_calls_of_a_dead_process_become_unknown_at_their_worst_case(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with ledger_of(path) as ledger:
        await take_in(ledger, 1, 2)
        await ledger.open(start(1))
    async with ledger_of(path) as ledger:
        (first, second) = await ledger.queued("low", 0, None, 10)
        assert (first.attempts_so_far, first.history.attempts, first.history.used) == (1, 1, 0)
        assert second.attempts_so_far == 0
    assert rows(path, "SELECT state, error_class, cost_nano, cost_source FROM attempts") == [
        ("unknown", "crash", 5_000_000, "reserved")
    ]
    assert rows(path, "SELECT unknown_calls, unknown_cost, cost FROM run_summary") == [(1, 0.005, 0.0)]


async def test_a_moved_record_is_queued_in_its_new_tier_with_its_history(tmp_path: Path) -> None:
    refused = Outcome("ok", answer=Answer("", "stop", refusal="no"), usage=Usage(1, 1))
    async with ledger_of(tmp_path / "a.db") as ledger:
        await take_in(ledger, 1)
        await ledger.open(start(1))
        ledger.settle(AttemptEnd(1, 1, refused, ErrorClass.REFUSAL, "no", 3, "table", NOW), move=TierMove(1, "high"))
        await ledger.flush()
        assert await ledger.queued("low", 0, None, 10) == []
        (job,) = await ledger.queued("high", 0, None, 10)
        assert (job.tier, job.decided_tier, job.history.used) == ("high", "low", 0)


async def test_pages_are_in_line_order_and_end_where_they_should(tmp_path: Path) -> None:
    async with ledger_of(tmp_path / "a.db") as ledger:
        await take_in(ledger, *range(1, 21))
        assert [job.line for job in await ledger.queued("low", 5, 10, 3)] == [6, 7, 8]
        assert [job.line for job in await ledger.queued("low", 8, 10, 3)] == [9, 10]
        assert await ledger.queued(None, 0, None, 3) == []


async def test_the_queue_is_read_by_its_index(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with ledger_of(path):
        pass
    plan = " ".join(str(row[3]) for row in rows_of_plan(path, QUEUED_RECORDS))
    assert "records_queued (run=? AND tier=? AND line>? AND line<?)" in plan
    assert "TEMP B-TREE" not in plan


def rows_of_plan(path: Path, sql: str) -> list[sqlite3.Row]:
    with open_reader(path) as reader:
        return reader.execute(f"EXPLAIN QUERY PLAN {sql}", ("answer", 1, "low", 0, 10, 5)).fetchall()


BIG = Outcome("ok", answer=Answer("x" * 1_000_000, "stop"), usage=Usage(1, 1), response=b"y" * 1_000_000)


def settle_big(ledger: RunLedger, line: int) -> None:
    ledger.settle(
        AttemptEnd(line, 1, BIG, None, None, 3, "table", NOW),
        ResultRow(line, 1, "done", 1, "low", "m", BIG, None, None, None, None, NOW),
    )


async def fail_from_now_on(ledger: RunLedger) -> None:
    """The connection finds the disk full at its next larger write."""
    await ledger._writer.execute("PRAGMA max_page_count = 1")


async def test_a_failed_write_stops_the_run_and_what_is_in_hand_is_saved_without_more_of_the_input(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    stopped: list[StorageFailed] = []
    told: list[str] = []
    with pytest.raises(StorageFailed, match="full"):  # noqa: PT012 - the block as a whole is what fails
        async with ledger_of(path, stopped) as ledger:
            await take_in(ledger, 1, 2)
            await ledger.open(start(1))
            await ledger.open(start(2))
            await fail_from_now_on(ledger)
            assert (tmp_path / "a.db.ballast").stat().st_size == 100_000
            settle_big(ledger, 1)
            ledger.tell(lambda: told.append("1"))
            with pytest.raises(StorageFailed):
                await take_in(ledger, 3, 4)
            assert told == ["1"]
            assert len(stopped) == 1
            assert not (tmp_path / "a.db.ballast").exists()
            settle_big(ledger, 2)
            await ledger.flush()
            with pytest.raises(StorageFailed):
                await take_in(ledger, 3, 4)
    assert rows(path, "SELECT line, state FROM records") == [(1, "done"), (2, "done")]
    assert rows(path, "SELECT state, exit_code FROM runs") == [("stopped", 74)]


async def test_after_a_second_failed_write_nothing_more_is_written_and_everybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full_too(path: Path) -> aiosqlite.Connection:
        connection = await connect_writer(path)
        await connection.execute("PRAGMA max_page_count = 1")
        return connection

    path = tmp_path / "a.db"
    told: list[str] = []
    monkeypatch.setattr(rescue, "connect_writer", full_too)
    with pytest.raises(StorageFailed, match="full"):  # noqa: PT012 - the block as a whole is what fails
        async with ledger_of(path) as ledger:
            await take_in(ledger, 1, 2)
            await ledger.open(start(1))
            await fail_from_now_on(ledger)
            settle_big(ledger, 1)
            ledger.tell(lambda: told.append("1"))
            with pytest.raises(StorageFailed):
                await ledger.flush()
            with pytest.raises(StorageFailed):
                await ledger.open(start(2))
    assert told == []
    assert rows(path, "SELECT line, state FROM attempts") == [(1, "open")]
    async with ledger_of(path) as ledger:
        assert len(await ledger.queued("low", 0, None, 10)) == 2


async def test_a_commit_that_happened_although_it_reported_an_error_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"

    async def committed_with_an_error(self: RunLedger, changes: Changes) -> None:
        await commit(self, changes)
        monkeypatch.undo()
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    commit = RunLedger._commit
    with pytest.raises(StorageFailed, match="I/O"):  # noqa: PT012
        async with ledger_of(path) as ledger:
            await take_in(ledger, 1, 2, 3)
            for line in (1, 2):
                await ledger.open(start(line))
            monkeypatch.setattr(RunLedger, "_commit", committed_with_an_error)
            ledger.settle(end(1), result(1))
            ledger.settle(end(2), move=TierMove(2, "high"))
            await ledger.open(start(3))
            ledger.settle(end(3), result(3))
    assert rows(path, "SELECT line, state, tier FROM records") == [
        (1, "done", "low"),
        (2, "queued", "high"),
        (3, "done", "low"),
    ]
    assert rows(path, "SELECT count(*) FROM attempts WHERE state = 'ok'") == [(3,)]


async def test_a_row_that_is_not_as_expected_ends_the_run_instead_of_being_passed_over(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="0 rows changed where 1"):
        async with ledger_of(tmp_path / "a.db") as ledger:
            ledger.settle(end(7))


def test_a_fault_in_the_middle_of_a_group_leaves_nothing_to_the_next_commit() -> None:
    connection = sqlite3.connect(":memory:", isolation_level="IMMEDIATE")
    connection.execute("CREATE TABLE runs (run INTEGER, epoch INTEGER)")
    connection.execute("INSERT INTO runs VALUES (1, 1)")
    connection.commit()
    changes = Changes(1, 1)
    changes.intake = [("UPDATE runs SET epoch = epoch", [], 1), ("UPDATE runs SET epoch = ?", [2**70], 1)]
    with pytest.raises(OverflowError):
        write(changes, 1, connection)
    assert not connection.in_transaction
    connection.close()


async def test_rejected_lines_and_blank_ones_are_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with ledger_of(path) as ledger:
        bad = Rejection(2, 20, b"d" * 16, "not JSON")
        await ledger.take_in(
            Batch((record(1), bad), Position(50, 3, "0" * 64, blank=1)), [(record(1), Decision("low", "w", "rules"))]
        )
    assert rows(path, "SELECT line, status, error FROM answers") == [(1, "pending", None), (2, "rejected", "not JSON")]
    with open_reader(path) as reader:
        assert [one.what for one in violations(reader) if one.level != "ok"] == []


MUTATIONS = [
    "UPDATE records SET state = 'done' WHERE line = 2",
    "UPDATE records SET state = 'queued' WHERE line = 1",
    "UPDATE records SET generation = 2 WHERE line = 1",
    "DELETE FROM records WHERE line = 1",
    "DELETE FROM results WHERE line = 1",
    "DELETE FROM requests WHERE line = 1",
    "DELETE FROM attempts WHERE line = 1",
    "UPDATE results SET state = 'failed' WHERE line = 1",
    "UPDATE results SET attempt = 2 WHERE line = 1",
    "UPDATE results SET model = 'other' WHERE line = 1",
    "UPDATE results SET baseline_nano = baseline_nano + 1 WHERE line = 1",
    "UPDATE attempts SET cost_nano = cost_nano + 1 WHERE line = 1",
    "UPDATE attempts SET cost_nano = NULL WHERE line = 1",
    "UPDATE attempts SET output_tokens = output_tokens + 1 WHERE line = 1",
    "UPDATE attempts SET state = 'error' WHERE line = 1",
    "UPDATE attempts SET attempt = 3 WHERE line = 1",
    "UPDATE attempts SET model = 'other' WHERE line = 1",
    "UPDATE counters SET records = records + 1",
    "UPDATE runs SET state = 'finished'",
    "UPDATE runs SET intake_line = 9",
    "UPDATE requests SET body = NULL WHERE line = 2",
]


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_verify_notices_what_somebody_changed_by_hand(tmp_path: Path, mutation: str) -> None:
    path = tmp_path / "a.db"
    async with ledger_of(path) as ledger:
        await take_in(ledger, 1, 2)
        await ledger.open(start(1))
        ledger.settle(end(1), result(1))
    async with open_writer(path, NOW) as connection:
        await runs.end(connection, 1, ExitCode.PLANNED_STOP, "limit", now=NOW)
    with open_reader(path) as reader:
        assert [one.what for one in violations(reader) if one.level != "ok"] == []
    connection = sqlite3.connect(path)
    assert connection.execute(mutation).rowcount > 0
    connection.commit()
    connection.close()
    with open_reader(path) as reader:
        assert any(one.level == "error" for one in violations(reader))


async def test_queueing_again_takes_what_meets_every_condition(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with ledger_of(path) as ledger:
        await take_in(ledger, 1, 2, 3)
        for line in (1, 2, 3):
            await ledger.open(start(line))
            ledger.settle(end(line), result(line))
    async with open_writer(path, NOW) as connection:
        assert await queue_again(connection, 1, RetrySelection()) == (0, 0)
        assert await queue_again(connection, 1, RetrySelection(("done",), tasks=("t",), ids=("id-3", "id-2"))) == (
            1,
            0,
        )
        assert await queue_again(connection, 1, RetrySelection(("done",), tier="high")) == (0, 0)
        assert await queue_again(connection, 1, RetrySelection(("done",)), most=1) == (1, 0)
    assert rows(path, "SELECT line, state, generation FROM records") == [
        (1, "queued", 2),
        (2, "done", 1),
        (3, "queued", 2),
    ]


async def test_a_process_whose_run_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def taken_over_in_between() -> None:
        async with ledger_of(path) as ledger:
            await take_in(ledger, 1)
            other = sqlite3.connect(path)
            other.execute("UPDATE runs SET epoch = epoch + 1")
            other.commit()
            other.close()
            await take_in(ledger, 2)

    with pytest.raises(Interrupted, match="another process works on run 1"):
        await taken_over_in_between()
    with open_reader(path) as reader:
        assert reader.execute("SELECT count(*) FROM records").fetchone()[0] == 1
