r"""Lines end at ``\n`` alone, whatever else they hold, and their position can be gone back to."""

from __future__ import annotations

import hashlib
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.records import Position
from batchrouter.intake.lines import Line, LineReader, line_digest
from batchrouter.intake.opener import InputStream


class Trickle:
    """A stream that gives its bytes in small pieces."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file, self._step = io.BytesIO(data), step

    def read1(self, size: int) -> bytes:
        return self._file.read(min(size, self._step))

    def close(self) -> None:
        self._file.close()


def reader_of(data: bytes, step: int = 7, most: int = 1000) -> LineReader:
    return LineReader(InputStream(Trickle(data, step), "test", {}), line_bytes_most=most)


def lines_of(reader: LineReader) -> list[Line]:
    return list(iter(reader.next_line, None))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", [(1, 0, b"a"), (2, 2, b"b")]),
        (b"a\nb", [(1, 0, b"a"), (2, 2, b"b")]),
        (b"a\r\nb\r\n", [(1, 0, b"a"), (2, 3, b"b")]),
        (b"\n \t\na\n\n", [(3, 4, b"a")]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", [(1, 0, b"a"), (2, 5, b"\xef\xbb\xbfb")]),
        ("a\u2028b\u2029c\u0085d\x0be\x0cf\rg\n".encode(), [(1, 0, "a\u2028b\u2029c\u0085d\x0be\x0cf\rg".encode())]),
    ],
)
def test_lines_and_offsets(data: bytes, lines: list) -> None:
    reader = reader_of(data)
    assert [(line.number, line.offset, line.data) for line in lines_of(reader)] == lines
    assert reader.offset == len(data)
    assert reader.ended == (data.endswith(b"\n") or not data)


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 50), st.integers(1, 20))
def test_every_line_is_a_row_or_blank(parts: list[bytes], step: int, most: int) -> None:
    data = b"\n".join(parts)
    reader = reader_of(data, step, most)
    lines = lines_of(reader)
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert len(lines) + reader.blank == len(expected) == reader.line
    assert reader.offset == len(data)
    assert all(line.digest == line_digest(expected[line.number - 1]) for line in lines)
    assert all((line.problem is not None) == (len(expected[line.number - 1]) > most) for line in lines)
    assert reader.position().digest == (hashlib.sha256(data).hexdigest() if data else "")


@given(st.lists(st.sampled_from([b"a", b"bb", b"", b" "]), max_size=8), st.integers(0, 8), st.binary(max_size=5))
def test_a_reader_goes_on_from_every_position(parts: list[bytes], taken: int, more: bytes) -> None:
    data = b"\n".join(parts)
    first = reader_of(data)
    for _ in range(taken):
        first.next_line()
    stored = first.position()
    grown = data + (b"" if stored.ended else b"\n") + more
    second = reader_of(grown)
    assert second.skip_prefix(stored)
    whole = reader_of(grown)
    rest = [line for line in lines_of(whole) if line.number > stored.line]
    assert lines_of(second) == rest
    assert second.position() == whole.position()


@pytest.mark.parametrize("now", [b"", b"aa\nb", b"ab\n", b"aa\nbb\ncc"])
def test_changed_prefixes_are_noticed(now: bytes) -> None:
    before = reader_of(b"aa\nbb\n")
    lines_of(before)
    assert reader_of(now).skip_prefix(before.position()) is (now == b"aa\nbb\ncc")


def test_an_unfinished_last_line_must_not_go_on() -> None:
    before = reader_of(b"a\nb")
    lines_of(before)
    assert not reader_of(b"a\nbc\n").skip_prefix(before.position())
    after = reader_of(b"a\nb\n")
    assert after.skip_prefix(before.position())
    assert (after.has_more(), after.offset, after.ended) == (False, 4, True)
    assert reader_of(b"a\nb").skip_prefix(before.position())


def test_a_line_of_200_mb_is_passed_over_in_bounded_memory() -> None:
    class Long:
        left = 800

        def read1(self, size: int) -> bytes:
            self.left -= 1
            return b"x" * 262_144 if self.left > 0 else b"\nlast\n" if self.left == 0 else b""

        def close(self) -> None: ...

    reader = LineReader(InputStream(Long(), "test", {}))
    tracemalloc.start()
    first, second, end = reader.next_line(), reader.next_line(), reader.next_line()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first is not None
    assert first.problem == "the line has 209,453,056 bytes, more than the 8,388,608 that a line may have"
    assert (second, end) == (Line(2, 209_453_057, b"last", line_digest(b"last")), None)
    assert peak < 32 * 1024 * 1024


def test_position_of_nothing_is_the_default() -> None:
    assert reader_of(b"").position() == Position()
