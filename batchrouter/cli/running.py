"""Commands that work on runs: run, resume, retry, estimate."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchrouter.cli.event_loop import load_engine_beside, run_quickly, run_to_end
from batchrouter.cli.exits import after_a_run, in_words
from batchrouter.cli.options import Common, common_options, input_options, router_option, run_options, which_run_options
from batchrouter.cli.parameters import ListOfWords, Some
from batchrouter.cli.printing import print_json
from batchrouter.core.counting import counted
from batchrouter.core.errors import ExitCode
from batchrouter.core.filesystems import files_of_database
from batchrouter.core.options import InputOptions, RetrySelection, RunOptions

if TYPE_CHECKING:
    from batchrouter.reporting.figures import RunReport

T = TypeVar("T")


@click.command(short_help="Start a run, or go on with it.")
@click.argument("source", metavar="INPUT")
@input_options
@router_option
@run_options
@which_run_options
@common_options
def run(
    source: str,
    budget: Decimal | None,
    router: list[str] | None,
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

    if source == "-" and options.name is None:
        raise click.UsageError("stdin has no name of its own: give the run one with --name")
    db = common.database(demo=options.demo)
    needed = [Path(source), *files_of_database(db)]
    if options.output and Path(options.output).resolve() in [path.resolve() for path in needed]:
        raise click.BadParameter("this is the input, or the database", param_hint="--output")
    settings = api.load_settings(common.config, budget=budget, router=router)
    report = _followed(
        common,
        settings.currency,
        partial(api.run, source, db=db, settings=settings, input_options=input_options, options=options),
    )
    return _told(report, common, db, options.output)


@click.command(short_help="Go on with a run without naming its input.")
@click.argument("run", default="latest")
@click.option("--all", "all_runs", is_flag=True, help="Every run that stopped, oldest first.")
@run_options
@common_options
def resume(
    run: str,
    all_runs: bool,  # noqa: FBT001 - click passes flags by name
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
    db = common.existing_database()
    if not all_runs:
        report = _followed(
            common,
            settings.currency,
            partial(api.resume, run, db=db, settings=settings, options=options),
        )
        return _told(report, common, db, options.output)
    reports = _followed(
        common,
        settings.currency,
        partial(api.resume_all, db=db, settings=settings, options=options),
    )
    return _all_told(reports, common, db)


@click.command(short_help="Do ended records again.")
@click.argument("run", default="latest")
@click.option(
    "--status",
    "statuses",
    type=Some("failed", "done"),
    default="failed",
    show_default=True,
    help="failed, done or both.",
)
@click.option("--error", "error_classes", multiple=True, metavar="CLASS", help="Only this class of error, e.g. server.")
@click.option("--task", "tasks", multiple=True, help="Only this task.")
@click.option("--ids", type=ListOfWords(), metavar="FILE", default=(), help="Only the ids in this file, one a line.")
@click.option("--tier", help="Only records that ended in this tier.")
@click.option("--queue-only", is_flag=True, help="Queue them, and run them later.")
@run_options
@common_options
def retry(
    run: str,
    statuses: tuple[str, ...],
    error_classes: tuple[str, ...],
    tasks: tuple[str, ...],
    ids: tuple[str, ...],
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
    batchrouter retry 3 --status done --limit 5
    batchrouter retry --status done --task legal-review --queue-only
    """
    from batchrouter import api  # noqa: PLC0415

    which = RetrySelection(statuses, error_classes, tasks, ids, tier)
    settings, db = api.load_settings(common.config, budget=budget), common.existing_database()
    queued, report = _followed(
        common,
        settings.currency,
        partial(api.retry, run, db=db, settings=settings, options=options, which=which, queue_only=queue_only),
    )
    if report is not None:
        return _told(report, common, db, options.output)
    if common.as_json:
        print_json({"queued": queued})
    else:
        click.echo(f"{counted(queued, 'record')} queued again" if queued else "no record fits: nothing queued")
    return ExitCode.OK


@click.command(short_help="What would it cost, and how long would it take?")
@click.argument("source", metavar="INPUT")
@input_options
@router_option
@run_options
@which_run_options
@common_options
def estimate(
    source: str,
    budget: Decimal | None,
    router: list[str] | None,
    input_options: InputOptions,
    options: RunOptions,
    common: Common,
) -> int:
    """Tiers, tokens, cost, baseline and time of INPUT: no call, no cost, no database. Takes the options of `run`.

    \b
    batchrouter estimate tickets.jsonl
    batchrouter estimate reviews.jsonl --template template.txt --limit 1000 --json
    """
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.reporting import terminal  # noqa: PLC0415

    settings = api.load_settings(common.config, budget=budget, router=router)
    estimated = run_to_end(api.estimate(source, settings=settings, input_options=input_options, options=options))
    if common.as_json:
        print_json(estimated.as_dict())
    else:
        terminal.print_estimate(estimated, sys.stdout)
    return ExitCode.OK


def _followed(common: Common, currency: str, work: Callable[..., Awaitable[T]]) -> T:
    """Do the work while its progress, which it is given as ``observer``, is shown on stderr.

    It names its function of ``api``, and so has loaded it: the engine is loaded next, beside the work.
    """
    from batchrouter.reporting.live import shown  # noqa: PLC0415
    from batchrouter.reporting.progress import Progress  # noqa: PLC0415

    load_engine_beside()

    async def follow() -> T:
        progress = Progress(currency=currency)
        async with shown(progress, stream=sys.stderr, quiet=common.quiet, log_format=common.log_format):
            return await work(observer=progress)

    return run_quickly(follow())


def _told(report: RunReport, common: Common, db: Path, output: str | Path | None) -> int:
    """Print a run's summary, and on stderr (there alone) why it stopped."""
    show = partial(_show, [report], common, db, report.as_dict())
    return after_a_run(report.exit_code, show, _reasons(report, output))


def _all_told(reports: list[RunReport], common: Common, db: Path) -> int:
    """The same for several runs, as one object with ``--json``; the code that asks for most attention."""
    value = {"runs": [report.as_dict() for report in reports]}
    code = max((report.exit_code for report in reports), default=ExitCode.OK)
    reasons = [reason for report in reports for reason in _reasons(report, None)]
    nothing = ["no run stopped: nothing to go on with"]
    return after_a_run(code, lambda: _show(reports, common, db, value), reasons if reports else nothing)


def _show(reports: list[RunReport], common: Common, db: Path, value: dict[str, Any]) -> None:
    from batchrouter.reporting import terminal  # noqa: PLC0415

    if common.as_json:
        print_json(value)
        return
    for report in reports:
        terminal.print_summary(replace(report.summary, stop_reason=None), sys.stdout, db)


def _reasons(report: RunReport, output: str | Path | None) -> Iterator[str]:
    """Why a run stopped, and what its export lacks or why it failed."""
    if report.stop_reason:
        yield from in_words("stopped", report.stop_reason, report.hint)
    if failure := report.export_failure:
        yield from in_words("error", failure.message, failure.hint)
    elif output and (pending := report.summary.run.pending):
        from batchrouter.reporting.terminal import printable  # noqa: PLC0415

        yield f"{printable(str(output))} holds {counted(pending, 'pending record')}: lines without an answer yet"


COMMANDS = (run, resume, retry, estimate)
