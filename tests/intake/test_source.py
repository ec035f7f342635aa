"""A source gives every line once, also over stops, growth and changes of its input."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from backports import zstd

from batchrouter.core.errors import InputMissing, InputUnfit
from batchrouter.core.options import InputOptions
from batchrouter.core.records import Batch, Position, Record, Rejection
from batchrouter.core.run_choice import Comparison
from batchrouter.core.settings import Settings
from batchrouter.intake.sampling import sample
from batchrouter.intake.source import FileSource

LINES = [b'{"prompt":"%d"}\n' % number for number in range(1200)]


class Run:
    """One run's rows, as a store would keep them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rows: list[Record | Rejection] = []
        self.position = Position()
        self.compared: Comparison | None = None

    def digests(self, first: int, last: int) -> Iterable[tuple[int, bytes]]:
        return [(row.line, row.digest) for row in self.rows if first <= row.line <= last]

    async def go(self, data: bytes | Path, most: int | None = None) -> Run:
        path, stdin = (str(data), None) if isinstance(data, Path) else ("-", io.BytesIO(data))
        source = FileSource(path, self.settings, InputOptions(), self.position, stdin=stdin)
        self.compared = await source.compare(self.digests)
        if self.compared.content != "different":
            async for batch in source.batches(records_most=most):
                self.rows += batch.lines
                self.position = batch.after
        await source.aclose()
        return self


def as_input(data: bytes, tmp_path: Path, kind: str) -> bytes | Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    return path if kind == "file" else data


both = pytest.mark.parametrize("kind", ["file", "stdin"])


async def test_batches_are_bounded_and_in_order(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"".join(LINES))
    source = FileSource(str(path), settings, InputOptions())
    batches: list[Batch] = [batch async for batch in source.batches()]
    assert [len(batch.lines) for batch in batches] == [500, 500, 200]
    assert [line.line for batch in batches for line in batch.lines] == list(range(1, 1201))
    assert batches[-1].after.offset == path.stat().st_size
    await source.aclose()


@both
async def test_limit_counts_records_and_a_later_run_goes_on(settings: Settings, tmp_path: Path, kind: str) -> None:
    data = as_input(b"bad\n\n" + b"".join(LINES), tmp_path, kind)
    run = await Run(settings).go(data, most=501)
    assert (len(run.rows), run.position.line, run.position.blank) == (502, 503, 1)
    await run.go(data)
    assert run.compared == Comparison("grown")
    assert [row.line for row in run.rows] == [1, *range(3, 1203)]
    await run.go(data)
    assert (run.compared, len(run.rows)) == (Comparison("same"), 1201)


@both
@pytest.mark.parametrize(
    ("now", "comparison", "rows"),
    [
        (b"a\nb", Comparison("same"), 2),
        (b"a\nb\n", Comparison("same"), 2),
        (b"a\nb\nc", Comparison("grown"), 3),
        (b"a\nbc\n", Comparison("different", 2, "line 2 has changed"), 2),
        (b"x\nb\n", Comparison("different", 1, "line 1 has changed"), 2),
        (b"a\n", Comparison("different", 2, "line 2 is missing: the input ends after line 1"), 2),
        (b"", Comparison("different", 1, "line 1 is missing: the input ends after line 0"), 2),
        (b"\na\nb", Comparison("different", 1, "line 1 is blank now"), 2),
    ],
)
async def test_what_an_input_has_become(
    settings: Settings, tmp_path: Path, kind: str, now: bytes, comparison: Comparison, rows: int
) -> None:
    run = await Run(settings).go(as_input(b"a\nb", tmp_path, kind))
    assert not run.position.ended
    await run.go(as_input(now, tmp_path, kind))
    assert (run.compared, len(run.rows)) == (comparison, rows)
    assert [row.line for row in run.rows] == list(range(1, rows + 1))


@both
async def test_a_blank_line_that_is_filled_is_a_change(settings: Settings, tmp_path: Path, kind: str) -> None:
    run = await Run(settings).go(as_input(b"a\n\nb\n", tmp_path, kind))
    await run.go(as_input(b"a\n!\nb\n", tmp_path, kind))
    assert run.compared == Comparison("different", 2, "line 2 was blank and is not any more")


async def test_a_start_that_does_not_fit_is_an_error(settings: Settings, tmp_path: Path) -> None:
    run = await Run(settings).go(as_input(b"a\nb\n", tmp_path, "file"))
    source = FileSource(str(as_input(b"x\nb\n", tmp_path, "file")), settings, InputOptions(), run.position)
    with pytest.raises(InputUnfit):
        _ = [batch async for batch in source.batches()]
    await source.aclose()


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd.compress)])
async def test_compressed_inputs_and_their_broken_ends(settings, tmp_path: Path, suffix: str, compress) -> None:
    lines = [b'{"prompt":"%b"}\n' % os.urandom(30).hex().encode() for _ in range(20_000)]
    whole = compress(b"".join(lines))
    path = tmp_path / f"in.jsonl{suffix}"
    path.write_bytes(whole)
    run = await Run(settings).go(path)
    assert (len(run.rows), run.position.offset) == (20_000, sum(map(len, lines)))

    path.write_bytes(whole[: len(whole) // 2])
    run = await Run(settings).go(path)
    last = run.rows[-1]
    assert isinstance(last, Rejection)
    assert last.line == len(run.rows) > 1000
    assert last.reason.startswith("the file ends in the middle of its ")
    assert last.reason.endswith(f"stream; {last.line - 1} lines before it were read")
    assert all(isinstance(row, Record) for row in run.rows[:-1])
    before = list(run.rows)
    await run.go(path)
    assert (run.compared, run.rows) == (Comparison("same"), before)
    path.write_bytes(whole)
    await run.go(path)
    assert run.compared == Comparison("different", last.line, f"line {last.line} has changed")


@pytest.mark.parametrize(
    ("name", "content"), [("gone.jsonl", None), (".", None), ("text.jsonl.gz", b'{"prompt":"a"}\n')]
)
def test_what_cannot_be_read_is_missing(settings, tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputMissing):
        FileSource(str(tmp_path / name), settings, InputOptions())


async def test_empty_inputs_have_no_batches(settings: Settings, tmp_path: Path) -> None:
    run = await Run(settings).go(as_input(b"", tmp_path, "file"))
    assert (run.rows, run.compared, run.position) == ([], Comparison("same"), Position())


async def test_models_that_will_be_replaced_are_counted(settings: Settings) -> None:
    data = b'{"prompt":"a","model":"m"}\n{"prompt":"a"}\n'
    for no_routing, count in ((False, 1), (True, 0)):
        source = FileSource("-", settings, InputOptions(no_routing=no_routing), stdin=io.BytesIO(data))
        assert [batch.replaced_models async for batch in source.batches()] == [count]


async def test_stdin_that_never_ends_does_not_hold_up_the_end(settings: Settings) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
        source = FileSource("-", settings, InputOptions(), stdin=stdin)
        task = asyncio.create_task(anext(source.batches()))
        await asyncio.sleep(0.05)
        task.cancel()
        async with asyncio.timeout(2):
            await asyncio.gather(task, return_exceptions=True)
            await source.aclose()


async def test_a_named_pipe_is_compared_in_the_one_pass_that_it_allows(settings: Settings, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    run = Run(settings)
    for data, kind in ((b"a\nb\n", "grown"), (b"a\nc\n", "different"), (b"a\nb\nc\n", "grown")):
        writer = asyncio.create_task(asyncio.to_thread(pipe.write_bytes, data))
        async with asyncio.timeout(5):
            source = await asyncio.to_thread(FileSource, str(pipe), settings, InputOptions(), run.position)
            comparison = await source.compare(run.digests)
            assert comparison.content == kind
            if kind == "grown":
                async for batch in source.batches():
                    run.rows += batch.lines
                    run.position = batch.after
            await source.aclose()
            await writer
    assert [row.line for row in run.rows] == [1, 2, 3]


OTHER_KINDS = [
    (b"SQLite format 3\x00\x10\x00", "an SQLite database"),
    (bz2.compress(b"".join(LINES)), "compressed with bzip2"),
    (lzma.compress(b"".join(LINES)), "compressed with xz"),
    (gzip.compress(gzip.compress(b"".join(LINES))), "compressed with gzip"),
    (b"PK\x03\x04\x14\x00", "a zip archive"),
    ('{"prompt":"a"}\n'.encode("utf-16"), "UTF-16 text"),
    ("\ufeff".encode("utf-16-be") + '{"prompt":"a"}\n'.encode("utf-16-be"), "UTF-16 text"),
    ('{"prompt":"a"}\n'.encode("utf-32"), "UTF-32 text"),
    (b'[\n{"prompt":"a"},\n{"prompt":"b"}\n]\n', "a JSON array"),
    (b'\xef\xbb\xbf\r\n  [{"prompt":"a"}]', "a JSON array"),
]


@pytest.mark.parametrize(("data", "what"), OTHER_KINDS, ids=[what for _, what in OTHER_KINDS])
async def test_a_file_of_another_kind_is_refused_as_a_whole(settings, tmp_path: Path, data: bytes, what: str) -> None:
    path = as_input(data, tmp_path, "file")
    with pytest.raises(InputUnfit, match=f"in.jsonl is {what}, not a JSON object on each line"):
        FileSource(str(path), settings, InputOptions())
    with pytest.raises(InputUnfit, match=what):
        sample(str(path))


async def test_a_pipe_of_another_kind_is_refused_before_its_first_batch(settings: Settings) -> None:
    source = FileSource("-", settings, InputOptions(), stdin=io.BytesIO(gzip.compress(b"".join(LINES))))
    with pytest.raises(InputUnfit, match="stdin is compressed with gzip"):
        _ = [batch async for batch in source.batches()]
    await source.aclose()


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.jsonl.zst"])
async def test_what_is_compressed_is_known_by_its_content(settings, tmp_path: Path, name: str, compress) -> None:
    (tmp_path / name).write_bytes(compress(b"".join(LINES)))
    run = await Run(settings).go(tmp_path / name)
    assert (len(run.rows), run.position.offset) == (1200, sum(map(len, LINES)))


async def test_a_byte_order_mark_of_utf_8_is_passed_over(settings: Settings, tmp_path: Path) -> None:
    run = await Run(settings).go(as_input(b"\xef\xbb\xbf" + LINES[0], tmp_path, "file"))
    assert isinstance(run.rows[0], Record)
