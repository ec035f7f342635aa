"""Commands that work on runs: run, resume, retry, estimate."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import click

from batchrouter.cli.options import Common, common_options, input_options, run_options
from batchrouter.cli.printing import print_json
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import InputOptions, RetrySelection, RunOptions

if TYPE_CHECKING:
    from batchrouter.reporting.figures import RunReport
    from batchrouter.reporting.live import Progress

T = TypeVar("T")


@click.command(short_help="Start a run, or go on with it.")
@click.argument("source", metavar="INPUT")
@click.option("--name", help="The run of this name; needed for stdin.")
@click.option("--demo", is_flag=True, help="Use a simulated gateway on this machine: no key, no cost.")
@click.option("--new", is_flag=True, help="Start a new run even if an old one could go on.")
@input_options
@run_options
@common_options
def run(
    source: str,
    name: str | None,
    demo: bool,  # noqa: FBT001 - click passes flags by name
    new: bool,  # noqa: FBT001
    budget: Decimal | None,
    input_options: InputOptions,
    options: RunOptions,
    common: Common,
) -> int:
    """Answer every record of INPUT (.jsonl, .jsonl.gz, .jsonl.zst, or - for stdin).

    The same command goes on with what stopped, and makes no call when nothing is left.

    \b
    batchrouter run tickets.jsonl --db night.db
    batchrouter run reviews.jsonl --template 'Is this review positive or negative? {review}' --id-field review_id
    zcat big.jsonl.gz | batchrouter run - --name big --budget 500 --until 06:30
    """
    from batchrouter import api  # noqa: PLC0415 - keeps --help quick

    if source == "-" and name is None:
        raise click.UsageError("stdin has no name of its own: give the run one with --name")
    settings = api.load_settings(common.config, budget=budget)
    options = replace(options, name=name, demo=demo, new=new)
    db = common.database(demo=demo)
    report = _followed(
        common,
        settings.currency,
        lambda progress: api.run(
            source, db=db, settings=settings, input_options=input_options, options=options, observer=progress
        ),
    )
    return _told(report, common, db)


@click.command(short_help="Go on with a run without naming its input.")
@click.argument("run", default="latest")
@click.option("--all", "all_runs", is_flag=True, help="Every run that stopped, oldest first.")
@run_options
@common_options
def resume(
    run: str,
    all_runs: bool,  # noqa: FBT001
    budget: Decimal | None,
    options: RunOptions,
    common: Common,
) -> int:
    """Go on with RUN: a number, a name, or `latest`.

    \b
    batchrouter resume --db night.db
    batchrouter resume 3 --db night.db --budget 800
    batchrouter resume --all --db night.db
    """
    from batchrouter import api  # noqa: PLC0415

    settings = api.load_settings(common.config, budget=budget)
    db = common.database()
    if not all_runs:
        report = _followed(
            common,
            settings.currency,
            lambda progress: api.resume(run, db=db, settings=settings, options=options, observer=progress),
        )
        return _told(report, common, db)
    reports = _followed(
        common,
        settings.currency,
        lambda progress: api.resume_all(db=db, settings=settings, options=options, observer=progress),
    )
    if not reports:
        click.echo("no run stopped: nothing to go on with", err=True)
    return max((_told(report, common, db) for report in reports), default=ExitCode.OK)


@click.command(short_help="Do ended records again.")
@click.argument("run", default="latest")
@click.option("--status", "statuses", default="failed", show_default=True, help="failed, done, or both with a comma.")
@click.option("--error", "error_classes", multiple=True, metavar="CLASS", help="Only this class of error, e.g. server.")
@click.option("--task", "tasks", multiple=True, help="Only this task.")
@click.option("--ids", type=click.File(encoding="utf-8"), help="Only the ids in this file, one a line.")
@click.option("--tier", help="Only records that ended in this tier.")
@click.option("--queue-only", is_flag=True, help="Queue them, and run them later.")
@run_options
@common_options
def retry(
    run: str,
    statuses: str,
    error_classes: tuple[str, ...],
    tasks: tuple[str, ...],
    ids: IO[str] | None,
    tier: str | None,
    queue_only: bool,  # noqa: FBT001
    budget: Decimal | None,
    options: RunOptions,
    common: Common,
) -> int:
    """Queue failed records of RUN again and run them; earlier results stay in the database.

    \b
    batchrouter retry --db night.db
    batchrouter retry 3 --error server --error lost
    batchrouter retry --status done --task legal-review --queue-only
    """
    from batchrouter import api  # noqa: PLC0415

    wanted = tuple(status.strip() for status in statuses.split(","))
    if not set(wanted) <= {"failed", "done"}:
        raise click.BadParameter("failed, done, or failed,done", param_hint="--status")
    chosen = tuple(line.strip() for line in ids if line.strip()) if ids else ()
    which = RetrySelection(wanted, error_classes, tasks, chosen, tier)
    settings, db = api.load_settings(common.config, budget=budget), common.database()
    queued, report = _followed(
        common,
        settings.currency,
        lambda progress: api.retry(
            run, db=db, settings=settings, options=options, which=which, queue_only=queue_only, observer=progress
        ),
    )
    if report is not None:
        return _told(report, common, db)
    if common.as_json:
        print_json({"queued": queued})
    else:
        click.echo(f"{queued} records queued again" if queued else "no record fits: nothing queued")
    return ExitCode.OK


@click.command(short_help="What would it cost, and how long would it take?")
@click.argument("source", metavar="INPUT")
@input_options
@run_options
@common_options
def estimate(
    source: str, budget: Decimal | None, input_options: InputOptions, options: RunOptions, common: Common
) -> int:
    """Tiers, tokens, cost, baseline and time of INPUT: no call, no cost, no database.

    \b
    batchrouter estimate tickets.jsonl
    batchrouter estimate reviews.jsonl --template template.txt --limit 1000 --json
    """
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.reporting import terminal  # noqa: PLC0415

    settings = api.load_settings(common.config, budget=budget)
    estimated = asyncio.run(api.estimate(source, settings=settings, input_options=input_options, options=options))
    if common.as_json:
        print_json(estimated.as_dict())
    else:
        terminal.print_estimate(estimated, sys.stdout)
    return ExitCode.OK


def _followed(common: Common, currency: str, work: Callable[[Progress], Awaitable[T]]) -> T:
    """Do the work while its progress is shown on stderr."""
    from batchrouter.reporting.live import Progress, shown  # noqa: PLC0415

    async def follow() -> T:
        progress = Progress(currency=currency)
        async with shown(progress, stream=sys.stderr, quiet=common.quiet, log_format=common.log_format):
            return await work(progress)

    return asyncio.run(follow())


def _told(report: RunReport, common: Common, db: Path) -> int:
    """Print a run's summary, and on stderr why it stopped."""
    from batchrouter.reporting import terminal  # noqa: PLC0415

    if common.as_json:
        print_json(report.summary.as_dict())
    else:
        terminal.print_summary(report.summary, sys.stdout, db)
    if report.stop_reason:
        click.echo(f"stopped: {report.stop_reason}", err=True)
        if report.hint:
            click.echo(f"hint: {report.hint}", err=True)
    return report.exit_code


COMMANDS = (run, resume, retry, estimate)
