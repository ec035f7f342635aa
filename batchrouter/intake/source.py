"""An input as a stream of batches, from where a run left it.

The file is read and parsed in a worker thread, one batch ahead of whoever takes them. A run that goes on first has the
lines compared that it took in before; the same pass then goes on behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from batchrouter.core.errors import InputUnfit
from batchrouter.core.options import InputOptions
from batchrouter.core.records import Batch, Position, Record, Rejection
from batchrouter.core.run_choice import Comparison
from batchrouter.core.settings import Settings
from batchrouter.intake.lines import LineReader
from batchrouter.intake.opener import STDIN, InputStream, open_input
from batchrouter.intake.other_kinds import refuse_other_kinds
from batchrouter.intake.parser import LineParser

BATCH_LINES_MOST = 500
BATCH_BYTES_MOST = 1024 * 1024
_DIGESTS_PER_QUESTION = 5_000

StoredDigests = Callable[[int, int], Iterable[tuple[int, bytes]]]
"""The stored (line, digest) pairs from one line number to another, both included, in line order; asked in a thread."""


class FileSource:
    """A file, or stdin for ``-``, as batches of records and rejections (``ports.Source``).

    ``start`` is the position that was stored last. Opening, here, raises InputMissing; a template or defaults that fit
    no record raise ConfigurationError; a file of another kind raises InputUnfit, a pipe when its first batch is asked
    for. ``stdin`` stands in for the process's own. Close it when done.
    """

    def __init__(
        self,
        path: str,
        settings: Settings,
        options: InputOptions,
        start: Position | None = None,
        *,
        stdin: BinaryIO | None = None,
    ) -> None:
        self._parser = LineParser(settings, options)
        self._path = path
        self._start = start or Position()
        self._stream: InputStream = open_input(path, stdin)
        self._reader = LineReader(self._stream)
        self._is_at_start = self._start == Position()
        self.exhausted = False
        """True once the end of the input was seen."""
        if self._is_at_start and self._can_be_read_again:
            try:
                self._refuse_other_kinds()
            except BaseException:
                self._stream.close()
                raise

    @property
    def position(self) -> Position:
        """How far the lines were read; meaningful before the first batch and behind the last one."""
        return self._reader.position()

    async def compare(self, digests: StoredDigests) -> Comparison:
        """Compare the input with the stored position and stand behind it, ready for ``batches``.

        Quick where the bytes are the same; else line by line. Call it once, before ``batches``. After ``different``
        the source is of no more use, but for ``rewind``.
        """
        return await asyncio.to_thread(self._compare, digests)

    async def rewind(self) -> None:
        """After ``compare``: stand at the very beginning, whatever was stored. What a pipe gave is not lost."""
        await asyncio.to_thread(self._rewind)

    async def batches(self, *, records_most: int | None = None) -> AsyncGenerator[Batch, None]:
        """Batches of at most 500 lines or about 1 MiB, up to ``records_most`` records (rejections do not count).

        Without ``compare`` before it, a start that does not fit raises InputUnfit.
        """
        await asyncio.to_thread(self._go_to_start)
        left = records_most
        ahead = asyncio.create_task(asyncio.to_thread(self._next_batch, left))
        try:
            while (batch := await asyncio.shield(ahead)) is not None:
                if left is not None:
                    left -= sum(isinstance(line, Record) for line in batch.lines)
                ahead = asyncio.create_task(asyncio.to_thread(self._next_batch, left))
                yield batch
            if not self.exhausted:
                self.exhausted = not await asyncio.to_thread(self._reader.has_more)
        finally:
            await self._settled(ahead)

    async def aclose(self) -> None:
        """Close the input, after ``batches`` has ended or was closed itself."""
        await asyncio.to_thread(self._stream.close)

    async def _settled(self, ahead: asyncio.Task[Batch | None]) -> None:
        """Wait until no thread reads any more: whoever closes the input next must be the only one to touch it."""
        if not ahead.done():
            self._stream.stop()
            await asyncio.wait({ahead})
        if not ahead.cancelled():
            ahead.exception()

    def _next_batch(self, records_most: int | None) -> Batch | None:
        reader, parse = self._reader, self._parser.parse
        before = reader.offset
        if not before:
            self._refuse_other_kinds()
        lines: list[Record | Rejection] = []
        records = replaced = 0
        while len(lines) < BATCH_LINES_MOST and reader.offset - before < BATCH_BYTES_MOST:
            if records_most is not None and records >= records_most:
                break
            line = reader.next_line()
            if line is None:
                self.exhausted = True
                break
            parsed = parse(line)
            lines.append(parsed)
            if isinstance(parsed, Record):
                records += 1
                replaced += parsed.request.requested_model is not None
        if not lines and reader.offset == before:
            return None
        return Batch(tuple(lines), reader.position(), 0 if self._parser.keeps_models else replaced)

    def _go_to_start(self) -> None:
        if self._start != Position():
            self._stream.forget()
        if self._is_at_start:
            return
        if not self._reader.skip_prefix(self._start):
            raise InputUnfit(f"{self._path} is not what it was when line {self._start.line} was taken in")
        self._is_at_start = True

    def _compare(self, digests: StoredDigests) -> Comparison:
        if not self._is_at_start:
            if not self._can_be_read_again:
                self._stream.keep()
                difference = self._first_difference(digests)
            elif self._reader.skip_prefix(self._start):
                difference = None
            else:
                self._reopen()
                difference = self._first_difference(digests)
            if difference is not None:
                return difference
            self._is_at_start = True
        return Comparison("grown" if self._reader.has_more() else "same")

    @property
    def _can_be_read_again(self) -> bool:
        """Stdin and pipes cannot: their lines are compared in the only pass there is."""
        return self._path != STDIN and Path(self._path).is_file()

    def _rewind(self) -> None:
        if self._start == Position():
            return
        if self._can_be_read_again:
            self._reopen()
            self._refuse_other_kinds()
        else:
            self._stream.rewind()
            self._reader = LineReader(self._stream)
        self._start, self._is_at_start, self.exhausted = Position(), True, False

    def _refuse_other_kinds(self) -> None:
        """At the very beginning: look at the first bytes, which stay there to be read."""
        refuse_other_kinds(self._reader.first_block(), "stdin" if self._path == STDIN else self._path)

    def _reopen(self) -> None:
        self._stream.close()
        self._stream = open_input(self._path)
        self._reader = LineReader(self._stream)

    def _first_difference(self, digests: StoredDigests) -> Comparison | None:
        """Read on behind the last stored line; blank lines are no rows, so changes in them alone are none."""
        reader = self._reader
        for number, digest in self._stored(digests):
            last = reader.line
            line = reader.next_line()
            if line is None:
                what = f"line {number} is missing: the input ends after line {last}"
                return Comparison("different", number, what)
            if line.number < number:
                return Comparison("different", line.number, f"line {line.number} was blank and is not any more")
            if line.number > number:
                return Comparison("different", number, f"line {number} is blank now")
            if line.digest != digest:
                return Comparison("different", number, f"line {number} has changed")
        return None

    def _stored(self, digests: StoredDigests) -> Iterator[tuple[int, bytes]]:
        for first in range(1, self._start.line + 1, _DIGESTS_PER_QUESTION):
            yield from digests(first, min(first + _DIGESTS_PER_QUESTION - 1, self._start.line))
