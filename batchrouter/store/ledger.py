"""The ledger of one run: a single task owns the writing connection and commits whatever is queued, with no timer.

While a transaction is on its way to the disk, the changes of everybody else gather in the next one: under load that
makes large groups, when idle each change is on disk at once. The writing task is never cancelled in the middle of a
transaction; it ends when it is told that nothing more will come. After a failed write nothing is retried: a commit that
reported an error may have happened, so the run stops and the next start reads what is really there.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiosqlite

from batchrouter.core.records import Batch, Decision, Record
from batchrouter.ports import AttemptEnd, AttemptStart, Clock, Job, ResultRow, TierMove
from batchrouter.store.changes import Changes
from batchrouter.store.opening import BUSY_TIMEOUT_S, storage_failure
from batchrouter.store.queue import QUEUED_RECORDS, job_of


class _Group:
    """Changes that are committed together, and the event their authors wait for."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.committed = asyncio.Event()


class RunLedger:
    """Implements ``ports.Ledger`` over aiosqlite; made by ``open_ledger``."""

    def __init__(
        self,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        *,
        path: Path,
        run: int,
        config: int,
        clear_requests: bool,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._path = path
        self._run = run
        self._config = config
        self._clear_requests = clear_requests
        self._clock = clock
        self._group: _Group | None = None
        self._work = asyncio.Event()
        self._closing = False
        self._writing: _Group | None = None
        self.failure: Exception | None = None

    async def take_in(self, batch: Batch, decisions: Sequence[tuple[Record, Decision | None]]) -> None:
        """Commit a batch of lines with the position after them."""
        by_line = {record.line: decision for record, decision in decisions}
        group = self._open_group()
        group.changes.take_in(batch, [by_line.get(line.line) for line in batch.lines], self._clock.utc())
        await self._durable(group)

    async def intake_complete(self) -> None:
        """Note that the input has no more lines."""
        group = self._open_group()
        group.changes.other.append(("UPDATE runs SET intake_state = 'complete' WHERE run = ?", [self._run], 1))
        await self._durable(group)

    async def open(self, attempt: AttemptStart) -> None:
        """Commit an open attempt; the call may be made when this returns."""
        group = self._open_group()
        group.changes.open(attempt)
        await self._durable(group)

    def settle(self, end: AttemptEnd | None, result: ResultRow | None = None, move: TierMove | None = None) -> None:
        """Queue an attempt's end and what follows from it for one transaction."""
        changes = self._open_group().changes
        if end:
            changes.end(end)
        if result:
            changes.finish(result)
        if move:
            changes.move(move)

    async def flush(self) -> None:
        """Return when everything queued so far is durable."""
        for group in (self._group, self._writing):
            if group:
                await self._durable(group)

    async def queued(self, tier: str | None, after_line: int, up_to_line: int | None, most: int) -> list[Job]:
        """Queued records of a tier in line order."""
        last = 2**62 if up_to_line is None else up_to_line
        rows = await self._reader.execute_fetchall(QUEUED_RECORDS, (self._run, tier, after_line, last, most))
        return [job_of(row) for row in rows]

    async def write_until_closed(self) -> None:
        """The writing task: commit group after group until ``close`` was called and nothing is left."""
        while not (self._closing and self._group is None):
            await self._work.wait()
            self._work.clear()
            group, self._group = self._group, None
            if group is None:
                continue
            self._writing = group
            try:
                await self._commit(group.changes)
            except Exception as error:
                self.failure = storage_failure(self._path, error) if isinstance(error, sqlite3.Error) else error
                if self._group:
                    self._group.committed.set()  # its authors wait too: they find the failure
                raise self.failure from error
            finally:
                self._writing = None
                group.committed.set()

    def close(self) -> None:
        """No more changes will come; the writing task ends when all are written."""
        self._closing = True
        self._work.set()

    async def _commit(self, changes: Changes) -> None:
        for sql, values, rows in changes.statements():
            cursor = await self._writer.execute(sql, values)
            changed = cursor.rowcount
            await cursor.close()
            if changed != rows:
                raise AssertionError(f"{changed} rows changed where {rows} were expected: {sql[:60]}…")
        await self._writer.commit()

    def _open_group(self) -> _Group:
        if self.failure:
            raise self.failure
        if self._group is None:
            self._group = _Group(Changes(self._run, self._config, self._clear_requests))
            self._work.set()
        return self._group

    async def _durable(self, group: _Group) -> None:
        await group.committed.wait()
        if self.failure:
            raise self.failure


@asynccontextmanager
async def open_ledger(
    writer: aiosqlite.Connection, *, path: Path, run: int, config: int, clear_requests: bool, clock: Clock
) -> AsyncIterator[RunLedger]:
    """The ledger of a run with its writing task; everything queued is durable when the block is left in peace."""
    uri = f"file:{quote(str(path))}?mode=ro"
    async with aiosqlite.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None) as reader:
        ledger = RunLedger(
            writer, reader, path=path, run=run, config=config, clear_requests=clear_requests, clock=clock
        )
        task = asyncio.create_task(ledger.write_until_closed(), name="ledger")
        try:
            yield ledger
        finally:
            ledger.close()
            await asyncio.shield(task)
