"""What an evaluation shows, for people: who was compared with whom, a line for each tier, and the verdict in words."""

from __future__ import annotations

from typing import IO

from batchrouter.core.counting import counted
from batchrouter.core.evaluation import EvaluationReport, Measured
from batchrouter.reporting.console import StreamConsole
from batchrouter.reporting.terminal import money, new_table, printable


def print_evaluation(report: EvaluationReport, file: IO[str]) -> None:
    """All figures of an evaluation."""
    console = StreamConsole(file)
    console.print(f"evaluation {report.evaluation} of run {report.run}", style="bold", end="")
    against = "the next tier up" if report.against == "next" else "the top tier"
    console.print(f"  {report.drawn:,} of {report.population:,} records against {against}, seed {report.seed}")
    judge = "none: what is not equal is worse" if report.judge == "exact" else f"{report.judge}, in both orders"
    lines = [("judge", judge), ("cost", _cost(report))]
    if report.at_top:
        lines.append(("left out", f"{counted(report.at_top, 'record')} that the top tier answered"))
    if report.without_text:
        lines.append(("left out", f"{counted(report.without_text, 'record')} whose texts are purged"))
    if report.pending:
        lines.append(("pending", f"{report.pending:,} of the sample are not judged yet: the same command goes on"))
    if gold := report.gold:
        missed = f", missed {gold.missed} of {gold.worse} that a person calls worse" if gold.worse else ""
        lines.append(
            (
                "gold",
                f"{counted(gold.records, 'record')}; of {gold.judged:,} the judge agreed on {gold.agreed:,}{missed}",
            )
        )
    if report.total.unjudged:
        lines.append(("unjudged", f"{report.total.unjudged:,}: no verdict could be had; each counts as not as good"))
    for label, value in lines:
        console.print(f"  {label:<20}{printable(value)}")
    console.print()
    console.print(_table(report))
    console.print("  interval: Wilson, two-sided 95 %; mismatch at most: Clopper-Pearson, exact, one-sided 95 %")
    console.print()
    total = report.total
    console.print(f"  correct {total.correct} / downgraded {total.downgraded} / total {total.n}")
    console.print(f"  {report.verdict}")
    if report.meets_threshold is not None:
        word = "at or above" if report.meets_threshold else "below"
        console.print(f"  {_percent(total.rate)} are as good: {word} the threshold of {_percent(report.threshold)}")


def _cost(report: EvaluationReport) -> str:
    share = "" if report.share_pct is None else f", {report.share_pct:,.1f} % of what the run cost without evaluations"
    return money(report.cost, report.currency) + share


def _table(report: EvaluationReport) -> object:
    table = new_table(
        "tier", "n", "match", "better", "worse", "unjudged", "as good", "95 % interval", "mismatch at most"
    )
    for one in (*report.tiers, report.total):
        counts = (one.n, one.match, one.better, one.worse, one.unjudged)
        table.add_row(printable(one.tier), *(f"{count:,}" for count in counts), *_shares(one))
    return table


def _shares(one: Measured) -> tuple[str, str, str]:
    interval = f"{_percent(one.wilson[0])} to {_percent(one.wilson[1])}" if one.wilson else "-"
    return _percent(one.rate), interval, _percent(one.mismatch_most)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
