"""Figures agree with sums made apart from the views."""

import dataclasses
import sqlite3

import pytest

from batchrouter.core.errors import InputMissing
from batchrouter.reporting import figures
from batchrouter.reporting.open_calls import OpenCalls
from batchrouter.reporting.worst_case import WorstCase

from .conftest import Book

KNOWN = ("ok", "error", "not_sent")


def test_the_fields_are_the_columns_of_the_views(reader: sqlite3.Connection) -> None:
    for view, kind in (("run_summary", figures.RunSummary), ("tier_summary", figures.TierSummary)):
        columns = [column[0] for column in reader.execute(f"SELECT * FROM {view}").description]
        assert [field.name for field in dataclasses.fields(kind)] == columns


def test_the_amounts_of_a_run(book: Book, reader: sqlite3.Connection, mixed: int) -> None:
    run = figures.run_summary(reader, mixed)
    assert (run.records, run.done, run.failed, run.rejected, run.pending) == (6, 3, 1, 1, 1)
    assert run.cost == pytest.approx(book.sum(state=KNOWN))
    assert run.answer_cost == pytest.approx(book.sum(state=KNOWN, purpose="answer"))
    assert run.classify_cost == pytest.approx(0.0005)
    assert (run.unknown_calls, run.unknown_cost) == (1, pytest.approx(book.sum(state="unknown")))
    assert run.wasted == pytest.approx(0.001), "the empty answer of line 1 is behind no result"
    assert run.baseline == pytest.approx(0.25)
    assert run.saved == pytest.approx(0.25 - 0.096 - 0.0005)
    assert run.saved_pct == pytest.approx(61.4)


def test_an_unknown_cost_is_unknown_and_not_nothing(book: Book, reader: sqlite3.Connection) -> None:
    run = book.run()
    book.record(run, 1)
    book.attempt(run, 1, 1, cost_nano=None)
    book.result(run, 1, attempt=1)
    summary = figures.run_summary(reader, run)
    assert (summary.cost, summary.wasted, summary.baseline, summary.saved) == (None, None, None, None)


def test_tiers_stand_in_their_own_order(reader: sqlite3.Connection, mixed: int) -> None:
    summary = figures.summary(reader, mixed)
    assert [(tier.tier, tier.model) for tier in summary.tiers] == [
        ("simple", "small"),
        ("medium", "middle"),
        ("complex", "large"),
    ]
    simple = summary.tiers[0]
    assert (simple.records, simple.attempts, simple.input_tokens, simple.output_tokens) == (2, 5, 200, 20)
    assert simple.avg_latency_ms == 50


def test_json_has_the_columns_as_keys(reader: sqlite3.Connection, mixed: int) -> None:
    value = figures.summary(reader, mixed).as_dict()
    apart = [
        "found_limits",
        "shared_limits",
        "routing",
        "escalations",
        "reuse",
        "open_calls",
        "worst_case",
        "stop_reason",
        "demo",
        "cut",
        "unread",
    ]
    assert list(value) == ["run", "tiers", *apart]
    assert value["run"]["done"] == 3
    assert value["tiers"][0]["model"] == "small"


def test_errors_are_counted_with_an_example(book: Book, reader: sqlite3.Connection, mixed: int) -> None:
    for line in (10, 11):
        book.record(mixed, line, "failed")
        book.result(mixed, line, "failed", error_class="server", error="HTTP 500")
    first, *rest = figures.top_errors(reader, mixed)
    assert (first.error_class, first.error, first.records, first.line) == ("server", "HTTP 500", 3, 4)
    assert [error.error for error in rest] == ["not JSON"]
    assert len(figures.top_errors(reader, mixed, most=1)) == 1


def test_only_the_newest_generation_counts_as_an_error(book: Book, reader: sqlite3.Connection) -> None:
    run = book.run()
    book.record(run, 1)
    book.result(run, 1, "failed", error="first time")
    book.result(run, 1, "done", generation=2)
    book.writer.execute("UPDATE records SET generation = 2")
    book.writer.commit()
    assert figures.top_errors(reader, run) == ()


def test_a_record_that_is_done_again_counts_once(book: Book, reader: sqlite3.Connection, mixed: int) -> None:
    book.writer.execute("UPDATE records SET state = 'queued', generation = 2 WHERE line IN (1, 4)")
    book.writer.commit()
    queued = figures.summary(reader, mixed)
    assert queued.tiers[0].records == 1
    assert (queued.run.done, queued.run.baseline) == (2, pytest.approx(0.17))
    assert queued.run.wasted == pytest.approx(0.003), "both answers of line 1 are behind no result now"
    tokens = {"input_tokens": 100, "output_tokens": 10, "latency_ms": 50}
    book.attempt(mixed, 1, 3, cost_nano=4_000_000, generation=2, **tokens)
    book.result(mixed, 1, attempt=3, generation=2, baseline_nano=60_000_000)
    again = figures.summary(reader, mixed)
    assert again.tiers[0].records == 2
    assert (again.run.baseline, again.run.wasted) == (pytest.approx(0.23), pytest.approx(0.003))


def test_the_95th_percentile_is_a_latency_that_was_measured(book: Book, reader: sqlite3.Connection) -> None:
    run = book.run()
    for line in range(1, 41):
        book.record(run, line)
        book.attempt(run, line, 1, latency_ms=10 * line if line < 39 else 4_995)
    book.attempt(run, 1, 2, "unknown", latency_ms=None)
    (tier,) = figures.summary(reader, run).tiers
    assert (tier.p95_latency_ms, tier.avg_latency_ms) == (380, 435.0), "of 10, 20 … 380 and twice 4,995"


def test_status_names_the_calls_in_flight_longest(book: Book, reader: sqlite3.Connection, mixed: int) -> None:
    for line in range(20, 30):
        book.attempt(mixed, line, 1, "open", started_at=f"2026-02-01T00:00:{line}Z")
    (status,) = figures.all_statuses(reader)
    assert [call.line for call in status.oldest_open] == [6, 20, 21, 22, 23]
    assert status.as_dict()["oldest_open"][0]["model"] == "middle"


def test_open_calls_are_counted_at_their_worst_case(book: Book, reader: sqlite3.Connection, mixed: int) -> None:
    assert figures.summary(reader, mixed).open_calls == OpenCalls(1, None), "nobody knows what it may cost"
    run = book.run("priced", state="running")
    for line, reserved in ((1, 3_000_000), (2, 4_500_000)):
        book.attempt(run, line, 1, "open", cost_nano=None, reserved_nano=reserved)
    book.attempt(run, 3, 1, reserved_nano=9_000_000)
    assert figures.summary(reader, run).open_calls == OpenCalls(2, 0.0075)
    assert [status.open_calls for status in figures.all_statuses(reader)] == [OpenCalls(1, None), OpenCalls(2, 0.0075)]
    assert figures.summary(reader, book.run()).open_calls is None


def test_costs_that_no_answer_told_are_the_worst_case_inside_the_cost(
    book: Book, reader: sqlite3.Connection, mixed: int
) -> None:
    assert figures.summary(reader, mixed).worst_case is None
    run = book.run("silent")
    for line, state in ((1, "ok"), (2, "error"), (3, "unknown")):
        book.attempt(run, line, 1, state, cost_nano=4_000_000, cost_source="reserved")
    book.attempt(run, 4, 1, cost_nano=1_000_000, cost_source="table")
    summary = figures.summary(reader, run)
    assert summary.worst_case == WorstCase(2, 0.008)
    assert (summary.run.cost, summary.run.unknown_cost) == (0.009, 0.004)


def test_why_a_run_stopped_is_told_until_it_is_queued_again(book: Book, reader: sqlite3.Connection) -> None:
    run = book.run(state="stopped", exit_code=77, stop_reason="the key was refused")
    assert figures.summary(reader, run).as_dict()["stop_reason"] == "the key was refused"
    assert figures.all_statuses(reader)[0].as_dict()["stop_reason"] == "the key was refused"
    book.writer.execute("UPDATE runs SET exit_code = NULL")
    book.writer.commit()
    assert figures.summary(reader, run).stop_reason is None
    assert figures.all_statuses(reader)[0].stop_reason is None


def test_an_invoice_is_compared_with_what_was_billed(book: Book, reader: sqlite3.Connection, mixed: int) -> None:
    before = reader.execute("SELECT * FROM daily_cost").fetchall()
    demo = book.run("trial", demo=1)
    book.attempt(demo, 1, 1, cost_nano=5_000_000, cost_source="table")
    assert reader.execute("SELECT * FROM daily_cost").fetchall() == before != []
    assert figures.summary(reader, demo).as_dict()["demo"] is True
    assert [status.as_dict()["demo"] for status in figures.all_statuses(reader)] == [False, True]
    assert figures.summary(reader, demo).run.cost == 0.005, "what it would have cost is shown still"


@pytest.fixture
def three_runs(book: Book) -> None:
    book.run("night")
    book.run("2")
    book.run("night")
    book.run("2026")


@pytest.mark.usefixtures("three_runs")
@pytest.mark.parametrize(("selector", "run"), [("latest", 4), ("1", 1), ("night", 3), ("2", 2), ("2026", 4)])
def test_a_run_is_a_number_then_a_name_or_the_latest(reader: sqlite3.Connection, selector: str, run: int) -> None:
    assert figures.find_run(reader, selector) == run


@pytest.mark.usefixtures("three_runs")
@pytest.mark.parametrize("selector", ["9", "nights", "1.0", "", "' OR 1 --"])
def test_an_unknown_run_is_missing_and_the_known_ones_are_named(reader: sqlite3.Connection, selector: str) -> None:
    with pytest.raises(InputMissing) as caught:
        figures.find_run(reader, selector)
    assert "4 (2026), 3 (night)" in caught.value.hint


def test_an_empty_database_holds_no_run(reader: sqlite3.Connection) -> None:
    with pytest.raises(InputMissing, match="latest"):
        figures.find_run(reader, "latest")
