"""The command that measures what routing costs in quality."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchrouter.cli.event_loop import run_quickly
from batchrouter.cli.exits import after_a_run, in_words
from batchrouter.cli.options import Common, common_options
from batchrouter.cli.parameters import Amount, Share
from batchrouter.cli.printing import print_json
from batchrouter.core.options import EvaluationOptions

SAMPLE_MOST = 10**9
SEED_MOST = 2**63 - 1


@click.command(short_help="Compare a sample of answers with a dearer tier.")
@click.argument("run", default="latest")
@click.option(
    "--sample", type=click.IntRange(1, SAMPLE_MOST), default=100, show_default=True, help="How many records to draw."
)
@click.option(
    "--against", type=click.Choice(["next", "top"]), default="next", show_default=True, help="The dearer tier."
)
@click.option("--judge", metavar="MODEL|exact", help="Who judges what is not equal [the top tier's first model].")
@click.option(
    "--gold",
    type=click.Path(path_type=Path, readable=False),
    help="What people say: JSON lines with id, and verdict or answer.",
)
@click.option("--pairs", type=click.Path(path_type=Path), help="Write the answers side by side (.md or .jsonl).")
@click.option(
    "--seed",
    type=click.IntRange(-SEED_MOST, SEED_MOST),
    default=0,
    show_default=True,
    help="Another seed draws another sample.",
)
@click.option("--stratify", type=click.Choice(["tier", "task", "tier,task"]), help="Draw of each in proportion.")
@click.option("--threshold", type=Share(), default="95%", show_default=True, help="The share that should be as good.")
@click.option("--budget", type=Amount(), help="Most that the run may cost, its evaluations included.")
@common_options
def evaluate(run: str, judge: str | None, budget: Any, stratify: str | None, common: Common, **options: Any) -> int:
    """Draw done records of RUN, ask the next tier up (or the top) the same, and judge whether ours is worse.

    Equal answers and checks decide first; of the rest a model is asked in both orders. The same command goes on with an
    evaluation that stopped.

    \b
    batchrouter evaluate --db night.db
    batchrouter evaluate --sample 100 --against top --db night.db
    batchrouter evaluate 3 --judge exact --stratify task --pairs pairs.md --db night.db
    """
    from batchrouter import api  # noqa: PLC0415
    from batchrouter.reporting import evaluation as printing  # noqa: PLC0415
    from batchrouter.reporting.progress import Progress  # noqa: PLC0415

    chosen = EvaluationOptions(judge=judge, stratify=tuple(stratify.split(",")) if stratify else (), **options)  # type: ignore[arg-type]
    settings, db = api.load_settings(common.config, budget=budget), common.existing_database()
    work = partial(api.evaluate, run, db=db, settings=settings, options=chosen)
    report, end = run_quickly(work(observer=Progress(currency=settings.currency)))

    def show() -> None:
        if common.as_json:
            print_json(report.as_dict())
        else:
            printing.print_evaluation(report, sys.stdout)

    return after_a_run(end.exit_code, show, in_words("stopped", end.reason, end.hint) if end.reason else ())


COMMANDS = (evaluate,)
