"""Exports: the right lines in the right shape, and files that appear whole or not at all."""

import csv
import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from batchrouter.core.errors import InputUnfit, StorageFailed, WrongUsage
from batchrouter.reporting import export as exporting

from .conftest import Book

Rows = list[dict[str, Any]]


def export(
    reader: sqlite3.Connection, run: int, file: Path, form: str = "jsonl", statuses: tuple[str, ...] = ()
) -> int:
    return exporting.export(reader, run, file, format=form, statuses=statuses)


def exported(reader: sqlite3.Connection, run: int, file: Path, form: str = "jsonl", *statuses: str) -> Rows:
    count = export(reader, run, file, form, statuses)
    rows = [json.loads(line) for line in file.read_bytes().split(b"\n") if line]
    assert len(rows) == count
    return rows


def test_jsonl_has_the_columns_of_answers(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    rows = exported(reader, mixed, tmp_path / "out.jsonl")
    columns = [column[0] for column in reader.execute("SELECT * FROM answers").description]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(list(row) == columns for row in rows)
    assert [row["status"] for row in rows] == ["done", "done", "done", "failed", "rejected", "pending"]


def test_json_columns_are_values_and_no_strings(
    book: Book, reader: sqlite3.Connection, mixed: int, tmp_path: Path
) -> None:
    book.writer.execute("UPDATE requests SET metadata = '{\"big\": 123456789012345678901234567890}' WHERE line = 1")
    book.writer.execute("UPDATE results SET response = '<html>' WHERE line = 2")
    book.writer.commit()
    first, second, *_ = exported(reader, mixed, tmp_path / "out.jsonl")
    assert first["response"] == {"n": 1}
    assert first["request"] == {"messages": []}
    assert first["metadata"] == {"big": 123456789012345678901234567890}
    assert second["response"] == "<html>", "what is not JSON is a string"


def test_a_response_over_many_lines_stays_one_line(
    book: Book, reader: sqlite3.Connection, mixed: int, tmp_path: Path
) -> None:
    pretty = '{\r\n  "text": "a\\nb"\n}\n'
    book.writer.execute("UPDATE results SET response = ? WHERE line = 1", (pretty,))
    book.writer.commit()
    for form in ("jsonl", "openai"):
        file = tmp_path / form
        export(reader, mixed, file, form)
        assert len(file.read_bytes().splitlines()) == 6
    assert exported(reader, mixed, tmp_path / "again")[0]["response"] == {"text": "a\nb"}


def test_statuses_choose(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    rows = exported(reader, mixed, tmp_path / "out.jsonl", "jsonl", "failed", "pending")
    assert [row["line"] for row in rows] == [4, 6]


def test_openai_lines(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    rows = exported(reader, mixed, tmp_path / "out.jsonl", "openai")
    assert all(list(row) == ["id", "custom_id", "response", "error"] for row in rows)
    assert rows[0]["custom_id"] == "id-1"
    assert rows[0]["response"]["status_code"] == 200
    assert rows[0]["response"]["body"] == {"n": 1}
    assert rows[0]["error"] is None
    assert rows[3]["response"] is None
    assert rows[3]["error"] == {"code": "failed", "message": "HTTP 500"}
    assert rows[5]["error"]["code"] == "pending"


@pytest.mark.parametrize("answer", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_guards_formulas(book: Book, reader: sqlite3.Connection, mixed: int, tmp_path: Path, answer: str) -> None:
    book.writer.execute("UPDATE results SET answer = ? WHERE line = 1", (answer,))
    book.writer.commit()
    file = tmp_path / "out.csv"
    assert export(reader, mixed, file, "csv") == 6
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert rows[0]["answer"] == f"'{answer}"
    assert rows[1]["answer"] == "answer 2"


@pytest.mark.parametrize(
    ("name", "form", "begins"),
    [
        ("out.csv", None, "run,"),
        ("out.CSV", None, "run,"),
        ("out.jsonl", None, '{"run":'),
        ("out.csv.gz", None, '{"run":'),
        ("out", None, '{"run":'),
        ("out.csv", "jsonl", '{"run":'),
        ("out.jsonl", "csv", "run,"),
    ],
)
def test_the_name_of_the_file_says_the_format_unless_it_is_given(
    reader: sqlite3.Connection, mixed: int, tmp_path: Path, name: str, form: str | None, begins: str
) -> None:
    assert exporting.export(reader, mixed, tmp_path / name, format=form) == 6
    assert (tmp_path / name).read_text().startswith(begins)


def test_csv_without_rows_has_its_headings(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    file = tmp_path / "none.csv"
    assert export(reader, mixed + 1, file, "csv") == 0
    assert file.read_text().startswith("run,name,line,")


def test_a_file_is_its_owners_alone(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    export(reader, mixed, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_failure_half_way_leaves_the_old_file_and_nothing_beside_it(
    reader: sqlite3.Connection, mixed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "out.jsonl"
    file.write_text("old")

    def disk_full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(StorageFailed, match="No space left"):
        export(reader, mixed, file)
    assert file.read_text() == "old"
    assert list(folder.iterdir()) == [file]


def test_a_folder_that_is_not_there(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="No such file"):
        export(reader, mixed, tmp_path / "nowhere" / "out.jsonl")


def test_what_cannot_be_written_is_known_beforehand(tmp_path: Path) -> None:
    file, pipe = tmp_path / "out.jsonl", tmp_path / "pipe"
    file.write_text("old")
    os.mkfifo(pipe)
    for good in (file, tmp_path / "new.jsonl", pipe, Path(os.devnull)):
        exporting.check_destination(good)
    for bad in (tmp_path / "nowhere" / "out.jsonl", tmp_path, tmp_path / ("x" * 250), file / "out.jsonl"):
        with pytest.raises(StorageFailed, match="cannot be written"):
            exporting.check_destination(bad)
    assert sorted(tmp_path.iterdir()) == [file, pipe], "nothing was changed"
    assert file.read_text() == "old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageFailed, match="Permission denied"):
        exporting.check_destination(tmp_path / "out.jsonl")


def test_a_link_stays_a_link(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target.jsonl"
    target.touch()
    link.symlink_to(target)
    export(reader, mixed, link)
    assert link.is_symlink()
    assert len(target.read_bytes().splitlines()) == 6


def test_a_pipe_is_written_to_and_not_replaced(reader: sqlite3.Connection, mixed: int, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        export(reader, mixed, pipe)
        assert len(os.read(descriptor, 1 << 16).splitlines()) == 6
    finally:
        os.close(descriptor)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_database_and_the_input_are_never_overwritten(
    book: Book, reader: sqlite3.Connection, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("precious")
    run = book.run(source=str(source))
    (tmp_path / "link").symlink_to(source)
    lock = book.path.with_name(book.path.name + ".lock")
    lock.touch()
    for destination in (source, tmp_path / "link", book.path, lock):
        with pytest.raises(InputUnfit):
            export(reader, run, destination)
    assert source.read_text() == "precious"


def test_stdout(reader: sqlite3.Connection, mixed: int, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert exporting.export(reader, mixed, None, format="jsonl", statuses=()) == 6
    assert len(capsysbinary.readouterr().out.splitlines()) == 6


def test_results_are_values(reader: sqlite3.Connection, mixed: int) -> None:
    first, *_, last = exporting.results(reader, mixed, ())
    assert (first.line, first.id, first.status, first.answer, first.cost_nano) == (
        1,
        "id-1",
        "done",
        "answer 1",
        3_000_000,
    )
    assert (last.status, last.answer, last.cost_nano) == ("pending", None, None)


def test_a_status_that_there_is_not_is_refused(reader: sqlite3.Connection, mixed: int) -> None:
    with pytest.raises(WrongUsage, match="'foo' is no status of a record"):
        list(exporting.results(reader, mixed, ["done", "foo"]))
