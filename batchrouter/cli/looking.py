"""Commands that only read: status, report, export, verify, route."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from batchrouter.cli.event_loop import run_to_end
from batchrouter.cli.options import Common, common_options, input_options, router_option
from batchrouter.cli.parameters import Some
from batchrouter.cli.printing import print_json
from batchrouter.core.counting import counted
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import InputOptions

WATCH_EVERY_S = 2.0


@click.command(short_help="Runs, progress, cost, oldest calls in flight.")
@click.option("--watch", is_flag=True, help="Again every two seconds, until no run is running.")
@common_options
def status(watch: bool, common: Common) -> int:  # noqa: FBT001
    """Show every run of the database, while it runs as well as after.

    \b
    batchrouter status --db night.db
    batchrouter status --db night.db --watch
    """
    with suppress(KeyboardInterrupt) if watch else nullcontext():
        while _show_status(common, redraw=watch) and watch:
            time.sleep(WATCH_EVERY_S)
    return ExitCode.OK


def _show_status(common: Common, *, redraw: bool) -> bool:
    """Print all runs once; whether one of them is running."""
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.reporting import terminal  # noqa: PLC0415

    statuses = api.status(common.existing_database())
    if common.as_json:
        print_json({"runs": [one.as_dict() for one in statuses]})
    else:
        if redraw:
            click.clear()  # does nothing where stdout is no terminal
        terminal.print_status(statuses, sys.stdout)
    return any(one.summary.state == "running" for one in statuses)


@click.command(short_help="What was answered, and what it cost.")
@click.argument("run", default="latest")
@common_options
def report(run: str, common: Common) -> int:
    """Summarise RUN (a number, a name, or `latest`).

    \b
    batchrouter report --db night.db
    batchrouter report 3 --json
    """
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.reporting import terminal  # noqa: PLC0415

    db = common.existing_database()
    summary = api.report(run, db=db)
    if common.as_json:
        print_json(summary.as_dict())
    else:
        terminal.print_summary(summary, sys.stdout, db)
    return ExitCode.OK


@click.command(short_help="Write the answers to a file.")
@click.argument("run", default="latest")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file [stdout].")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "openai", "csv"]),
    help="[csv where the file's name ends in .csv, else jsonl]",
)
@click.option(
    "--status",
    "statuses",
    type=Some("done", "failed", "rejected", "pending"),
    default=(),
    help="done, failed, rejected, pending: some of them, with commas [all].",
)
@common_options
def export(run: str, output: Path | None, form: str | None, statuses: tuple[str, ...], common: Common) -> int:
    """Export the lines of RUN in input order; a file appears whole or not at all.

    \b
    batchrouter export --db night.db -o answers.jsonl --status done
    batchrouter export 3 -o answers.csv
    """
    from batchrouter import api  # noqa: PLC0415

    rows = api.export(run, db=common.existing_database(), destination=output, format=form, statuses=statuses)
    if common.as_json and output:
        print_json({"rows": rows, "output": str(output)})
    elif not common.quiet:
        click.echo(f"{counted(rows, 'row')} written{f' to {output}' if output else ''}", err=True)
    return ExitCode.OK


@click.command(short_help="Re-derive every invariant of the database.")
@common_options
def verify(common: Common) -> int:
    """Check rows, states, counters and sums against one another; nothing is changed.

    \b
    batchrouter verify --db night.db
    batchrouter verify -q --db night.db
    """
    from batchrouter import api  # noqa: PLC0415

    return print_findings(api.verify(common.existing_database()), common, ExitCode.UNFIT)


def print_findings(findings: list[Any], common: Common, code_of_errors: ExitCode) -> int:
    """Print findings (quiet: those that are not ok); the exit code is ``code_of_errors`` if one of them is an error."""
    from batchrouter.reporting import terminal  # noqa: PLC0415

    if common.as_json:
        print_json({"findings": [{"level": one.level, "what": one.what, "advice": one.advice} for one in findings]})
    else:
        told = [one for one in findings if one.level != "ok"] if common.quiet else findings
        terminal.print_findings(told, sys.stdout)
    return code_of_errors if any(one.level == "error" for one in findings) else ExitCode.OK


@click.command(short_help="Which tier, and why.")
@click.argument("text", required=False)
@click.option("-i", "--input", "source", metavar="INPUT", help="Every record of a file instead.")
@input_options
@router_option
@common_options
def route(
    text: str | None, source: str | None, router: list[str] | None, input_options: InputOptions, common: Common
) -> int:
    """Say which tier TEXT, or each record of a file, would go to; no call is made, so what a model decides stays open.

    \b
    batchrouter route 'Compare these two contracts in detail'
    batchrouter route -i tickets.jsonl --json
    """
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.reporting.terminal import decision_line  # noqa: PLC0415

    if (text is None) == (source is None):
        raise click.UsageError("give either a TEXT or -i INPUT")
    settings = api.load_settings(common.config, router=router)
    if text is not None:
        decision = api.route(text, settings=settings)
        if common.as_json:
            print_json({"tier": decision.tier, "reason": decision.reason, "router": decision.router})
        else:
            click.echo(decision_line(decision))
        return ExitCode.OK
    run_to_end(_route_lines(source or "", settings, input_options, common))
    return ExitCode.OK


async def _route_lines(source: str, settings: Any, input_options: InputOptions, common: Common) -> None:
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.core.records import Record  # noqa: PLC0415
    from batchrouter.reporting.terminal import decision_line, printable  # noqa: PLC0415

    async for line, decision in api.route_lines(source, settings=settings, input_options=input_options):
        tier = decision.tier if decision else None
        reason = decision.reason if decision else "" if isinstance(line, Record) else f"rejected: {line.reason}"
        if common.as_json:
            router = decision.router if decision else None
            print_json({"line": line.line, "id": line.id, "tier": tier, "reason": reason, "router": router})
        else:
            click.echo(f"{line.line:>6}  {printable(line.id or ''):<20}  {decision_line(decision, reason)}")


COMMANDS = (status, report, export, verify, route)
