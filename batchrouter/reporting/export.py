"""Exports: every line of a run in input order, to a file that appears whole or not at all."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import logging
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import orjson

from batchrouter.core.errors import InputUnfit, StorageFailed, WrongUsage
from batchrouter.core.filesystems import files_of_database
from batchrouter.core.records import Result, Status

log = logging.getLogger("batchrouter")

_STATUSES = get_args(Status)
_JSON_COLUMNS = ("request", "response", "metadata")
_LINE_ENDS = str.maketrans("\r\n", "  ")
"""In JSON they stand between tokens only: strings hold them escaped."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(
    connection: sqlite3.Connection,
    run: int,
    destination: Path | None,
    *,
    format: str | None = None,  # noqa: A002
    statuses: Sequence[str] = (),
) -> int:
    """Write the run as ``jsonl``, ``openai`` or ``csv``; no ``statuses``: all lines. Returns the number of lines.

    ``format`` None: csv where the file's name ends in .csv, else jsonl. ``destination`` None is stdout. Raises StorageFailed when the file cannot be written; the old one is then intact.
    InputUnfit: the destination is the database, or the input of the run.
    """
    _tell_what_is_gone(connection, run)
    form = format or ("csv" if destination and destination.suffix.lower() == ".csv" else "jsonl")
    lines = _FORMATS[form](_rows(connection, run, statuses))
    headings = form == "csv"
    if destination is None:
        return _copy(lines, sys.stdout.buffer) - headings
    spare_sources(connection, run, destination)
    return write_file(lines, destination) - headings


def write_file(lines: Iterator[bytes], destination: Path, option: str = "-o") -> int:
    """Write a file whole or not at all; how many lines. Raises StorageFailed, and the old one is then intact."""
    with _told(destination, option):
        if _is_device(destination):
            with destination.open("wb") as device:
                return _copy(lines, device)
        return _write_whole(lines, destination.resolve())


def check_destination(destination: Path, option: str = "-o") -> None:
    """StorageFailed where nothing could be written there: better known before anything is paid for."""
    with _told(destination, option):
        if destination.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not _is_device(destination):
            descriptor, temporary = _beside(destination.resolve())
            os.close(descriptor)
            Path(temporary).unlink()
        elif not os.access(destination, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def spare_sources(
    connection: sqlite3.Connection, run: int, destination: Path, *others: Path | None, option: str = "-o"
) -> None:
    """Refuse (InputUnfit) to replace what the answers come from, and other files that are needed."""
    databases = [row["file"] for row in connection.execute("PRAGMA database_list") if row["file"]]
    inputs = [row["input"] for row in connection.execute("SELECT input FROM runs WHERE run = ?", (run,))]
    for database in databases:
        spare(destination, *inputs, database=database, option=option)
    if any(other and _is_same(destination, other) for other in others):
        raise InputUnfit(f"{destination} is read by this command", f"Choose another {option}.")


def spare(destination: Path, *inputs: str | Path, database: str | Path, option: str = "-o") -> None:
    """The same for an input and a database that need not be there yet."""
    for source in (*inputs, *files_of_database(database)):
        if _is_same(destination, Path(source)):
            raise InputUnfit(f"{destination} is the input of the run, or its database", f"Choose another {option}.")


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _is_device(destination: Path) -> bool:
    """Such as /dev/null, or a pipe: a rename would put a file in its place."""
    return destination.exists() and not destination.is_file()


@contextmanager
def _told(destination: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{destination} cannot be written: {error.strerror}", f"Nothing was changed; choose another {option}."
        ) from error


def _tell_what_is_gone(connection: sqlite3.Connection, run: int) -> None:
    """Why columns are empty that once were not."""
    sql = "SELECT count(*) - count(request), sum(status = 'done' AND response IS NULL) FROM answers WHERE run = ? AND status <> 'rejected'"
    requests, answers = connection.execute(sql, (run,)).fetchone()
    gone = [f"{count:,} {what}" for count, what in ((requests, "requests"), (answers, "answers")) if count]
    if gone:
        log.info("run %d: %s are empty: they were purged", run, " and ".join(gone))


def results(connection: sqlite3.Connection, run: int, statuses: Sequence[str]) -> Iterator[Result]:
    """The outcome of each line in input order."""
    names = [field.name for field in dataclasses.fields(Result)]
    for row in _rows(connection, run, statuses):
        yield Result(**{name: row[name] for name in names})


def _rows(connection: sqlite3.Connection, run: int, statuses: Sequence[str]) -> sqlite3.Cursor:
    condition, values = "", list(statuses)
    if unknown := set(statuses).difference(_STATUSES):
        raise WrongUsage(f"{unknown.pop()!r} is no status of a record", f"Statuses are {', '.join(_STATUSES)}.")
    if statuses:
        condition = f" AND status IN ({', '.join('?' * len(values))})"
    return connection.execute(f"SELECT * FROM answers WHERE run = ?{condition} ORDER BY line", (run, *values))


def _jsonl(rows: Iterable[sqlite3.Row]) -> Iterator[bytes]:
    for row in rows:
        values = dict(row)
        for column in _JSON_COLUMNS:
            values[column] = _json(values[column])
        yield orjson.dumps(values) + b"\n"


def _openai(rows: Iterable[sqlite3.Row]) -> Iterator[bytes]:
    """The lines of an OpenAI batch output file."""
    for row in rows:
        done = row["status"] == "done" and row["response"] is not None
        response = {"status_code": 200, "request_id": f"{row['run']}-{row['line']}", "body": _json(row["response"])}
        purged = row["status"] == "done"
        code, nothing = ("purged", "the answer was purged") if purged else (row["status"], "not answered yet")
        error = {"code": code, "message": row["error"] or nothing}
        yield (
            orjson.dumps(
                {
                    "id": f"batch_req_{row['run']}_{row['line']}",
                    "custom_id": row["id"],
                    "response": response if done else None,
                    "error": None if done else error,
                }
            )
            + b"\n"
        )


def _csv(rows: sqlite3.Cursor) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(column[0] for column in rows.description)
    yield _drained(buffer)
    for row in rows:
        writer.writerow([_guarded(value) for value in row])
        yield _drained(buffer)


def _drained(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def _guarded(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _json(text: str | None) -> Any:
    """Stored JSON goes out as it is, on one line; what is not JSON, as a string."""
    if text is None:
        return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return orjson.Fragment(text.translate(_LINE_ENDS))


_FORMATS: dict[str, Callable[[sqlite3.Cursor], Iterator[bytes]]] = {
    "jsonl": _jsonl,
    "openai": _openai,
    "csv": _csv,
}


def _copy(lines: Iterator[bytes], file: Any) -> int:
    count = 0
    for line in lines:
        file.write(line)
        count += 1
    file.flush()
    return count


def _write_whole(lines: Iterator[bytes], destination: Path) -> int:
    """Write beside the destination, make it durable, and put it in place in one step."""
    descriptor, temporary = _beside(destination)
    try:
        with os.fdopen(descriptor, "wb") as file:
            count = _copy(lines, file)
            os.fsync(file.fileno())
        Path(temporary).replace(destination)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(destination.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return count


def _beside(destination: Path) -> tuple[int, str]:
    """A new file in the same folder: (its descriptor, its path)."""
    return tempfile.mkstemp(prefix=f".{destination.name}.", dir=destination.parent)
