"""What is told to be done is done: after a failed write nobody was told more than the database holds."""

import sqlite3

import pytest

from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import ExitCode, StorageFailed
from batchrouter.store import ledger as ledgers
from batchrouter.store.changes import Changes
from batchrouter.store.ledger import RunLedger
from tests.acceptance.conftest import Job
from tests.canary import CANARY

RECORDS = 60


class Counting(Silent):
    def __init__(self) -> None:
        self.done = 0
        self.lines = 0

    def finished(self, tier: str | None, state: str, baseline_nano: int | None) -> None:
        self.done += state == "done"

    def taken_in(self, tier: str | None, records: int, rejected: int) -> None:
        self.lines += records


def fail_at(commit_with_results: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """This commit and all later ones report an error."""
    commit, seen = RunLedger._commit, 0

    async def failing(self: RunLedger, changes: Changes) -> None:
        nonlocal seen
        seen += bool(changes.results)
        if seen < commit_with_results:
            await commit(self, changes)
            return
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(RunLedger, "_commit", failing)


@pytest.mark.parametrize("commit", [1, 2, 3, 7, 12])
async def test_nobody_is_told_more_than_is_durable_when_a_write_fails_for_good(
    job: Job, commit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.observer = told = Counting()
    job.prompts(*(f"question {n}" for n in range(RECORDS)))
    fail_at(commit, monkeypatch)
    with pytest.raises(StorageFailed) as error:
        await job.run(concurrency=4)
    assert error.value.exit_code == ExitCode.STORAGE
    assert job.rows("SELECT count(*) FROM results WHERE state = 'done'") == [(told.done,)]
    assert job.rows("SELECT count(*) FROM records") == [(told.lines,)]
    job.check()
    monkeypatch.undo()
    monkeypatch.setenv("TEST_KEY", CANARY)
    job.observer = told = Counting()
    report = await job.run()
    assert (report.exit_code, report.summary.run.done) == (0, RECORDS)
    assert 0 <= len(job.gateway.requests) - RECORDS <= report.summary.run.unknown_calls <= 4


async def test_what_was_saved_after_a_failed_write_is_told_and_costs_nothing_twice(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def once(self: RunLedger, changes: Changes) -> None:
        await commit(self, changes) if not changes.results else fail()

    def fail() -> None:
        monkeypatch.setattr(RunLedger, "_commit", commit)
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    job.observer = told = Counting()
    job.prompts(*(f"question {n}" for n in range(RECORDS)))
    commit = RunLedger._commit
    monkeypatch.setattr(RunLedger, "_commit", once)
    with pytest.raises(StorageFailed) as error:
        await job.run(concurrency=4)
    assert error.value.hint == ledgers.SAVED
    assert job.rows("SELECT count(*) FROM results WHERE state = 'done'") == [(told.done,)]
    assert len(job.gateway.requests) == told.done > 0
    assert job.rows("SELECT state, exit_code FROM runs") == [("stopped", 74)]
    assert (await job.run()).exit_code == 0
    assert len(job.gateway.requests) == RECORDS
    job.check()
