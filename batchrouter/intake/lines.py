r"""Bytes into lines, split on ``\n`` and nothing else, in memory that does not depend on the length of a line.

The reader knows at every moment how far it is: bytes, lines, blank lines, and the sha256 of all bytes so far. That
``Position`` is stored with the rows, and a reader that goes on from it first reads the same bytes again.
"""

from __future__ import annotations

import hashlib

import msgspec

from batchrouter.core.records import Position
from batchrouter.intake.opener import BrokenStream, InputStream

BLOCK_BYTES = 256 * 1024
PREFIX_BLOCK_BYTES = 4 * 1024 * 1024
"""Each block waits for the interpreter twice, which is busy with imports meanwhile."""
LINE_BYTES_MOST = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line: its number (from 1), the offset of its first byte, its bytes, and the digest of them as they stand.

    ``data`` is without newline, carriage return and byte order mark. ``problem``: why the line cannot be a record
    (``data`` is empty then).
    """

    number: int
    offset: int
    data: bytes
    digest: bytes
    problem: str | None = None


def line_digest(data: bytes) -> bytes:
    """The digest by which a line is known again: 16 bytes of blake2b over it, without its newline."""
    return hashlib.blake2b(data, digest_size=16).digest()


class LineReader:
    """Reads lines from a stream's beginning. Blocking; for one thread at a time."""

    def __init__(self, stream: InputStream, *, line_bytes_most: int = LINE_BYTES_MOST) -> None:
        self._stream = stream
        self._line_bytes_most = line_bytes_most
        self._buffer = b""
        self._base = 0  # the offset of the buffer's first byte
        self._at = 0  # in the buffer: what is before it was given out
        self._hashed = 0  # in the buffer: what is before it is in the hash
        self._sha = hashlib.sha256()
        self._end = False
        self._broken: str | None = None
        self.line = 0
        self.blank = 0
        self.ended = True

    @property
    def offset(self) -> int:
        """How many bytes were given out as lines."""
        return self._base + self._at

    def position(self) -> Position:
        """How far this reader is. An input without a byte has the digest ``""``."""
        self._hash_to(self._at)
        digest = self._sha.hexdigest() if self.offset else ""
        return Position(self.offset, self.line, digest, self.ended, self.blank)

    def first_block(self) -> bytes:
        """What the input begins with; nothing of it is given out yet."""
        if not self._buffer:
            self._fill()
        return self._buffer

    def next_line(self) -> Line | None:
        """The next line that is not blank, or None at the end. Raises InputMissing where reading fails."""
        while (line := self._any_line()) is not None:
            if line.problem or line.data.strip():
                return line
            self.blank += 1
        return None

    def skip_prefix(self, stored: Position) -> bool:
        """From the beginning, go to a stored position; False where the bytes before it are not those it knows.

        After False the reader is of no more use. A newline that a last line has got since then is skipped too.
        """
        while missing := stored.offset - self.offset:
            piece = self._read(min(missing, PREFIX_BLOCK_BYTES))
            if not piece:
                return False
            self._sha.update(piece)
            self._base += len(piece)
        self.line, self.blank, self.ended = stored.line, stored.blank, stored.ended
        if self.position().digest != stored.digest:
            return False
        return self.ended or self._skip_newline()

    def has_more(self) -> bool:
        """Whether anything is left, be it the broken end of the stream. Reads ahead; blocks as long as the stream does."""
        return self._at < len(self._buffer) or self._fill() or self._broken is not None

    def _skip_newline(self) -> bool:
        if self._at == len(self._buffer) and not self._fill():
            self._broken = None  # that the stream ends here was what made the line unfinished: it is known already
            return True
        if self._buffer[self._at] != ord("\n"):
            return False
        self._at += 1
        self.ended = True
        return True

    def _any_line(self) -> Line | None:
        searched = self._at
        while (end := self._buffer.find(b"\n", searched)) < 0:
            unread = len(self._buffer) - self._at
            if unread > self._line_bytes_most:
                return self._too_long()
            if not self._fill():
                return self._last_line()
            searched = self._at + unread
        return self._take(end, end + 1)

    def _take(self, end: int, after: int) -> Line:
        raw = self._buffer[self._at : end]
        offset, length = self._base + self._at, len(raw)
        self.line += 1
        self._at = after
        self.ended = after > end
        digest = line_digest(raw)
        if length > self._line_bytes_most:
            return Line(self.line, offset, b"", digest, self._too_long_reason(length))
        if raw.endswith(b"\r"):
            raw = raw[:-1]
        if offset == 0 and raw.startswith(_BOM):
            raw = raw[len(_BOM) :]
        return Line(self.line, offset, raw, digest)

    def _last_line(self) -> Line | None:
        if self._broken is not None:
            return self._broken_line(self._broken)
        if self._at == len(self._buffer):
            return None
        return self._take(len(self._buffer), len(self._buffer))

    def _broken_line(self, reason: str) -> Line:
        """The line in which a broken stream ends, given once."""
        offset, digest = self.offset, line_digest(self._buffer[self._at :])
        problem = f"the file {reason}; {self.line} {'line' if self.line == 1 else 'lines'} before it were read"
        self._broken = None
        self._at = len(self._buffer)
        self.line += 1
        self.ended = False
        return Line(self.line, offset, b"", digest, problem)

    def _too_long(self) -> Line:
        """Pass over the rest of a line that is longer than any line may be, keeping its digest only."""
        offset, length = self.offset, 0
        digest = hashlib.blake2b(digest_size=16)
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            length += len(self._buffer) - self._at
            digest.update(memoryview(self._buffer)[self._at :])
            self._at = len(self._buffer)
            if not self._fill():
                self._broken = None
                break
        else:
            length += end - self._at
            digest.update(memoryview(self._buffer)[self._at : end])
            self._at = end + 1
        self.line += 1
        self.ended = end >= 0
        return Line(self.line, offset, b"", digest.digest(), self._too_long_reason(length))

    def _too_long_reason(self, length: int) -> str:
        return f"the line has {length:,} bytes, more than the {self._line_bytes_most:,} that a line may have"

    def _fill(self) -> bool:
        """Read one more block behind what is not given out yet; False at the end."""
        pieces, missing = [], BLOCK_BYTES  # decompressors give small pieces; a long line must not be copied for each
        while missing > 0 and (piece := self._read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        if not pieces:
            return False
        self._hash_to(self._at)
        self._base += self._at
        self._buffer = b"".join((self._buffer[self._at :], *pieces))
        self._at = self._hashed = 0
        return True

    def _read(self, size: int) -> bytes:
        piece = b""
        if not self._end:
            try:
                piece = self._stream.read(size)
            except BrokenStream as error:
                self._broken = str(error)
            self._end = not piece
        return piece

    def _hash_to(self, end: int) -> None:
        if end > self._hashed:
            self._sha.update(memoryview(self._buffer)[self._hashed : end])
            self._hashed = end
