r"""Whatever the bytes and however they arrive: every line is given once, as it stands at its offset, split at ``\n`` alone."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from batchrouter.intake import lines as reading
from batchrouter.intake.lines import Line, LineReader, line_digest
from batchrouter.intake.opener import InputStream
from tests.fuzz.writing import SEPARATORS, THOROUGH, files, lines_of

BOM = b"\xef\xbb\xbf"
sizes = st.integers(1, 60)


class Trickle:
    """A stream that gives its bytes in pieces of one size, and looks at how much its reader holds."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file, self._step = io.BytesIO(data), step
        self.reader: LineReader | None = None
        self.held_most = 0

    def read1(self, size: int) -> bytes:
        if self.reader:
            self.held_most = max(self.held_most, len(self.reader._buffer))
        return self._file.read(min(size, self._step))

    def close(self) -> None:
        self._file.close()


@contextmanager
def reading_in(block: int) -> Iterator[None]:
    with patch.object(reading, "BLOCK_BYTES", block):
        yield


def all_lines(data: bytes, step: int, most: int = 10**6) -> tuple[list[Line], LineReader, Trickle]:
    trickle = Trickle(data, step)
    trickle.reader = reader = LineReader(InputStream(trickle, "test", {}), line_bytes_most=most)
    return list(iter(reader.next_line, None)), reader, trickle


def content(line: bytes, offset: int) -> bytes:
    """What of a line is read: without the carriage return and, at the very beginning, without the byte order mark."""
    return line.removesuffix(b"\r").removeprefix(BOM if offset == 0 else b"")


@THOROUGH
@given(files, sizes, sizes, st.booleans())
def test_each_line_stands_at_its_offset_and_the_others_are_counted_as_blank(
    data: bytes, block: int, step: int, marked: bool
) -> None:
    data = BOM + data if marked else data
    with reading_in(block):
        given_out, reader, _ = all_lines(data, step)
    written = {line.number: line for line in lines_of(data)}
    for line in given_out:
        original = written.pop(line.number)
        assert line.offset == original.offset
        assert data[line.offset : line.offset + len(original.data)] == original.data
        assert (line.data, line.digest) == (content(original.data, original.offset), line_digest(original.data))
        assert line.problem is None
    assert not any(content(blank.data, blank.offset).strip() for blank in written.values())
    assert len(written) == reader.blank
    assert (reader.offset, reader.line) == (len(data), len(lines_of(data)))


@THOROUGH
@given(files, sizes, sizes, sizes)
def test_blocks_change_nothing(data: bytes, block: int, step: int, most: int) -> None:
    whole, at_once, _ = all_lines(data, len(data) + 1, most)
    with reading_in(block):
        in_pieces, piecewise, _ = all_lines(data, step, most)
    assert in_pieces == whole
    assert piecewise.position() == at_once.position()


@THOROUGH
@given(st.lists(st.text(alphabet=SEPARATORS + "ab", min_size=1, max_size=9), max_size=6), sizes)
def test_no_other_character_ends_a_line(texts: list[str], block: int) -> None:
    texts = [f"x{text}x" for text in texts]
    with reading_in(block):
        given_out, _, _ = all_lines("\n".join(texts).encode(), 7)
    assert [line.data.decode() for line in given_out] == texts


@THOROUGH
@given(st.lists(st.integers(0, 400), max_size=6), sizes, st.integers(1, 30))
def test_a_line_above_the_limit_is_rejected_and_never_held(lengths: list[int], block: int, most: int) -> None:
    data = b"\n".join(b"x" * length for length in lengths) + b"\n"
    with reading_in(block):
        given_out, reader, trickle = all_lines(data, block, most)
    assert [line.number for line in given_out if line.problem] == [
        number for number, length in enumerate(lengths, start=1) if length > most
    ]
    for line in given_out:
        length = lengths[line.number - 1]
        assert line.problem is None or f"{length:,} bytes, more than the {most:,}" in line.problem
        assert (line.data, line.digest) == (b"" if line.problem else b"x" * length, line_digest(b"x" * length))
    assert trickle.held_most <= most + block
    assert reader.offset == len(data)


@THOROUGH
@given(files, st.integers(0, 12), sizes, sizes)
def test_a_reader_that_goes_on_gives_the_rest(data: bytes, taken: int, block: int, other_block: int) -> None:
    whole, at_the_end, _ = all_lines(data, 100)
    with reading_in(block):
        first = LineReader(InputStream(Trickle(data, 9), "test", {}))
        before = [line for _ in range(taken) if (line := first.next_line())]
    with reading_in(other_block):
        second = LineReader(InputStream(Trickle(data, 11), "test", {}))
        assert second.skip_prefix(first.position())
        after = list(iter(second.next_line, None))
    assert before + after == whole
    assert second.position() == at_the_end.position()
