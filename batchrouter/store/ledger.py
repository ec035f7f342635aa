"""The ledger of one run: a single task owns the writing connection and commits whatever is queued, with no timer.

While a transaction is on its way to the disk, the changes of everybody else gather in the next one: under load that
makes large groups, when idle each change is on disk at once. The writing task is never cancelled in the middle of a
transaction; it ends when it is told that nothing more will come.

After a failed write the run stops, and the ledger does one thing more: it gives up the ballast and saves the answers
that are in hand or still arrive, over a new connection (``store.rescue``), but no more lines of the input. A second
failed write ends it; the next start reads what is really there.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import aiosqlite

from batchrouter.core.errors import ExitCode, StorageFailed
from batchrouter.core.records import Batch, Decision, Record
from batchrouter.ports import (
    AttemptEnd,
    AttemptStart,
    Clock,
    Decided,
    Job,
    JudgementRow,
    Purpose,
    ResultRow,
    Reusable,
    TierMove,
)
from batchrouter.store import runs
from batchrouter.store.ballast import Ballast
from batchrouter.store.changes import Changes
from batchrouter.store.failures import storage_failure
from batchrouter.store.opening import WritingConnection, reading_beside
from batchrouter.store.queue import QUEUED_RECORDS, job_of
from batchrouter.store.rescue import is_written, reopened
from batchrouter.store.reuse import REUSABLE, reusable_of
from batchrouter.store.runs import Invocation
from batchrouter.store.transaction import write

SAVED = "Every answer that came is saved. Free some space, or mend the disk, and start the same command again."


class _Group:
    """Changes that are committed together, their authors who wait, and what is told when they are durable."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.waiting: list[asyncio.Future[None]] = []
        self.has_ended = False
        self.news: list[Callable[[], None]] = []

    def ended(self) -> None:
        """They are durable, or never will be: who waits looks at the ledger's ``failure``."""
        self.has_ended = True
        for author in self.waiting:
            if not author.done():
                author.set_result(None)


class RunLedger:
    """Implements ``ports.Ledger`` over aiosqlite; made by ``open_ledger``."""

    def __init__(
        self,
        writer: WritingConnection,
        reader: aiosqlite.Connection,
        *,
        path: Path,
        invocation: Invocation,
        clear_requests: bool,
        clock: Clock,
        ballast: Ballast,
        stop: Callable[[StorageFailed], None],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._path = path
        self._invocation = invocation
        self._clear_requests = clear_requests
        self._clock = clock
        self._ballast = ballast
        self._stop = stop
        self._group: _Group | None = None
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._closing = False
        self._writing: _Group | None = None
        self.failed_write: StorageFailed | None = None
        self.failure: Exception | None = None

    async def take_in(self, batch: Batch, decisions: Sequence[tuple[Record, Decision | None]]) -> None:
        """Commit a batch of lines with the position after them."""
        by_line = {record.line: decision for record, decision in decisions}
        group = self._open_group()
        group.changes.take_in(batch, [by_line.get(line.line) for line in batch.lines], self._clock.utc())
        await self._taken_in(group)

    async def intake_complete(self) -> None:
        """Note that the input has no more lines."""
        group = self._open_group()
        group.changes.intake_complete()
        await self._taken_in(group)

    async def _taken_in(self, group: _Group) -> None:
        await self._durable(group)
        if self.failed_write:
            raise self.failed_write

    async def open(self, attempt: AttemptStart) -> None:
        """Commit an open attempt; the call may be made when this returns."""
        group = self._open_group()
        group.changes.open(attempt)
        await self._durable(group)

    def settle(
        self,
        end: AttemptEnd | None,
        result: ResultRow | None = None,
        move: TierMove | None = None,
        decided: Decided | None = None,
        judged: JudgementRow | None = None,
    ) -> None:
        """Queue an attempt's end and what follows from it for one transaction."""
        changes = self._open_group().changes
        if end:
            changes.end(end)
        if result:
            changes.finish(result)
        if move:
            changes.move(move)
        if decided:
            changes.decide(decided, self._clock.utc())
        if judged:
            changes.judge(judged)

    def tell(self, news: Callable[[], None]) -> None:
        """Tell so when everything queued so far is durable."""
        self._open_group().news.append(news)

    async def flush(self) -> None:
        """Return when everything queued so far is durable."""
        for group in (self._group, self._writing):
            if group:
                await self._durable(group)

    async def queued(
        self, tier: str | None, after_line: int, up_to_line: int | None, most: int, purpose: Purpose = "answer"
    ) -> list[Job]:
        """Queued records of a tier in line order, with the history of their attempts of this purpose."""
        last = 2**62 if up_to_line is None else up_to_line
        values = (purpose, self._invocation.run, tier, after_line, last, most)
        rows = await self._reader.execute_fetchall(QUEUED_RECORDS, values)
        return [job_of(row) for row in rows]

    async def reusable(self, digest: bytes, *, across_runs: bool) -> Reusable | None:
        """The answer to an identical request."""
        rows = list(await self._reader.execute_fetchall(REUSABLE, (self._invocation.run, digest, across_runs)))
        return reusable_of(rows[0]) if rows else None

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
                await self._write(group.changes)
                for tell in group.news:
                    tell()
            except Exception as error:
                self.failure = storage_failure(self._path, error) if isinstance(error, sqlite3.Error) else error
                if self._group:
                    self._group.ended()  # its authors wait too: they find the failure
                raise self.failure from error
            finally:
                self._writing = None
                group.ended()

    def close(self) -> None:
        """No more changes will come; the writing task ends when all are written."""
        self._closing = True
        self._work.set()

    async def _write(self, changes: Changes) -> None:
        if self.failed_write:
            await self._commit(changes.without_intake())
            return
        try:
            await self._commit(changes)
        except sqlite3.OperationalError as error:
            self.failed_write = storage_failure(self._path, error, SAVED)
            self._stop(self.failed_write)
            self._ballast.free()
            try:
                await self._save(changes, error)
            except sqlite3.Error as second:
                raise error from second

    async def _save(self, changes: Changes, error: sqlite3.Error) -> None:
        self._writer = await reopened(self._path, self._writer, error)
        if not await is_written(self._writer, changes):
            await self._commit(changes.without_intake())

    async def end(self) -> None:
        """After a failed write: note in the run's row how the work on it ended, and close the connection that saved the rest."""
        if self.failed_write and not self.failure and self._invocation.evaluation is None:
            with suppress(sqlite3.Error):
                now, reason = self._clock.utc(), self.failed_write.message
                await runs.end(self._writer, self._invocation.run, ExitCode.STORAGE, reason, now=now)
        if self.failed_write:
            await self._writer.close()

    async def _commit(self, changes: Changes) -> None:
        await self._writer.transact(partial(write, changes, self._invocation.epoch))

    def _open_group(self) -> _Group:
        if self.failure:
            raise self.failure
        if self._group is None:
            about = self._invocation
            self._group = _Group(Changes(about.run, about.config, self._clear_requests, about.evaluation))
            self._work.set()
        return self._group

    async def _durable(self, group: _Group) -> None:
        if not group.has_ended:
            author = self._loop.create_future()
            group.waiting.append(author)
            await author
        if self.failure:
            raise self.failure


@asynccontextmanager
async def open_ledger(
    writer: WritingConnection,
    *,
    path: Path,
    invocation: Invocation,
    clear_requests: bool,
    clock: Clock,
    ballast: Ballast,
    stop: Callable[[StorageFailed], None],
) -> AsyncIterator[RunLedger]:
    """The ledger of a run with its writing task; everything queued is durable when the block is left in peace.

    ``stop`` is called at the first failed write: no new call may be made, answers that arrive are saved as long as that
    works, and then the error is raised at the end of the block.
    """
    async with reading_beside(path) as reader:
        ledger = RunLedger(
            writer,
            reader,
            path=path,
            invocation=invocation,
            clear_requests=clear_requests,
            clock=clock,
            ballast=ballast,
            stop=stop,
        )
        task = asyncio.create_task(ledger.write_until_closed(), name="ledger")
        try:
            yield ledger
        finally:
            ledger.close()
            try:
                await asyncio.shield(task)
            finally:
                await ledger.end()
            if ledger.failed_write:
                raise ledger.failed_write
