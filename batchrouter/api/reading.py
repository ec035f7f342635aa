"""Verbs that only read the database: status, report, results, export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from batchrouter.assembly import looking_on
from batchrouter.core.records import Result
from batchrouter.reporting import export as exporting
from batchrouter.reporting import figures
from batchrouter.store.reading import open_reader


def status(db: str | Path) -> list[figures.RunStatus]:
    """All runs, newest last, with their progress and their oldest calls in flight.

    The state of a run whose process died is ``interrupted``.
    """
    return looking_on.statuses(Path(db))


def report(run: str | int = "latest", *, db: str | Path) -> figures.Summary:
    """The figures of a run."""
    return looking_on.summary(Path(db), run)


def results(run: str | int = "latest", *, db: str | Path, statuses: Sequence[str] = ()) -> Iterator[Result]:
    """The outcome of each line of a run in input order (no ``statuses``: all lines), read as they are asked for."""
    with open_reader(Path(db)) as reader:
        yield from exporting.results(reader, figures.find_run(reader, run), statuses)


def export(
    run: str | int = "latest",
    *,
    db: str | Path,
    destination: str | Path | None,
    format: str | None = None,  # noqa: A002
    statuses: Sequence[str] = (),
) -> int:
    """Write a run's answers, whole or not at all (None: stdout); how many rows.

    ``format``: jsonl, openai or csv (None: csv where the file's name ends in .csv, else jsonl).
    """
    with open_reader(Path(db)) as reader:
        file = None if destination is None else Path(destination)
        return exporting.export(reader, figures.find_run(reader, run), file, format=format, statuses=statuses)
