"""Verbs that make calls: run, resume, retry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from batchrouter.api.settings import load_settings
from batchrouter.assembly.desk import open_desk
from batchrouter.core.counting import counted
from batchrouter.core.errors import InputUnfit, WrongUsage
from batchrouter.core.options import InputOptions, RetrySelection, RunOptions
from batchrouter.core.outcome import ErrorClass
from batchrouter.core.settings import Settings
from batchrouter.intake.suggestions import did_you_mean
from batchrouter.ports import Observer
from batchrouter.store import runs
from batchrouter.store.reading import open_reader
from batchrouter.store.requeueing import queue_again

if TYPE_CHECKING:
    from batchrouter.reporting.figures import RunReport


async def run(
    source: str | Path,
    *,
    db: str | Path,
    settings: Settings | None = None,
    input_options: InputOptions = InputOptions(),
    options: RunOptions = RunOptions(),
    observer: Observer | None = None,
) -> RunReport:
    """Start the run that this input means, or go on with it; the same call every night.

    ``source`` is a path, or ``-`` for stdin (which needs ``options.name``). The report's ``exit_code`` is that of the
    command line. ``settings`` None: those of ``load_settings()``.
    """
    if options.output:
        from batchrouter.reporting import export  # noqa: PLC0415 - else `run` needs it at its end only

        export.check_destination(Path(options.output))
        export.spare(Path(options.output), source, database=db)
    async with open_desk(Path(db), settings or load_settings(), options, observer) as desk:
        return await desk.finish(await desk.finder.by_input(str(source), input_options, options))


async def resume(
    run: str | int = "latest",
    *,
    db: str | Path,
    settings: Settings,
    options: RunOptions = RunOptions(),
    observer: Observer | None = None,
) -> RunReport:
    """Go on with a run (number, name or ``latest``) without naming its input."""
    number = _number_of(db, run, options.output)
    async with open_desk(Path(db), settings, options, observer) as desk:
        return await desk.finish(await desk.finder.by_number(number))


async def resume_all(
    *, db: str | Path, settings: Settings, options: RunOptions = RunOptions(), observer: Observer | None = None
) -> list[RunReport]:
    """Go on with every run that stopped, oldest first; the first that stops again ends it. WrongUsage: an output is given."""
    if options.output:
        raise WrongUsage(
            "-o is the file of one run, not of all that stopped",
            "`batchrouter export RUN -o FILE` writes each afterwards.",
        )
    with open_reader(Path(db)):
        pass
    reports = []
    async with open_desk(Path(db), settings, options, observer) as desk:
        for number in await desk.unfinished():
            report = await desk.finish(await desk.finder.by_number(number))
            reports.append(report)
            if not report.is_complete:
                break
    return reports


async def retry(
    run: str | int,
    *,
    db: str | Path,
    settings: Settings,
    options: RunOptions = RunOptions(),
    which: RetrySelection = RetrySelection(),
    queue_only: bool = False,
    observer: Observer | None = None,
) -> tuple[int, RunReport | None]:
    """Queue ended records again as a new generation, and run them unless ``queue_only``; (how many, the report).

    ``options.limit``: so many of them, the first in the input; what else is pending goes on as well. WrongUsage: ``which``
    names a class of error or a tier that there is not.
    """
    most, options = options.limit, replace(options, limit=None)
    number = _number_of(db, run, options.output)
    _check_known("--error", which.error_classes, [str(one) for one in ErrorClass])
    async with open_desk(Path(db), settings, options, observer) as desk:
        if which.tier:
            stored = await runs.run_by_number(desk.connection, number)
            _check_known("--tier", [which.tier], stored.fixed["tiers"])
        queued, purged = await queue_again(desk.connection, number, which, most=most)
        if purged:
            _tell_purged(purged, queued, desk.observer)
        if queue_only or not queued:
            return queued, None
        return queued, await desk.finish(await desk.finder.by_number(number))


def _number_of(db: str | Path, run: str | int, output: str | Path | None) -> int:
    """The number of a run whose answers may go to ``output``."""
    from batchrouter.reporting import export, figures  # noqa: PLC0415 - `run` needs them at its end only

    with open_reader(Path(db)) as reader:
        number = figures.find_run(reader, run)
        if output:
            export.check_destination(Path(output))
            export.spare_sources(reader, number, Path(output))
    return number


def _check_known(option: str, words: Iterable[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            meant = did_you_mean(word, known)
            raise WrongUsage(f"{option} {word}: there is no such name{meant}", f"The names are {', '.join(known)}.")


def _tell_purged(purged: int, queued: int, observer: Observer) -> None:
    what = f"{counted(purged, 'record')} cannot be done again: the request was purged"
    if not queued:
        raise InputUnfit(what, "`batchrouter run --new` does the whole input again.")
    observer.notice(what)
