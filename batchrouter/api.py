"""One function for each thing that batchrouter does; the command line and programs call the same ones.

All of them raise ``BatchRouterError`` or a child of it for anything that a person can put right.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from batchrouter.assembly import demo_room, examination, looking_on, wiring
from batchrouter.assembly.clock import SystemClock
from batchrouter.assembly.desk import open_desk
from batchrouter.core.errors import InputUnfit
from batchrouter.core.findings import Finding
from batchrouter.core.options import InputOptions, RetrySelection, RunOptions
from batchrouter.core.records import Decision, Record, Rejection, RequestText, Result
from batchrouter.core.settings import Settings
from batchrouter.intake import configuration
from batchrouter.intake.source import FileSource
from batchrouter.intake.template import template_text
from batchrouter.ports import Observer
from batchrouter.reporting import estimate as estimating
from batchrouter.reporting import export as exporting
from batchrouter.reporting import figures
from batchrouter.routing.rules import RuleRouter
from batchrouter.store import purging, runs
from batchrouter.store.opening import open_reader, open_writer


def load_settings(config: Path | None = None, *, budget: Decimal | None = None) -> Settings:
    """The settings of a file (None: ./batchrouter.toml if there, else built-in), with a budget laid over them."""
    return configuration.overridden(configuration.load(config, os.environ), budget=budget)


def text_or_file(value: str) -> str:
    """A file's content if ``value`` names one, else ``value`` itself."""
    return template_text(value)


def configuration_template(gateway: str) -> str:
    """A commented configuration file for aicredits, openai, openrouter, litellm or vllm."""
    return configuration.configuration_template(gateway)


async def run(
    source: str,
    *,
    db: Path,
    settings: Settings | None = None,
    input_options: InputOptions = InputOptions(),
    options: RunOptions = RunOptions(),
    observer: Observer | None = None,
) -> figures.RunReport:
    """Start the run that this input means, or go on with it; the same call every night.

    ``source`` is a path, or ``-`` for stdin (which needs ``options.name``). The report's ``exit_code`` is that of the
    command line. ``settings`` None: those of ``load_settings()``.
    """
    async with open_desk(db, settings or load_settings(), options, observer) as desk:
        return await desk.finish(await desk.finder.by_input(source, input_options, options))


async def resume(
    run: str = "latest",
    *,
    db: Path,
    settings: Settings,
    options: RunOptions = RunOptions(),
    observer: Observer | None = None,
) -> figures.RunReport:
    """Go on with a run (number, name or ``latest``) without naming its input."""
    with open_reader(db) as reader:
        number = figures.find_run(reader, run)
    async with open_desk(db, settings, options, observer) as desk:
        return await desk.finish(await desk.finder.by_number(number))


async def resume_all(
    *, db: Path, settings: Settings, options: RunOptions = RunOptions(), observer: Observer | None = None
) -> list[figures.RunReport]:
    """Go on with every run that stopped, oldest first; the first that stops again ends it."""
    with open_reader(db):
        pass
    reports = []
    async with open_desk(db, settings, options, observer) as desk:
        for number in await desk.unfinished():
            report = await desk.finish(await desk.finder.by_number(number))
            reports.append(report)
            if not report.is_complete:
                break
    return reports


async def retry(
    run: str,
    *,
    db: Path,
    settings: Settings,
    options: RunOptions = RunOptions(),
    which: RetrySelection = RetrySelection(),
    queue_only: bool = False,
    observer: Observer | None = None,
) -> tuple[int, figures.RunReport | None]:
    """Queue ended records again as a new generation, and run them unless ``queue_only``; (how many, the report)."""
    with open_reader(db) as reader:
        number = figures.find_run(reader, run)
    async with open_desk(db, settings, options, observer) as desk:
        queued, purged = await runs.queue_again(desk.connection, number, which)
        if purged:
            _tell_purged(purged, queued, desk.observer)
        if queue_only or not queued:
            return queued, None
        return queued, await desk.finish(await desk.finder.by_number(number))


def _tell_purged(purged: int, queued: int, observer: Observer) -> None:
    what = f"{purged:,} records cannot be done again: their request was purged"
    if not queued:
        raise InputUnfit(what, "`batchrouter run --new` does the whole input again.")
    observer.notice(what)


async def estimate(
    source: str, *, settings: Settings, input_options: InputOptions = InputOptions(), options: RunOptions = RunOptions()
) -> estimating.Estimate:
    """What a run of this input would cost and how long it would take; no call is made."""
    estimator = estimating.Estimator(settings)
    lines = route_lines(source, settings=settings, input_options=input_options, most=options.limit)
    async for line, decision in lines:
        estimator.add(line, decision)
    return estimator.estimate()


def route(text: str, *, settings: Settings) -> Decision:
    """The tier of a request with this text, and why."""
    return RuleRouter(settings).decide(RequestText(last_user=text, all_user=text))


async def route_lines(
    source: str, *, settings: Settings, input_options: InputOptions = InputOptions(), most: int | None = None
) -> AsyncIterator[tuple[Record | Rejection, Decision | None]]:
    """Every line of an input with its decision (None: rejected)."""
    deciding = wiring.deciding(settings, input_options)
    opened = FileSource(source, settings, input_options)
    try:
        async for batch in opened.batches(records_most=most):
            for line in batch.lines:
                yield line, deciding.of(line) if isinstance(line, Record) else None
    finally:
        await opened.aclose()


def status(db: Path) -> list[figures.RunStatus]:
    """All runs, newest last, with their progress and their oldest calls in flight.

    The state of a run whose process died is ``interrupted``.
    """
    return looking_on.statuses(db)


def report(run: str = "latest", *, db: Path) -> figures.Summary:
    """The figures of a run."""
    return looking_on.summary(db, run)


def results(run: str = "latest", *, db: Path, statuses: Sequence[str] = ()) -> Iterator[Result]:
    """The outcome of each line of a run in input order (no ``statuses``: all lines), read as they are asked for."""
    with open_reader(db) as reader:
        yield from exporting.results(reader, figures.find_run(reader, run), statuses)


def export(
    run: str = "latest",
    *,
    db: Path,
    destination: Path | None,
    format: str = "jsonl",  # noqa: A002
    statuses: Sequence[str] = (),
) -> int:
    """Write a run's answers as jsonl, openai or csv, whole or not at all (None: stdout); how many rows."""
    with open_reader(db) as reader:
        return exporting.export(reader, figures.find_run(reader, run), destination, format=format, statuses=statuses)


async def purge(
    run: str | None = None,
    *,
    db: Path,
    requests: bool = False,
    answers: bool = False,
    older_than_s: float | None = None,
) -> purging.Purged:
    """Delete stored texts of a run for good (None: of all runs), if it ended so long ago; figures and costs stay.

    ``requests``: bodies, metadata and checks of ended records. ``answers``: answers, responses, texts of errors.
    """
    with open_reader(db) as reader:
        number = None if run is None else figures.find_run(reader, run)
    clock = SystemClock()
    before = None if older_than_s is None else clock.utc_ago(older_than_s)
    async with open_writer(db, clock.utc()) as connection:
        return await purging.purge(connection, db, run=number, ended_before=before, requests=requests, answers=answers)


def verify(db: Path) -> list[Finding]:
    """Re-derive every invariant of the database; findings of level ``error`` are violations."""
    with open_reader(db) as reader:
        return examination.verify(reader)


async def doctor(
    *, settings: Settings | None = None, config: Path | None = None, db: Path, source: str | None = None
) -> list[Finding]:
    """Configuration, keys, gateways, database and machine, before any money is spent.

    ``settings`` None: those of the file ``config``, whose mistakes are findings like all others.
    """
    return await examination.doctor(settings, config, db, source)


async def demo(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 0,
    latency_ms: float = 0.0,
    rpm: float | None = None,
    tpm: float | None = None,
    key: str | None = None,
    ledger: Path | None = None,
    faults: Mapping[str, float],
    ready: Callable[[str], None],
) -> None:
    """Serve the demo gateway until cancelled; ``ready`` is given its first line."""
    await demo_room.serve(
        host=host,
        port=port,
        seed=seed,
        latency_ms=latency_ms,
        rpm=rpm,
        tpm=tpm,
        key=key,
        ledger=ledger,
        faults=faults,
        ready=ready,
    )
