"""How much disk a database takes, from what its rows hold; runs with the demo gateway come to within a fifth of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchrouter.core.counting import counted
from batchrouter.core.findings import Finding
from batchrouter.core.tokens import BYTES_A_TOKEN, TYPICAL_OUTPUT_TOKENS

WAL_BYTES = 4 * 1024 * 1024
"""How far the write-ahead log grows before SQLite takes it into the database: a thousand pages."""
_WAL_FIRST_BYTES, _WAL_RECORD_BYTES = 512 * 1024, 8 * 1024
"""How it grows until then, measured: by a database made anew, and by each record where many are in flight."""
SHARE_OF_FREE = 4
"""A ballast never takes more than this part of the free room: it must not fill the disk that it guards."""
_ROWS_BYTES = 416
"""Of a record: its row, its decision, one attempt, and the indexes of all its rows."""
_REQUEST_BYTES = 48
"""What a request's row holds beyond the bytes of its line."""
_RESPONSE_BYTES = 640
"""What a result's row holds beyond the answer, which stands in it twice: the JSON around it."""
_PAGE_BYTES, _PAGE_ROWS_BYTES, _OVERFLOW_BYTES = 4096, 4088, 4092
_LOCAL_LEAST, _LOCAL_MOST = 489, 4061
"""Of a row in a page of a table; what is longer goes on in pages of its own, of which none is shared."""
_ROW_HEAD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of an input: the bytes of each of its lines, and what part of the whole file they are."""

    line_bytes: Sequence[int]
    file_bytes: int
    read_bytes: int
    """Of the file as it lies on disk, compressed or not."""

    @property
    def records(self) -> int:
        """How many lines the whole file has if it goes on as it begins."""
        return round(len(self.line_bytes) * self.file_bytes / self.read_bytes) if self.read_bytes else 0


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a run of so many records takes: with typical answers, and with the longest allowed.

    ``ballast_bytes`` are kept in hand beside it while it works, where there is room for them.
    """

    records: int
    typical_bytes: int
    most_bytes: int
    ballast_bytes: int


def stored_bytes(row_bytes: int) -> int:
    """The bytes on disk of a row among others of its size: its part of a page, and pages of its own beyond that."""
    local = row_bytes
    if row_bytes > _LOCAL_MOST:
        local = _LOCAL_LEAST + (row_bytes - _LOCAL_LEAST) % _OVERFLOW_BYTES
        local = local if local <= _LOCAL_MOST else _LOCAL_LEAST
    rows_a_page = max(1, _PAGE_ROWS_BYTES // (local + _ROW_HEAD_BYTES))
    return _PAGE_BYTES // rows_a_page + -(-(row_bytes - local) // _OVERFLOW_BYTES) * _PAGE_BYTES


def record_bytes(line_bytes: int, answer_tokens: int) -> int:
    """What a line of the input and an answer of so many tokens take in the database."""
    answer = _RESPONSE_BYTES + answer_tokens * BYTES_A_TOKEN
    return _ROWS_BYTES + stored_bytes(line_bytes + _REQUEST_BYTES) + stored_bytes(answer)


def need(sample: Sample, *, output_tokens_most: int, ballast_bytes: int) -> Need:
    """The room for a whole run of an input, the write-ahead log included."""
    log_bytes = min(WAL_BYTES, _WAL_FIRST_BYTES + sample.records * _WAL_RECORD_BYTES)
    return Need(
        sample.records,
        _all_records(sample, min(TYPICAL_OUTPUT_TOKENS, output_tokens_most)) + log_bytes,
        _all_records(sample, output_tokens_most) + log_bytes,
        ballast_bytes,
    )


def _all_records(sample: Sample, answer_tokens: int) -> int:
    lines = len(sample.line_bytes)
    return (
        sum(record_bytes(line, answer_tokens) for line in sample.line_bytes) * sample.records // lines if lines else 0
    )


def ballast_that_fits(bytes_wanted: int, free_bytes: int) -> int:
    """How large a ballast may be beside so much free room."""
    return min(bytes_wanted, free_bytes // SHARE_OF_FREE)


def room_finding(wanted: Need, free_bytes: int, folder: str, *, output_tokens_most: int) -> Finding:
    """Whether a run of the input fits: an error where it cannot, a warning where it is close, or the ballast small."""
    what = (
        f"a run of about {counted(wanted.records, 'line')} needs {in_words(wanted.typical_bytes)} in {folder} with answers of"
        f" {min(TYPICAL_OUTPUT_TOKENS, output_tokens_most):,} tokens, {in_words(wanted.most_bytes)} with the longest"
        f" of {output_tokens_most:,}, beside up to {in_words(wanted.ballast_bytes)} kept in hand;"
        f" {in_words(free_bytes)} are free"
    )
    ballast = ballast_that_fits(wanted.ballast_bytes, free_bytes)
    left_bytes = free_bytes - ballast
    if left_bytes < wanted.typical_bytes:
        return Finding("error", what, "Free some space, choose a --db on another disk, or split the input.")
    if left_bytes < 2 * wanted.typical_bytes:
        return Finding("warning", what, "That is less than twice as much: free some space, or choose another --db.")
    if ballast < wanted.ballast_bytes:
        advice = f"A run fits, with {in_words(ballast)} in hand for the answers in flight should the disk become full."
        return Finding("warning", what, advice)
    return Finding("ok", what)


def in_words(count: int) -> str:
    """A number of bytes for people.

    >>> in_words(16_340), in_words(4_200_000), in_words(79_100_000_000)
    ('16.3 kB', '4.2 MB', '79.1 GB')
    """
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
