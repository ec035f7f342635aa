"""Commands that delete: stored texts, for good; remembered decisions."""

from __future__ import annotations

import dataclasses
import sys

import click

from batchrouter.cli.event_loop import run_to_end
from batchrouter.cli.options import Common, common_options
from batchrouter.cli.parameters import Duration
from batchrouter.cli.printing import print_json
from batchrouter.core.counting import counted
from batchrouter.core.errors import ExitCode


@click.command(short_help="Delete stored requests and answers; figures stay.")
@click.argument("run", required=False)
@click.option(
    "--requests",
    is_flag=True,
    help="What was sent: request, metadata and checks of records that ended; why lines were rejected.",
)
@click.option("--answers", is_flag=True, help="What came back: answers, responses, and the texts of errors.")
@click.option("--older-than", type=Duration(), help="Only of runs that ended so long ago: 12h, 30d, 2w.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def purge(
    run: str | None,
    requests: bool,  # noqa: FBT001
    answers: bool,  # noqa: FBT001
    older_than: float | None,
    yes: bool,  # noqa: FBT001
    common: Common,
) -> int:
    """Delete texts of RUN for good, or of every run that ended so long ago; states, tokens and costs stay.

    Records that are still to be done keep their request. Records without a request cannot be done again by `retry`.

    \b
    batchrouter purge latest --requests --db night.db
    batchrouter purge --requests --answers --older-than 30d --yes --db night.db
    """
    from batchrouter import api  # noqa: PLC0415

    if not (requests or answers):
        raise click.UsageError("say what to delete: --requests, --answers or both")
    if run is None and older_than is None:
        raise click.UsageError("say whose: a RUN (a number, a name, or latest), --older-than 30d, or both")
    db = common.existing_database()
    if not yes:
        texts = " and ".join(name for name, given in (("requests", requests), ("answers", answers)) if given)
        if not _confirmed(f"Delete the {texts} of {_whose(run, older_than)} in {db} for good?"):
            click.echo("nothing deleted", err=True)
            return ExitCode.OK
    purged = run_to_end(api.purge(run, db=db, requests=requests, answers=answers, older_than_s=older_than))
    if common.as_json:
        print_json({"purged": purged})
    else:
        freed = f"{purged.bytes_freed / 1e6:,.2f} MB freed"
        count = f"{counted(purged.requests, 'request')} and {counted(purged.answers, 'answer')} deleted"
        click.echo(
            f"{count} from {counted(len(purged.runs), 'run')}; {freed}"
            if purged.runs
            else "no run fits: nothing deleted"
        )
    return ExitCode.OK


def _whose(run: str | None, older_than: float | None) -> str:
    which = "every run" if run is None else "the latest run" if run == "latest" else f"run {run}"
    return which if older_than is None else f"{which} that ended more than {older_than / 86400:g} days ago"


def _confirmed(question: str) -> bool:
    if not _can_be_asked():
        raise click.UsageError("deleting cannot be undone: give --yes where nobody can be asked")
    return click.confirm(question, err=True)


def _can_be_asked() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


@click.command(short_help="Decisions of a model that are remembered; --clear forgets them.")
@click.option("--clear", is_flag=True, help="Forget them all: the model is asked anew.")
@common_options
def cache(clear: bool, common: Common) -> int:  # noqa: FBT001
    """Show which types of request the LLM router need not ask about again, and what was decided.

    \b
    batchrouter cache --db night.db
    batchrouter cache --clear --db night.db
    """
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.reporting import terminal  # noqa: PLC0415

    db = common.existing_database()
    if clear:
        forgotten = run_to_end(api.clear_cache(db))
        if common.as_json:
            print_json({"cleared": forgotten})
        else:
            click.echo(f"{counted(forgotten, 'decision')} forgotten")
        return ExitCode.OK
    remembered = api.cached_decisions(db)
    if common.as_json:
        print_json({"decisions": [dataclasses.asdict(one) for one in remembered]})
    else:
        terminal.print_remembered(remembered, sys.stdout)
    return ExitCode.OK


COMMANDS = (purge, cache)
