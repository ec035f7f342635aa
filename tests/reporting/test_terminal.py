"""What people read: every figure is there, and nothing that came from outside can drive their terminal."""

import io
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from batchrouter.core.findings import Finding
from batchrouter.core.records import Decision
from batchrouter.reporting import figures, terminal
from batchrouter.reporting.figures import FrequentError, Summary
from batchrouter.reporting.open_calls import OpenCalls
from batchrouter.reporting.worst_case import WorstCase

from .conftest import Book


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(summary: Summary, db: Path = Path("night.db"), file: io.StringIO | None = None) -> str:
    file = file or io.StringIO()
    terminal.print_summary(summary, file, db)
    return file.getvalue()


@pytest.fixture
def summary(reader: sqlite3.Connection, mixed: int) -> Summary:
    return figures.summary(reader, mixed)


def test_a_summary_says_what_became_of_the_run(summary: Summary) -> None:
    text = shown(summary)
    assert "run 1 (night)" in text
    assert "6 records: 3 done, 1 failed, 1 rejected, 1 pending" in text
    for label, value in (
        ("cost", "₹0.0965"),
        ("baseline", "₹0.2500"),
        ("saved", "₹0.1535 (61.4 %)"),
        ("wasted", "₹0.0010"),
    ):
        assert any(line.split()[:1] == [label] and value in line for line in text.splitlines()), label
    assert "1 call, at most ₹0.0070 (not inside cost)" in text
    assert "1 × server: HTTP 500 (first: line 4)" in text


def test_a_summary_says_where_to_look_next(summary: Summary) -> None:
    text = shown(summary, Path("my data/night.db"))
    for command in ("resume 1", "retry 1", "report 1", "export 1"):
        assert f"batchrouter {command} --db 'my data/night.db'" in text
    assert "sqlite3 'my data/night.db' \"select" in text


def test_nothing_lost_and_nothing_left_is_said_too(summary: Summary) -> None:
    run = replace(summary.run, unknown_calls=0, pending=0, failed=0, exit_code=0)
    text = shown(replace(summary, run=run, open_calls=None))
    assert "possibly paid twice nothing" in text
    assert "resume" not in text
    assert "retry" not in text


def test_calls_that_a_dead_process_left_open_may_have_been_paid_and_those_of_a_living_one_are_in_flight(
    summary: Summary,
) -> None:
    assert "1 call was open when the process ended, may have been paid: at most unknown" in shown(summary)
    summary = replace(summary, run=replace(summary.run, unknown_calls=0), open_calls=OpenCalls(7, 0.1361))
    lines = shown(summary).splitlines()
    ended = "7 calls were open when the process ended, may have been paid: at most ₹0.1361 (not inside cost)"
    assert f"  possibly paid twice {ended}" in lines
    lines = shown(replace(summary, open_calls=OpenCalls(7, 0.1361, in_flight=True))).splitlines()
    assert "  possibly paid twice nothing" in lines
    assert "  in flight           7 calls, at most ₹0.1361 (not inside cost)" in lines


def test_a_cost_is_called_an_estimate_only_where_it_is_one(summary: Summary) -> None:
    assert "worst case" not in shown(summary)
    lines = shown(replace(summary, worst_case=WorstCase(1, 0.0065))).splitlines()
    assert lines[lines.index("  cost                ₹0.0965") + 1].strip() == (
        "of it ₹0.0065 at the worst case: 1 call without usage"
    )


def test_a_report_and_the_status_say_why_a_run_stopped(book: Book, reader: sqlite3.Connection) -> None:
    run = book.run("night", state="stopped", exit_code=77, stop_reason="the key was refused\x1b[2J")
    lines = shown(figures.summary(reader, run)).splitlines()
    assert lines[0].endswith("stopped, exit code 77")
    assert lines[1] == "  stopped: the key was refused·[2J"
    file = io.StringIO()
    terminal.print_status(figures.all_statuses(reader), file)
    assert file.getvalue().splitlines()[2:] == ["run 1 stopped, exit code 77: the key was refused·[2J"]
    book.run("done", exit_code=0)
    assert "stopped" not in shown(figures.summary(reader, 2))


def test_what_a_summary_leaves_out_is_named(summary: Summary) -> None:
    assert "with other errors" not in shown(summary)
    assert "not read to its end" not in shown(replace(summary, unread=False))
    text = shown(replace(summary, unread=True, errors=summary.errors[:1]))
    assert "its input is not read to its end yet" in text
    assert "1 record with other errors" in text


def test_a_demo_is_called_one(book: Book, reader: sqlite3.Connection, summary: Summary) -> None:
    assert "demo" not in shown(summary)
    run = book.run(demo=1, exit_code=0)
    lines = shown(figures.summary(reader, run)).splitlines()
    assert lines[0].endswith("finished, exit code 0, demo")
    assert "  cost                ₹0.00  (demo: nothing was billed)" in lines
    file = io.StringIO()
    terminal.print_status(figures.all_statuses(reader), file)
    rows = file.getvalue().splitlines()[1:3]
    assert [row.rstrip().endswith("in.jsonl (demo)") for row in rows] == [False, True]


def test_unknown_amounts_are_called_unknown(summary: Summary) -> None:
    run = replace(summary.run, cost=None, saved=None, saved_pct=None)
    lines = shown(replace(summary, run=run)).splitlines()
    assert "  cost                unknown" in lines
    assert "  saved               unknown" in lines


def test_plain_text_where_there_is_no_terminal(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    tiers = tuple(replace(tier, model="m" * 200) for tier in summary.tiers)
    text = shown(replace(summary, tiers=tiers))
    assert "\x1b" not in text
    assert "m" * 200 in text, "a file has room for everything"
    assert not set(text) & set("│┃─━┏╭…")


def test_colours_on_a_terminal(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in shown(summary, file=Terminal())


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b]0;owned\x07",
        "\x1b[2J",
        "\x9b31m",
        "a\rb",
        "a\nb",
        "\u202egnp",
        "[bold]x",
        r"\[/nope]",
        "\\",
        ":bomb:",
        "[/]",
    ],
)
def test_texts_from_outside_are_shown_and_not_obeyed(summary: Summary, hostile: str) -> None:
    error = FrequentError(hostile, hostile, 1, 1)
    tiers = (replace(summary.tiers[0], tier=hostile, model=hostile),)
    run = replace(summary.run, input=hostile, name=hostile)
    text = shown(Summary(run, tiers, (error,)))
    assert not set(text) & set("\x1b\x9b\r\x07\u202e")
    assert f"1 × {terminal.printable(hostile)}: {terminal.printable(hostile)} (first" in text


def test_a_long_error_is_cut(summary: Summary) -> None:
    text = shown(replace(summary, errors=(FrequentError("http", "x" * 5_000, 1, 1),)))
    assert len(max(text.splitlines(), key=len)) < 250


def test_printable_lines_keep_lines() -> None:
    assert terminal.printable_lines("a\x1b[0m\nb") == "a·[0m\nb"


def test_status_is_a_line_a_run(book: Book, reader: sqlite3.Connection, mixed: int) -> None:
    book.run(source="/data/evil\x1b[2J.jsonl")
    file = io.StringIO()
    statuses = figures.all_statuses(reader)
    statuses[0] = replace(statuses[0], open_calls=OpenCalls(1, None, in_flight=True))
    terminal.print_status(statuses, file)
    lines = file.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[1].split()[:7] == ["1", "night", "stopped", "3", "1", "1", "1"]
    assert "evil·[2J.jsonl" in lines[2]
    assert lines[3].startswith("in flight for ")
    assert lines[3].endswith(" min: run 1, line 6, middle")


def test_status_of_an_empty_database() -> None:
    file = io.StringIO()
    terminal.print_status([], file)
    assert file.getvalue() == "no runs yet\n"


def test_findings_carry_their_advice() -> None:
    file = io.StringIO()
    terminal.print_findings([Finding("ok", "a"), Finding("error", "b [x]", "do c")], file)
    assert file.getvalue().splitlines() == ["ok    a", "wrong b [x]", "      → do c"]


def test_a_decision_is_its_tier_and_reason() -> None:
    assert terminal.decision_line(Decision("simple", "the word 'label'", "rules")) == "simple  (the word 'label')"
    assert terminal.decision_line(Decision(None, "--no-routing", "none")) == "-  (--no-routing)"
    assert terminal.decision_line(None, "rejected: \x1b") == "-  (rejected: ·)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


def test_found_limits_are_shown_as_configuration_and_shared_ones_with_how_to_divide_them(summary: Summary) -> None:
    found = {"small": {"rpm": 1_200, "concurrency": 8}, "middle": {"rpm": 1_200}, "large": {"tpm": 90_000}}
    text = shown(replace(summary, found_limits=found, shared_limits=[["middle", "small"]]))
    assert '    [model."small"]\n    rpm = 1_200\n    concurrency = 8\n    [model."middle"]\n    rpm = 1_200\n' in text
    assert "# one limit of the account for middle, small together: divide it, rpm = 600 each for instance" in text
    assert "# one limit" not in shown(replace(summary, found_limits=found))
