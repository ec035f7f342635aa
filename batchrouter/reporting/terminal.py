"""Summaries for people: a few aligned lines and a table, coloured on a terminal, plain text everywhere else."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from batchrouter.core.counting import counted
from batchrouter.core.findings import Finding
from batchrouter.core.money import NANO, format_amount
from batchrouter.core.records import Decision

if TYPE_CHECKING:
    from rich.table import Table

    from batchrouter.reporting.console import StreamConsole
    from batchrouter.reporting.decisions import RememberedDecision
    from batchrouter.reporting.estimate import Estimate, EstimateRow  # it needs the configuration
    from batchrouter.reporting.figures import RunStatus, RunSummary, Summary, TierSummary
    from batchrouter.reporting.open_calls import OpenCalls

ERROR_LENGTH_MOST = 160
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_TYPES = {"template": "a template", "text": "requests that begin like that one"}
_LEVELS = {"ok": ("ok", "green"), "warning": ("look", "yellow"), "error": ("wrong", "red")}


def printable(text: str) -> str:
    """Text from outside with every control character shown as ``·``, so that it cannot drive a terminal."""
    return _CONTROL.sub("·", text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def money(amount: float | None, currency: str) -> str:
    """An amount of a view; None is unknown, never 0."""
    return format_amount(None if amount is None else round(amount * NANO), currency)


def _console(file: IO[str]) -> StreamConsole:
    from batchrouter.reporting.console import StreamConsole  # noqa: PLC0415 - only what draws pays for rich

    return StreamConsole(file)


def new_table(*columns: str, left: int = 1) -> Table:
    """An empty table without lines; the first ``left`` columns are aligned to the left."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < left else "right", no_wrap=True)
    return table


def print_summary(summary: Summary, file: IO[str], db: Path) -> None:
    """One run: what became of its records, what it cost and saved, where to look next."""
    console, run = _console(file), summary.run
    title = f"run {run.run}" + (f" ({run.name})" if run.name else "")
    console.print(printable(title), style="bold", end="")
    console.print(f"  {printable(run.input)}  ", end="")
    state = _state(run) + (", demo" if summary.demo else "")
    console.print(state, style={"finished": "green", "running": "cyan"}.get(run.state, "yellow"))
    if summary.stop_reason:
        console.print(f"  stopped: {printable(_short(summary.stop_reason))}")
    if summary.cut:
        console.print("  cut: only what was taken in of its input before it was no longer to be had")
    if summary.unread:
        console.print("  its input is not read to its end yet: more records may follow")
    console.print(_counts(run))
    for label, value in (*_amounts(summary), *_perhaps_paid(summary), *_apart(summary)):
        console.print(f"  {label:<20}{value}")
    if summary.tiers:
        console.print()
        console.print(_tier_table(summary.tiers, run.currency))
    _print_errors(summary, console)
    if summary.found_limits:
        console.print()
        console.print("  limits that nobody configured, as the calls found them, for the configuration:")
        for line in _found_limits(summary):
            console.print(f"    {printable(line)}")
    console.print()
    for line in _next_steps(run, db):
        console.print(f"  {printable(line)}")


def _print_errors(summary: Summary, console: StreamConsole) -> None:
    """The most frequent errors, and how many records have another."""
    if not summary.errors:
        return
    console.print()
    for error in summary.errors:
        console.print(
            f"  {error.records:,} × {printable(error.error_class)}: {printable(_short(error.error))}"
            f" (first: line {error.line})"
        )
    if others := summary.run.failed + summary.run.rejected - sum(error.records for error in summary.errors):
        console.print(f"  {counted(others, 'record')} with other errors: `select line, error from answers`")


def _short(text: str) -> str:
    return text if len(text) <= ERROR_LENGTH_MOST else text[: ERROR_LENGTH_MOST - 1] + "…"


def _state(run: RunSummary) -> str:
    return run.state if run.exit_code is None else f"{run.state}, exit code {run.exit_code}"


def _counts(run: RunSummary) -> str:
    parts = [f"{run.done:,} done", f"{run.failed:,} failed", f"{run.rejected:,} rejected"]
    if run.pending:
        parts.append(f"{run.pending:,} pending")
    return f"  {counted(run.records, 'record')}: " + ", ".join(parts)


def _amounts(summary: Summary) -> Iterator[tuple[str, str]]:
    run, estimated = summary.run, summary.worst_case
    share = f" ({run.saved_pct:.1f} %)" if run.saved_pct is not None else ""
    yield "cost", money(run.cost, run.currency) + ("  (demo: nothing was billed)" if summary.demo else "")
    if estimated:
        most = money(estimated.cost, run.currency)
        yield "", f"of it {most} at the worst case: {counted(estimated.calls, 'call')} without usage"
    yield "baseline", f"{money(run.baseline, run.currency)}  (the same tokens at the baseline's price)"
    yield "saved", money(run.saved, run.currency) + share
    yield "wasted", f"{money(run.wasted, run.currency)}  (attempts that are behind no result)"


def _perhaps_paid(summary: Summary) -> Iterator[tuple[str, str]]:
    run, calls = summary.run, summary.open_calls
    left_open = None if calls is None or calls.in_flight else calls
    label = "possibly paid twice"
    if run.unknown_calls:
        most = money(run.unknown_cost, run.currency)
        yield label, f"{counted(run.unknown_calls, 'call')}, at most {most} (not inside cost)"
        label = ""
    if left_open:
        yield label, f"{_left_open(left_open, run.currency)} (not inside cost)"
    elif not run.unknown_calls:
        yield label, "nothing"
    if calls and calls.in_flight:
        yield (
            "in flight",
            f"{counted(calls.calls, 'call')}, at most {money(calls.cost, run.currency)} (not inside cost)",
        )


def _left_open(calls: OpenCalls, currency: str) -> str:
    were = "was" if calls.calls == 1 else "were"
    most = money(calls.cost, currency)
    return f"{counted(calls.calls, 'call')} {were} open when the process ended, may have been paid: at most {most}"


def _apart(summary: Summary) -> Iterator[tuple[str, str]]:
    if up := summary.escalations:
        currency = summary.run.currency
        before = money(up.saved_before, currency)
        yield (
            "escalated",
            f"{counted(up.records, 'record')}, {money(up.cost, currency)} spent on tiers below the one that answered",
        )
        yield "", f"{before} saved without that, {money(summary.run.saved, currency)} with it"
        passages = (f"{one.tier} {one.passed:,} passed, {one.escalated:,} went up" for one in up.tiers)
        yield "", printable("; ".join(passages))
    if summary.run.judge_cost or summary.run.judge_cost is None:
        yield "evaluations", f"{money(summary.run.judge_cost, summary.run.currency)}  (inside cost, not inside saved)"
    if reuse := summary.reuse:
        answers = counted(reuse.records, "answer")
        yield "saved by reuse", f"{money(reuse.saved, summary.run.currency)}  ({answers} of identical requests)"
    routing = summary.routing
    if routing is None:
        return
    share = "" if routing.share_pct is None else f", {routing.share_pct:.1f} % of the cost"
    yield (
        "routing",
        f"{money(routing.cost, summary.run.currency)}{share}  ({counted(routing.calls, 'call')} to the model that decides)",
    )
    hits = "" if routing.hit_rate_pct is None else f" ({routing.hit_rate_pct:.1f} %)"
    fallback = f", {routing.fallback:,} fell back" if routing.fallback else ""
    yield "decisions", f"{routing.asked:,} asked for, {routing.cached:,} remembered{hits}{fallback}"


def _tier_table(tiers: Sequence[TierSummary], currency: str) -> Table:
    table = new_table("tier", "model", "records", "attempts", "tokens in", "out", "cost", "mean ms", "p95 ms", left=2)
    for tier in tiers:
        table.add_row(
            printable(tier.tier or "-"),
            printable(tier.model),
            f"{tier.records:,}",
            f"{tier.attempts:,}",
            f"{tier.input_tokens:,}",
            f"{tier.output_tokens:,}",
            money(tier.cost, currency),
            "-" if tier.avg_latency_ms is None else f"{tier.avg_latency_ms:,.0f}",
            "-" if tier.p95_latency_ms is None else f"{tier.p95_latency_ms:,}",
        )
    return table


def _found_limits(summary: Summary) -> Iterator[str]:
    for model, limits in summary.found_limits.items():
        yield f"[model.{json.dumps(model)}]"
        yield from (f"{key} = {value:_}" for key, value in limits.items())
    for models in summary.shared_limits:
        rpm = summary.found_limits.get(models[0], {}).get("rpm")
        share = f", rpm = {rpm // len(models):_} each for instance" if rpm else ""
        yield f"# one limit of the account for {', '.join(models)} together: divide it{share}"


def _next_steps(run: RunSummary, db: Path) -> list[str]:
    file = shlex.quote(str(db))
    steps = []
    if run.pending:
        steps.append(f"go on:   batchrouter resume {run.run} --db {file}")
    if run.failed:
        steps.append(f"again:   batchrouter retry {run.run} --db {file}")
    steps.append(f"report:  batchrouter report {run.run} --db {file}")
    steps.append(f"export:  batchrouter export {run.run} --db {file} -o answers.jsonl")
    steps.append(
        f'query:   sqlite3 {file} "select line, tier, answer, cost from answers where run = {run.run} limit 5"'
    )
    return steps


def print_estimate(estimate: Estimate, file: IO[str]) -> None:
    """Per tier and in total: records, tokens, cost, time, baseline and saving; then what was assumed."""
    console = _console(file)
    table = new_table(
        "tier", "model", "records", "share", "tokens in", "out", "cost", "time", "baseline", "saved", left=2
    )
    for row in (*estimate.tiers, estimate.total):
        table.add_row(*_estimate_cells(row, estimate.currency))
    console.print(table)
    if estimate.rejected:
        console.print(f"\n{counted(estimate.rejected, 'line')} would be rejected: no valid record there.")
    console.print("\nAssumed:")
    for assumption in estimate.assumptions:
        console.print(f"  - {printable(assumption)}")


def _estimate_cells(row: EstimateRow, currency: str) -> list[str]:
    return [
        printable(row.tier or "-"),
        printable(row.model),
        f"{row.records:,}",
        f"{row.share:.1f} %",
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        format_amount(row.cost_nano, currency),
        "-" if row.time_s is None else duration(row.time_s),
        format_amount(row.baseline_nano, currency),
        format_amount(row.saved_nano, currency),
    ]


def duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def print_status(statuses: Sequence[RunStatus], file: IO[str]) -> None:
    """A line for each run, and its oldest calls in flight."""
    console = _console(file)
    if not statuses:
        console.print("no runs yet")
        return
    table = new_table(
        "run", "name", "state", "done", "failed", "rejected", "pending", "cost", "started", "input", left=3
    )
    for status in statuses:
        run = status.summary
        counts = (run.done, run.failed, run.rejected, run.pending)
        cells = [str(run.run), printable(run.name or "-"), run.state, *(f"{n:,}" for n in counts)]
        source = printable(Path(run.input).name) + (" (demo)" if status.demo else "")
        table.add_row(*cells, money(run.cost, run.currency), run.started_at[:19], source)
    console.print(table)
    for status in statuses:
        run = status.summary
        if run.state == "interrupted":
            console.print(
                f"run {run.run} was interrupted, no process works on it: `batchrouter resume {run.run}` goes on"
            )
        if status.stop_reason:
            console.print(f"run {run.run} stopped, exit code {run.exit_code}: {printable(_short(status.stop_reason))}")
        if status.open_calls and not status.open_calls.in_flight:
            console.print(f"run {run.run}: {_left_open(status.open_calls, run.currency)}")
        for call in status.oldest_open:
            where = f"run {run.run}, line {call.line}"
            console.print(f"in flight for {duration(call.age_s)}: {where}, {printable(call.model)}")


def decision_line(decision: Decision | None, reason: str = "") -> str:
    """A tier and why it was chosen; ``reason`` stands where there is no decision."""
    if decision is None:
        return f"-  ({printable(reason)})"
    return f"{printable(decision.tier or '-')}  ({printable(decision.reason)})"


def print_remembered(remembered: Sequence[RememberedDecision], file: IO[str]) -> None:
    """A line for each type of request whose tier a model decided: what makes the type, and where it was decided."""
    console = _console(file)
    if not remembered:
        console.print("no decisions are remembered: `run --router llm` makes them")
        return
    table = new_table("type", "tier", "decided by", "for the record", "at", left=5)
    for one in remembered:
        kind = f"task {one.task}" if one.task is not None else _TYPES[one.kind]
        where = f"run {one.run}, line {one.line}"
        table.add_row(printable(kind), printable(one.tier), printable(one.model), where, one.decided_at[:19])
    console.print(table)


def print_findings(findings: Sequence[Finding], file: IO[str]) -> None:
    """Each finding, what has several lines as a list, with its advice below."""
    console = _console(file)
    for finding in findings:
        word, colour = _LEVELS[finding.level]
        console.print(f"{word:<6}", style=colour, end="")
        console.print(printable_lines(finding.what).replace("\n", "\n      "))
        if finding.advice:
            console.print(f"      → {printable(finding.advice)}")
