"""The lane of one tier: pages of queued rows, retries that wait for their time, records that came from below.

The rows are the queue; in memory are only claims: what is in a page, with a worker, or waiting for a retry, all of it
bounded. A record that finds no room is let go and found again in its row when the lane has come to its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from batchrouter.core.quota import RETRY_COST
from batchrouter.engine.retries import Retries
from batchrouter.engine.retry_gate import RetryGate
from batchrouter.engine.stopping import Stop
from batchrouter.ports import Clock, Job, Ledger, Purpose

PAGE_RECORDS = 256
FIRST_PAGE_RECORDS = 32
"""The first calls leave while the next page is read: each opens a connection, and hundreds at once hold up all."""
WAITING_MOST = 1_000
MISSES_MOST = 100
"""Records in a row that do not fit into the budget before a lane is parked."""
ASIDE_MOST = 10_000


class TierLane:
    """The lane of one tier; None: of records that keep their own model, or whose tier is not decided yet."""

    def __init__(
        self,
        tier: str | None,
        ledger: Ledger,
        *,
        gate: RetryGate,
        clock: Clock,
        stop: Stop,
        up_to_line: int | None,
        purpose: Purpose = "answer",
        let_go: Callable[[Job], None] | None = None,
    ) -> None:
        self.tier = tier
        self._purpose = purpose
        self._let_go = let_go
        self._rows_wait = False
        self._gate = gate
        self._ledger = ledger
        self._stop = stop
        self._up_to_line = up_to_line
        self._page: deque[Job] = deque()
        self._arrived: deque[Job] = deque()
        self._retries = Retries(clock, self.wake)
        self._claimed: set[int] = set()
        self._claimed_while_fetching: set[int] | None = None
        self._cursor = 0
        self._last_let_go = 0
        self._rewind_to: int | None = None
        self._is_second_pass = False
        self._suspects: deque[Job] = deque()
        self._dry = False
        self._fetching = asyncio.Lock()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._aside: set[int] = set()
        self._misses = 0
        self._misses_in_all = 0
        self._parked = False
        self.became_idle = asyncio.Event()

    async def next_job(self) -> Job | None:
        """The next job: a retry that is due, a record from below, then the rows in line order.

        Whoever finds one lets the next worker look, so that one event does not wake hundreds for a single job.
        """
        while not self._is_over:
            if job := self._retries.due(self._gate.lets_through) or self._record_from_below() or self._row():
                self.wake()
                return job
            if self._wants_rows:
                await self._fetch()
            else:
                await self._wait()
        return None

    @property
    def _is_over(self) -> bool:
        return self._stop.is_requested or self._closed or self._parked

    def _record_from_below(self) -> Job | None:
        return self._arrived.popleft() if self._arrived else None

    def _row(self) -> Job | None:
        if self._wants_rows or self._rows_wait or not self._page:
            return None
        return self._page.popleft()

    @property
    def _wants_rows(self) -> bool:
        """Whether the next page should be read, by whoever asks first: the others go on with the rest of this one."""
        if self._dry or self._rows_wait or (self._is_second_pass and len(self._retries) > WAITING_MOST):
            return False
        return len(self._page) <= PAGE_RECORDS // 2

    async def _fetch(self) -> None:
        """Claim the next page. A row that was worked on while the page was read may look queued: it is left out.

        One that was let go before is no longer known: where it may be among the rows, all are made durable first.
        """
        async with self._fetching:
            if not self._wants_rows:
                return
            before = frozenset(self._claimed | self._aside)
            self._claimed_while_fetching = set()
            self._dry = True
            self.wake()
            if self._last_let_go > self._cursor:
                await self._ledger.flush()
            most = PAGE_RECORDS if self._cursor else FIRST_PAGE_RECORDS
            jobs = await self._ledger.queued(self.tier, self._cursor, self._up_to_line, most, self._purpose)
            taken, self._claimed_while_fetching = before | self._claimed_while_fetching, None
            for job in jobs:
                self._cursor = job.line
                if job.line not in taken and not self._parked:
                    self._sort_in(job)
            if len(jobs) == most:
                self._dry = False
            elif self._rewind_to is not None:
                self._cursor = min(self._cursor, self._rewind_to)  # it may be a row that was not there yet
                self._rewind_to, self._dry = None, False
                self._is_second_pass = True
            self.wake()
            self._gate.look_again()
            self._note_idle()

    def _sort_in(self, job: Job) -> None:
        """A row that was read: a record to work on, one that was let go and waits as a retry, or one to work on alone."""
        if job.history.is_suspect and not job.history.is_poison:
            self._aside.add(job.line)
            self._suspects.append(job)
            return
        self._claimed.add(job.line)
        if self._is_second_pass and job.history.attempts:
            job.retry_cost = RETRY_COST
            self._retries.add(job, 0.0)
        else:
            self._page.append(job)

    async def _wait(self) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._waiting.append(woken)
        try:
            await woken
        except asyncio.CancelledError:
            if not woken.cancelled():
                self.wake()
            raise

    def wake(self) -> None:
        """Let a waiting worker look again, all of them when there is nothing more to come."""
        while self._waiting:
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                if not self._is_over:
                    return

    def rows_added(self) -> None:
        """Rows of this tier were committed beyond those that are known."""
        self._dry = False
        self.wake()

    def arrive(self, job: Job) -> None:
        """A record that goes on in this tier; its row says so in the transaction that is queued."""
        if self._parked:
            return
        if len(self._arrived) < WAITING_MOST:
            self._claim(job)
            self._arrived.append(job)
        else:
            self._find_again(job)
        self.wake()

    def again(self, job: Job) -> None:
        """The job once more at once: what was wrong is put right."""
        if self._parked:
            self.release(job)
            return
        self._arrived.append(job)
        self.wake()

    def retry(self, job: Job, delay_s: float) -> None:
        """The job again, not before so many seconds."""
        if self._parked:
            self.release(job)
            return
        if len(self._retries) < WAITING_MOST:
            self._retries.add(job, delay_s)
        else:
            self.release(job)
            self._find_again(job)
        self.wake()

    def release(self, job: Job) -> None:
        """The job is no longer in anybody's hands."""
        self._claimed.discard(job.line)
        self._last_let_go = max(self._last_let_go, job.line)
        self._gate.released(job.line)
        if self._let_go:
            self._let_go(job)
        self._note_idle()

    def put_aside(self, job: Job) -> None:
        """The job does not fit into the budget: it stays pending, a smaller one may still fit.

        After many in a row the lane is parked: its rows stay pending, other lanes go on.
        """
        self._aside.add(job.line)
        self._misses += 1
        self._misses_in_all += 1
        self.release(job)
        if self._misses >= MISSES_MOST or self._misses_in_all >= ASIDE_MOST:
            self._park()

    def fits(self) -> None:
        """A job did fit into the budget."""
        self._misses = 0

    def _park(self) -> None:
        self._parked = True
        waiting = (*self._page, *self._arrived, *self._retries.take_all())
        self._claimed.difference_update(job.line for job in waiting)
        self._page.clear()
        self._arrived.clear()
        for job in waiting:
            if self._let_go:
                self._let_go(job)
        self.wake()
        self._gate.look_again()
        self._note_idle()

    @property
    def has_put_aside(self) -> bool:
        """Whether rows stay pending because they do not fit into the budget."""
        return self._misses_in_all > 0

    @property
    def has_only_retries(self) -> bool:
        """Whether nothing is known that was not tried yet."""
        if self._parked or self._rows_wait:
            return True
        return not self._page and not self._arrived and (self._dry or self._is_second_pass)

    def release_suspect(self) -> bool:
        """Let the next record that may have ended the program be worked on; False if there is none."""
        if self._parked or not self._suspects:
            return False
        job = self._suspects.popleft()
        self._aside.discard(job.line)
        self._claim(job)
        self._arrived.append(job)
        self.wake()
        return True

    def hold(self, job: Job) -> None:
        """A claimed job waits for something outside the lane."""
        if self._let_go:
            self._let_go(job)
        self._note_idle()

    def wait_for_another(self, job: Job) -> None:
        """A claimed job waits for the answer to another: if it was a probe among the retries, it is none any more."""
        self._gate.released(job.line)

    def hold_rows(self) -> None:
        """Take no more rows for now: too many records wait for the answer of another."""
        self._rows_wait = True

    def go_on_with_rows(self) -> None:
        """Some of them have it."""
        self._rows_wait = False
        self.wake()

    def _note_idle(self) -> None:
        if self._dry or self._parked:
            self.became_idle.set()

    def close(self) -> None:
        """Send the workers home."""
        self._closed = True
        self._retries.close()
        self.wake()

    @property
    def claims(self) -> int:
        """Jobs in a page, with a worker, or waiting for a retry."""
        return len(self._claimed)

    @property
    def is_drained(self) -> bool:
        """No row is known that could be claimed; claims may still be at work."""
        if self._claimed_while_fetching is not None:
            return False
        return self._parked or (self._dry and self._rewind_to is None)

    def _claim(self, job: Job) -> None:
        self._claimed.add(job.line)
        if self._claimed_while_fetching is not None:
            self._claimed_while_fetching.add(job.line)

    def _find_again(self, job: Job) -> None:
        self._last_let_go = max(self._last_let_go, job.line)
        before = job.line - 1
        self._rewind_to = before if self._rewind_to is None else min(self._rewind_to, before)
        self._dry = False
