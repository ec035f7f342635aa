"""The main job through the real path: lines in, answers and costs out."""

import asyncio
import sqlite3
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from batchrouter import api
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import ConfigurationError, ExitCode, InputMissing, InputUnfit, StorageFailed, WrongUsage
from batchrouter.core.options import MaxFailed, RunOptions
from batchrouter.core.settings import Settings
from batchrouter.store.changes import Changes
from batchrouter.store.ledger import RunLedger
from tests.acceptance.conftest import Heard, Job, completion, problem

LONG = "word " * 60


async def test_each_line_is_answered_by_the_right_tier_and_paid_to_the_last_nano(job: Job) -> None:
    job.prompts("Classify: good or bad? fine", LONG, "Please compare the two offers", "hello")
    report = await job.run()
    assert report.exit_code == 0
    assert job.answers("line, status, tier, model, answer, cost_nano") == [
        (1, "done", "simple", "small", "yes", 400_000),
        (2, "done", "medium", "middle", "yes", 4_000_000),
        (3, "done", "complex", "large", "yes", 13_500_000),
        (4, "done", "simple", "small", "yes", 400_000),
    ]
    assert sum(row[0] for row in job.answers("cost_nano")) == job.gateway.paid_nano
    run = report.summary.run
    assert (run.cost, run.baseline, run.saved) == (0.0183, 0.054, 0.0357)
    job.check()


async def test_a_second_and_a_third_start_make_no_call_and_exit_as_the_first(job: Job) -> None:
    job.write([{"prompt": "hello"}, "{broken"])
    codes = [(await job.run()).exit_code for _ in range(3)]
    assert codes == [ExitCode.SOME_FAILED] * 3
    assert len(job.gateway.requests) == 1
    assert len(job.rows("SELECT * FROM runs")) == 1


async def test_the_body_reaches_the_gateway_as_it_was_read_but_for_the_model(job: Job) -> None:
    job.write(
        [
            '{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"seed":18446744073709551617,"max_tokens":7}}'
        ]
    )
    await job.run()
    assert job.gateway.requests == [
        {
            "model": "small",
            "messages": [{"role": "user", "content": "hi"}],
            "seed": 18446744073709551617,
            "max_tokens": 7,
        }
    ]


async def test_without_routing_each_record_keeps_its_model(job: Job) -> None:
    job.write([{"model": "large", "prompt": "hi"}, {"model": "small", "prompt": "hi"}])
    job.input_options = type(job.input_options)(no_routing=True)
    assert (await job.run()).exit_code == 0
    assert job.answers("tier, model") == [(None, "large"), (None, "small")]
    job.check()


async def test_a_model_without_a_price_ends_before_the_first_call(job: Job) -> None:
    job.prompts("hi")
    job.settings["model"]["small"] = {}
    with pytest.raises(ConfigurationError, match="no price"):
        await job.run()
    assert job.gateway.requests == []


async def test_a_missing_input_leaves_no_run_behind(job: Job) -> None:
    with pytest.raises(InputMissing):
        await job.run()


async def test_rows_with_a_template(job: Job) -> None:
    job.write([{"review": "great", "n": 1}, {"n": 2}])
    job.input_options = type(job.input_options)(template="Is this good? {review}", id_field="n")
    assert (await job.run()).exit_code == 3
    assert job.gateway.prompts() == ["Is this good? great"]
    (first, second) = job.answers("id, status, metadata, error")
    assert first == ("1", "done", '{"review": "great", "n": 1}', None)
    assert second[1] == "rejected"
    assert "review" in second[3]


async def test_limit_does_the_first_records_and_a_later_run_the_rest(job: Job) -> None:
    job.prompts("one", "two", "three", "four")
    stopped = await job.run(limit=2)
    assert stopped.exit_code == 4
    assert stopped.summary.run.records == 2
    assert "not read yet are not counted" in stopped.stop_reason
    assert (await job.run(limit=2)).exit_code == 4
    assert sorted(job.gateway.prompts()) == ["one", "two"]
    assert (await job.run()).exit_code == 0
    assert sorted(job.gateway.prompts()) == ["four", "one", "three", "two"]
    job.check()


async def test_a_limit_on_a_run_that_was_taken_in_whole_leaves_the_rest_pending(job: Job) -> None:
    job.prompts("one", "two", "three")
    assert (await job.run(max_duration_s=0.0)).exit_code == 4
    await job.resume("1", max_duration_s=0.0)
    assert (await job.run(limit=2)).exit_code == 4
    assert sorted(job.gateway.prompts()) == ["one", "two"]
    assert (await job.resume(limit=2)).exit_code == 4
    assert (await job.resume()).exit_code == 0
    job.check()


@pytest.mark.parametrize("fate", ["deleted", "moved"])
async def test_a_database_that_vanishes_during_a_run_is_said_as_such_and_74(job: Job, fate: str) -> None:
    def reply(_body: dict[str, Any], n: int) -> Any:
        if n == 1:
            job.db.unlink() if fate == "deleted" else job.db.rename(job.folder / "away.db")
        return completion()

    job.gateway.reply = reply
    job.prompts("a", "b", "c")
    with pytest.raises(StorageFailed, match=r"runs\.db vanished while it was worked on") as raised:
        await job.run(concurrency=1)
    assert "pays for every call again" in raised.value.hint
    assert not job.db.exists()


async def test_an_input_that_vanished_points_to_resume(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: problem(401)
    job.prompts("one")
    await job.run()
    job.input.unlink()
    with pytest.raises(InputMissing) as missing:
        await job.run()
    assert "resume 1" in missing.value.hint


async def test_a_limit_beyond_the_input_changes_nothing(job: Job) -> None:
    job.prompts("one", "two")
    assert (await job.run(limit=2)).exit_code == 0


async def test_no_time_left_stops_before_the_first_call(job: Job) -> None:
    job.prompts("one")
    assert (await job.run(max_duration_s=0.0)).exit_code == 4
    assert job.gateway.requests == []


async def test_the_moment_of_until_is_told_once_in_local_time(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Silent, "notice", lambda _silent, message: told.append(message))
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    try:
        job.prompts("one")
        await job.run(until=datetime(2037, 11, 30, 1, tzinfo=UTC))
        await job.resume(until=datetime(2037, 11, 30, 6, 30).astimezone())
        await api.resume_all(db=job.db, settings=Settings.model_validate(job.settings), options=RunOptions())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [message for message in told if "no call" in message] == ["no call after 2037-11-30 06:30+05:30"] * 2


async def test_max_failed_makes_a_run_with_few_failures_clean(job: Job) -> None:
    job.gateway.reply = lambda body, _n: problem(400) if "bad" in body["messages"][-1]["content"] else completion()
    job.prompts("good", "bad")
    assert (await job.run(max_failed=MaxFailed.parse("50%"))).exit_code == 0
    assert (await job.run()).exit_code == 0


async def test_the_budget_is_never_exceeded_and_what_fits_is_done(job: Job) -> None:
    job.prompts(*(f"question {n}" for n in range(50)))
    job.settings["run"] = {"budget": Decimal("0.02")}
    report = await job.run()
    assert report.exit_code == ExitCode.BUDGET
    assert report.summary.run.cost is not None
    assert 0.005 < report.summary.run.cost <= 0.02
    assert job.gateway.paid_nano <= 20_000_000
    job.settings["run"] = {"budget": Decimal(10)}
    assert (await job.run()).exit_code == 0
    assert len(job.gateway.requests) == 50
    job.check()


async def test_the_budget_holds_what_a_cap_of_the_configuration_can_cost(job: Job) -> None:
    job.prompts(*(f"question {n}" for n in range(50)))
    job.settings["model"]["small"]["set"] = {"max_tokens": 10_000, "n": 2}
    job.gateway.reply = lambda _body, _n: completion(tokens=(20, 20_000))
    job.settings["run"] = {"budget": Decimal(2)}
    report = await job.run()
    assert report.exit_code == ExitCode.BUDGET
    assert report.summary.run.cost is not None
    assert 0 < report.summary.run.cost <= 2
    job.check()


async def test_a_record_too_dear_for_the_budget_does_not_stop_those_that_fit(job: Job) -> None:
    job.write([{"prompt": "Compare it", "max_tokens": 100_000}, {"prompt": "hi"}, {"prompt": "ho"}])
    job.settings["run"] = {"budget": Decimal(1)}
    assert (await job.run()).exit_code == 76
    assert job.answers("status") == [("pending",), ("done",), ("done",)]


async def test_a_tier_too_dear_for_the_budget_does_not_stop_the_others(job: Job) -> None:
    job.write([{"prompt": "Compare them", "max_tokens": 100_000}] * 300 + [{"prompt": "hi"}] * 300)
    job.settings["run"] = {"budget": Decimal(1)}
    assert (await job.run()).exit_code == 76
    assert job.rows("SELECT tier, status, count(*) FROM answers GROUP BY 1, 2") == [
        ("complex", "pending", 300),
        ("simple", "done", 300),
    ]
    job.settings["run"] = {}
    assert (await job.run()).exit_code == 0
    job.check()


async def test_saved_is_measured_against_the_requested_model_if_asked(job: Job) -> None:
    job.write([{"model": "middle", "prompt": "hi"}])
    job.settings["run"] = {"baseline": "requested"}
    run = (await job.run()).summary.run
    assert (run.cost, run.baseline) == (0.0004, 0.004)
    job.settings["run"] = {"baseline": "requested"}
    job.write([{"prompt": "no model named"}], append=True)
    assert (await job.run()).summary.run.baseline is None
    job.check()


async def test_requests_of_done_records_are_cleared_if_asked(job: Job) -> None:
    job.prompts("hi")
    job.settings["run"] = {"keep_requests": "until_done"}
    await job.run()
    assert job.answers("request, answer") == [(None, "yes")]
    job.check()


async def test_concurrency_caps_all_calls_in_flight(job: Job) -> None:
    async def slow(_body: object) -> dict[str, object]:
        await asyncio.sleep(0)
        return completion()

    job.gateway.reply = lambda body, _n: slow(body)
    job.prompts(*(["compare", "hi", LONG] * 10))
    await job.run(concurrency=3)
    assert job.gateway.most_in_flight <= 3


async def test_what_a_person_should_know_is_told_once(job: Job) -> None:
    told: list[str] = []

    class Listening(Silent):
        def notice(self, message: str) -> None:
            told.append(message)

    job.observer = Listening()
    job.write([{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}, {"id": "b", "model": "gpt-4o", "prompt": "z"}])
    job.gateway.reply = lambda _body, _n: problem(401)
    await job.run(concurrency=1)
    assert [message for message in told if "'a'" in message and "1 id on" in message]
    assert [message for message in told if "1 record with a model named" in message]
    job.gateway.reply = lambda _body, _n: completion()
    told.clear()
    await job.run(name="another")
    assert [message for message in told if "`batchrouter resume 1`" in message]


async def test_a_write_that_fails_once_is_storage_and_the_next_start_goes_on(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = RunLedger._commit
    calls = 0

    async def failing(self: RunLedger, changes: Changes) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise sqlite3.OperationalError("disk I/O error")
        await commit(self, changes)

    job.prompts(*(f"question {n}" for n in range(100)))
    with monkeypatch.context() as patched:
        patched.setattr(RunLedger, "_commit", failing)
        with pytest.raises(StorageFailed, match="disk I/O error"):
            await job.run(concurrency=4)
    assert job.rows("SELECT count(*) FROM results") == [(len(job.gateway.requests),)]
    assert (await job.run()).exit_code == 0
    assert len(job.gateway.requests) == 100
    job.check()


async def test_a_fault_of_our_own_comes_out_as_it_is_and_is_noted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    job.prompts("one", "two")
    with monkeypatch.context() as patched:
        patched.setattr("batchrouter.gateway.client.HttpGateway.call", faulty)
        with pytest.raises(ZeroDivisionError):
            await job.run()
    assert job.rows("SELECT state, exit_code FROM runs") == [("stopped", 1)]
    job.check()
    assert (await job.run()).exit_code == 0
    job.check()


async def test_a_tier_under_a_slow_limit_does_not_hold_the_places_of_the_others(job: Job) -> None:
    job.settings["model"]["large"]["rpm"] = 30
    job.prompts(*["compare"] * 3, *["hi"] * 60)
    order: list[str] = []

    def note(body: dict[str, Any], _n: int) -> dict[str, object]:
        order.append(body["model"])
        return completion()

    job.gateway.reply = note
    assert (await job.run(concurrency=2)).exit_code == 0
    assert order[-1] == "large"
    assert order.index("large") < 10
    assert order[:-1].count("small") == 60


async def test_under_a_rate_limit_only_calls_about_to_leave_are_open(job: Job) -> None:
    job.settings["model"]["small"]["rpm"] = 600
    most_open = 0

    def watch(_body: object, _n: int) -> dict[str, object]:
        nonlocal most_open
        most_open = max(most_open, *job.rows("SELECT count(*) FROM attempts WHERE state = 'open'")[0])
        return completion()

    job.gateway.reply = watch
    job.prompts(*(f"question {n}" for n in range(30)))
    await job.run()
    assert most_open <= 5  # three on deck, one being answered, one being settled
    (first, last) = job.rows("SELECT min(started_at), max(started_at) FROM attempts")[0]
    assert (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds() > 2.5
    job.check()


async def test_an_output_that_cannot_be_written_is_refused_before_anything_happens(job: Job) -> None:
    job.prompts("one")
    for folder in (job.folder / "nowhere" / "out.jsonl", job.folder):
        with pytest.raises(StorageFailed, match="cannot be written"):
            await job.run(output=folder)
    for source in (job.input, job.db, job.db.with_name("runs.db-wal")):
        with pytest.raises(InputUnfit, match="input of the run, or its database"):
            await job.run(output=source)
    assert job.gateway.requests == []
    assert list(job.folder.iterdir()) == [job.input]


async def test_a_resume_and_a_retry_refuse_such_an_output_too(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: problem(400)
    job.prompts("one")
    assert (await job.run()).exit_code == 3
    settings, before = Settings.model_validate(job.settings), job.rows("SELECT * FROM runs")
    for output, error in ((job.input, InputUnfit), (job.folder / "nowhere" / "out.jsonl", StorageFailed)):
        options = RunOptions(output=output)
        with pytest.raises(error):
            await job.resume(output=output)
        with pytest.raises(error):
            await api.retry("latest", db=job.db, settings=settings, options=options)
    assert len(job.gateway.requests) == 1
    assert job.rows("SELECT * FROM runs") == before, "nothing was queued again"
    job.gateway.reply = lambda _body, _n: problem(401)
    job.prompts("two")
    await job.run()
    with pytest.raises(WrongUsage, match="the file of one run"):
        await api.resume_all(db=job.db, settings=settings, options=RunOptions(output=job.folder / "out.jsonl"))
    assert len(job.gateway.requests) == 2


@pytest.mark.parametrize(("status", "code"), [(200, 74), (400, 74), (401, 77)])
async def test_an_export_that_fails_at_the_end_does_not_hide_how_the_run_ended(
    job: Job, status: int, code: int
) -> None:
    output = job.folder / "out" / "answers.jsonl"
    output.parent.mkdir()

    def reply(_body: object, _n: int) -> object:
        output.parent.rmdir()
        return completion() if status == 200 else problem(status)

    job.gateway.reply = reply
    job.prompts("one")
    report = await job.run(output=output)
    assert report.exit_code == code
    assert bool(report.stop_reason) is (status == 401)
    assert report.summary.run.records == 1
    assert isinstance(report.export_failure, StorageFailed)
    assert "batchrouter export 1 --db" in report.export_failure.hint
    output.parent.mkdir()
    if status == 200:
        assert (await job.run(output=output)).exit_code == 0, "the same command again"
        assert len(output.read_text().splitlines()) == 1
        output = output.with_suffix(".csv")
        assert (await job.run(output=output)).exit_code == 0
        assert output.read_text().startswith("run,name,line,")


async def test_an_empty_input_is_a_finished_run(job: Job) -> None:
    job.write([])
    assert (await job.run()).exit_code == 0
    job.check()


async def test_an_input_none_of_whose_first_lines_is_a_record_is_doubted_once(job: Job) -> None:
    job.observer = heard = Heard()
    job.write(["id,text", *(f"{number},hello" for number in range(600))])
    assert (await job.run()).exit_code is ExitCode.SOME_FAILED
    assert [notice for notice in heard.notices if "right input" in notice] == [
        "none of the 500 lines read first is a record: is this the right input?"
        " Line 1: not JSON: a line must be an object, which begins with {"
    ]
    job.write(["id,text", {"prompt": "hello"}])
    assert (await job.run()).exit_code is ExitCode.SOME_FAILED
    assert heard.count("right input") == 1
