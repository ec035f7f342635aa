"""A whole input, read in one go or in pieces, plain, compressed or broken: lines in, rows out, the same ones each time."""

import asyncio
import gzip
import io
import tempfile
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import assume, given
from hypothesis import strategies as st

from batchrouter.core.errors import InputMissing
from batchrouter.core.options import InputOptions
from batchrouter.core.records import Position, Record, Rejection
from batchrouter.intake.configuration import default_settings
from batchrouter.intake.lines import LineReader
from batchrouter.intake.opener import open_input
from batchrouter.intake.source import FileSource
from tests.fuzz.writing import THOROUGH, files, lines_of

SETTINGS = default_settings()
Rows = list[Record | Rejection]


def with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESSED = {".gz": gzip.compress, ".zst": with_checksum}
KINDS = {".gz": "gzip", ".zst": "zstd"}
compressions = st.sampled_from(sorted(COMPRESSED))


def taken_in(data: bytes, start: Position = Position(), most: int | None = None) -> tuple[Rows, Position]:
    """The rows of an input from a position on, at most so many records."""

    async def read() -> tuple[Rows, Position]:
        source = FileSource("-", SETTINGS, InputOptions(), start, stdin=io.BytesIO(data))
        rows = [row async for batch in source.batches(records_most=most) for row in batch.lines]
        await source.aclose()
        return rows, source.position

    return asyncio.run(read())


@given(files, st.integers(0, 6), st.integers(0, 6))
def test_read_in_three_pieces_an_input_has_the_rows_that_it_has_in_one(data: bytes, first: int, second: int) -> None:
    whole, at_the_end = taken_in(data)
    assert len(whole) + at_the_end.blank == len(lines_of(data)) == at_the_end.line
    rows: Rows = []
    position = Position()
    for most in (first, second, None):
        more, position = taken_in(data, position, most)
        assert most is None or sum(isinstance(row, Record) for row in more) <= most
        rows += more
    assert rows == whole
    assert position == at_the_end


@given(files, files)
def test_an_input_that_has_grown_gives_the_new_rows_alone(data: bytes, more: bytes) -> None:
    before, position = taken_in(data)
    grown = data + (b"" if position.ended else b"\n") + more
    after, at_the_end = taken_in(grown, position)
    whole, expected = taken_in(grown)
    assert before + after == whole
    assert at_the_end == expected


def lines_in(stored: bytes, suffix: str) -> tuple[list[tuple[int, int, bytes]], str | None]:
    """The good lines of a file on disk, and what is said of its end where that is broken."""
    with tempfile.NamedTemporaryFile(suffix=f".jsonl{suffix}") as file:
        file.write(stored)
        file.flush()
        stream = open_input(file.name)
        found = list(iter(LineReader(stream).next_line, None))
        stream.close()
    assert all(line.problem is None for line in found[:-1])
    problem = found[-1].problem if found else None
    return [(line.number, line.offset, line.data) for line in found if line.problem is None], problem


@THOROUGH
@given(files, compressions, st.data())
def test_of_a_file_that_was_cut_the_lines_before_the_cut_stay(data: bytes, suffix: str, choice: st.DataObject) -> None:
    whole = COMPRESSED[suffix](data)
    good, problem = lines_in(whole, suffix)
    assert problem is None
    cut = choice.draw(st.integers(1, len(whole) - 1))
    kept, problem = lines_in(whole[:cut], suffix)
    assert kept == good[: len(kept)]
    assert problem is not None
    ends = "is damaged" if suffix == ".gz" and cut == 1 else "ends"
    assert problem.startswith(f"the file {ends} in the middle of its {KINDS[suffix]}")


@THOROUGH
@given(files, compressions, st.binary(min_size=1, max_size=8))
def test_of_a_file_with_rubbish_behind_it_all_lines_stay(data: bytes, suffix: str, rubbish: bytes) -> None:
    good, _ = lines_in(COMPRESSED[suffix](data), suffix)
    padded = not rubbish.strip(b"\x00") and suffix == ".gz"  # zeros may stand behind a gzip file
    kept, problem = lines_in(COMPRESSED[suffix](data) + rubbish, suffix)
    unfinished = bool(data.rpartition(b"\n")[2].strip())  # with the end in doubt, nobody knows where that line ends
    assert kept == (good[:-1] if unfinished and not padded else good)
    assert padded or (problem is not None and " in the middle of its " in problem)


@THOROUGH
@given(files, compressions, st.data())
def test_a_damaged_file_has_the_lines_that_it_had_or_says_that_it_is_damaged(
    data: bytes, suffix: str, choice: st.DataObject
) -> None:
    assume(data)
    whole = bytearray(COMPRESSED[suffix](data))
    at = choice.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= choice.draw(st.integers(1, 255))
    good, _ = lines_in(COMPRESSED[suffix](data), suffix)
    try:
        kept, problem = lines_in(bytes(whole), suffix)
    except InputMissing as error:
        said = error.message
        assert " file, though its name says so" in said or "cannot be read any further" in said
        return
    assert kept == good or problem is not None


@pytest.mark.parametrize(("suffix", "compress"), COMPRESSED.items())
def test_members_behind_one_another_are_one_input(suffix: str, compress: Callable[[bytes], bytes]) -> None:
    good, problem = lines_in(compress(b"a\nb") + compress(b"") + compress(b"c\nd\n"), suffix)
    assert [line[2] for line in good] == [b"a", b"bc", b"d"]
    assert problem is None


def test_an_empty_file_has_no_lines_and_an_empty_compressed_file_is_none() -> None:
    assert lines_in(b"", "") == ([], None)
    for suffix, kind in KINDS.items():
        with pytest.raises(InputMissing, match=f"is empty, which no {kind} file is"):
            lines_in(b"", suffix)
