"""The verb that measures what routing costs in quality."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from batchrouter.api.settings import load_settings
from batchrouter.assembly.desk import open_desk
from batchrouter.assembly.evaluating import Evaluator
from batchrouter.assembly.gold import gold_verdicts, read_gold
from batchrouter.core.counting import counted
from batchrouter.core.evaluation import EvaluationReport
from batchrouter.core.money import NANO
from batchrouter.core.options import EvaluationOptions, RunOptions
from batchrouter.core.settings import Settings
from batchrouter.ports import Observer, RunEnd
from batchrouter.quality.measuring import Sampled, agreement, in_words, measured
from batchrouter.reporting import figures, pairs
from batchrouter.reporting.export import check_destination, spare_sources
from batchrouter.store import evaluations
from batchrouter.store.reading import open_reader


async def evaluate(
    run: str | int = "latest",
    *,
    db: str | Path,
    settings: Settings | None = None,
    options: EvaluationOptions = EvaluationOptions(),
    observer: Observer | None = None,
) -> tuple[EvaluationReport, RunEnd]:
    """Compare a sample of a run's answers with those of a dearer tier: (what it shows, how the work ended).

    The same call goes on with an evaluation that stopped, and makes no call for one that is finished.
    """
    pairs_file, gold_file = (Path(file) if file else None for file in (options.pairs, options.gold))
    with open_reader(Path(db)) as reader:
        number = figures.find_run(reader, run)
        if pairs_file:
            spare_sources(reader, number, pairs_file, gold_file, option="--pairs")
            check_destination(pairs_file, "--pairs")
    entries = read_gold(gold_file) if gold_file else []
    async with open_desk(Path(db), settings or load_settings(), RunOptions(), observer) as desk:
        evaluation, end = await Evaluator(desk, options).work(number)
        if gold_file:
            with open_reader(Path(db)) as reader:
                gold, neither = gold_verdicts(entries, evaluations.sampled(reader, evaluation))
            await evaluations.set_gold(desk.connection, evaluation, gold)
            if neither:
                desk.observer.notice(
                    f"{counted(neither, 'gold answer')} without effect here: neither of both answers says the same"
                )
    with open_reader(Path(db)) as reader:
        if pairs_file:
            pairs.write_pairs(evaluations.sampled(reader, evaluation), pairs_file)
        return _report(reader, evaluation, options.threshold), end


def _report(reader: sqlite3.Connection, evaluation: int, threshold: float) -> EvaluationReport:
    row = evaluations.row_of(reader, evaluation)
    rows = evaluations.sampled(reader, evaluation)
    sample = [Sampled(one["tier"], one["how"], one["verdict"], one["gold"]) for one in rows]
    total = measured("all", sample)
    pending = sum(one.verdict is None for one in sample)
    run = figures.run_summary(reader, row["run"])
    cost = evaluations.cost_nano(reader, evaluation)
    return EvaluationReport(
        evaluation=evaluation,
        run=row["run"],
        seed=row["seed"],
        sample=row["sample"],
        drawn=len(rows),
        pending=pending,
        population=row["population"],
        at_top=row["at_top"],
        without_text=row["without_text"],
        against=row["against"],
        judge=row["judge"],
        stratify=row["stratify"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        tiers=tuple(
            measured(tier, [one for one in sample if one.tier == tier])
            for tier in dict.fromkeys(one.tier for one in sample)
        ),
        total=total,
        gold=agreement(sample),
        cost=None if cost is None else cost / NANO,
        share_pct=_share_pct(cost, run),
        currency=run.currency,
        threshold=threshold,
        meets_threshold=None if pending or total.rate is None else total.rate >= threshold,
        verdict=in_words(total, pending),
    )


def _share_pct(cost_nano: int | None, run: figures.RunSummary) -> float | None:
    """What an evaluation cost in percent of the run's answers and decisions; other evaluations change nothing of it."""
    if cost_nano is None or run.answer_cost is None or run.classify_cost is None:
        return None
    own = run.answer_cost + run.classify_cost
    return round(100 * cost_nano / NANO / own, 2) if own else None
