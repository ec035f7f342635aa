"""Which run does `run` mean? Each row of the table, by hand."""

import io
import json
import sys

import pytest

from batchrouter import api
from batchrouter.core.errors import ConfigurationError, InputUnfit
from batchrouter.core.options import InputOptions, RunOptions
from batchrouter.core.settings import Settings
from tests.acceptance.conftest import Heard, Job, completion, problem
from tests.canary import CANARY


async def unfinished(job: Job) -> None:
    """A run that stopped with its second record pending."""
    job.gateway.reply = lambda body, _n: problem(401) if body["messages"][-1]["content"] == "two" else completion()
    job.prompts("one", "two")
    assert (await job.run(concurrency=1)).exit_code == 77
    assert job.answers("status") == [("done",), ("pending",)]
    job.gateway.reply = lambda _body, _n: completion()
    job.gateway.requests.clear()


async def test_unfinished_and_the_same_goes_on(job: Job) -> None:
    await unfinished(job)
    assert (await job.run()).exit_code == 0
    assert job.gateway.prompts() == ["two"]
    job.check()


async def test_unfinished_with_more_lines_goes_on_with_the_new_ones_included(job: Job) -> None:
    await unfinished(job)
    job.write([{"prompt": "three"}], append=True)
    assert (await job.run()).exit_code == 0
    assert sorted(job.gateway.prompts()) == ["three", "two"]
    assert job.answers("run, line, status") == [(1, 1, "done"), (1, 2, "done"), (1, 3, "done")]
    job.check()


async def test_unfinished_and_different_is_refused_with_the_line_and_both_ways_out_work(job: Job) -> None:
    await unfinished(job)
    job.prompts("one", "changed")
    with pytest.raises(InputUnfit, match="line 2 has changed"):
        await job.run()
    assert job.gateway.requests == []
    assert (await job.resume("1")).exit_code == 0
    assert job.gateway.prompts() == ["two"]
    assert (await job.run(new=True)).exit_code == 0
    assert job.answers("run, status") == [(1, "done"), (1, "done"), (2, "done"), (2, "done")]
    job.check()


async def test_finished_and_the_same_makes_no_call(job: Job) -> None:
    job.prompts("one")
    assert (await job.run()).exit_code == 0
    assert (await job.run()).exit_code == 0
    assert len(job.gateway.requests) == 1


@pytest.mark.parametrize(
    ("line", "retries"), [('{"prompt": "two", "expect": {"one_of": ["no"]}}', True), ('{"product": "two"}', False)]
)
async def test_a_finished_run_names_retry_where_records_failed_and_not_for_rejected_lines(
    job: Job, line: str, retries: bool
) -> None:
    job.write(['{"prompt": "one"}', line])
    assert (await job.run()).exit_code == 3
    job.observer = heard = Heard()
    assert (await job.run()).exit_code == 3
    assert heard.count("run 1 is finished and its input unchanged: nothing to do") == 1
    assert heard.count("retry") == retries


async def test_finished_with_more_lines_is_the_same_run_with_the_new_lines(job: Job) -> None:
    job.prompts("one")
    await job.run()
    job.write([{"prompt": "two"}], append=True)
    assert (await job.run()).exit_code == 0
    assert job.gateway.prompts() == ["one", "two"]
    assert job.answers("run, line") == [(1, 1), (1, 2)]
    job.check()


async def test_finished_and_different_is_a_new_run(job: Job) -> None:
    job.prompts("one")
    await job.run()
    job.prompts("other")
    assert (await job.run()).exit_code == 0
    assert job.answers("run, line") == [(1, 1), (2, 1)]
    job.check()


async def test_a_name_finds_its_run_whatever_the_path(job: Job) -> None:
    job.prompts("one")
    await job.run(name="nightly")
    job.input.rename(job.folder / "moved.jsonl")
    moved = Job(job.folder, job.gateway, job.settings)
    type(moved).input = property(lambda self: self.folder / "moved.jsonl")  # type: ignore[assignment,method-assign]
    try:
        assert (await moved.run(name="nightly")).exit_code == 0
        assert (await moved.run(name="another")).exit_code == 0
    finally:
        type(moved).input = property(lambda self: self.folder / "in.jsonl")  # type: ignore[assignment,method-assign]
    assert moved.rows("SELECT run, name FROM runs") == [(1, "nightly"), (2, "another")]


@pytest.mark.parametrize(
    "change",
    [
        {"routing": {"rule": [{"tier": "complex", "contains": ["one"]}]}},
        {"request": {"temperature": 0}},
        {"task": {"x": {"tier": "simple"}}},
        {"expect": {"max_words": 3}},
    ],
)
async def test_settings_that_records_carry_may_not_change_on_an_unfinished_run(
    job: Job, change: dict[str, object]
) -> None:
    await unfinished(job)
    job.settings |= change
    with pytest.raises(InputUnfit, match="settings that records carry"):
        await job.run()
    assert (await job.resume()).exit_code == 0
    assert job.gateway.prompts() == ["two"]


async def test_a_run_that_took_in_nothing_takes_other_settings(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.write([{"text": "good"}])
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(ConfigurationError, match="TEST_KEY"):
        await job.run()
    monkeypatch.setenv("TEST_KEY", CANARY)
    job.settings["currency"] = "USD"
    job.input_options = InputOptions(template="Good? {text}")
    assert (await job.run()).exit_code == 0
    assert job.answers("run, status, currency") == [(1, "done", "USD")]
    assert job.gateway.prompts() == ["Good? good"]
    job.check()


async def test_prices_limits_and_models_may_change_and_each_attempt_names_its_configuration(job: Job) -> None:
    await unfinished(job)
    job.settings["model"]["small"]["input"] = 20
    job.settings["model"]["small"]["rpm"] = 6000
    job.settings["tier"]["simple"]["models"] = ["middle", "small"]
    assert (await job.run()).exit_code == 0
    assert job.answers("model, cost_nano") == [("small", 400_000), ("middle", 4_000_000)]
    assert len(job.rows("SELECT DISTINCT config FROM attempts")) == 2
    job.check()


async def test_resume_of_a_vanished_input_does_what_was_taken_in_and_does_not_call_it_all(job: Job) -> None:
    job.prompts("one", "two", "three")
    await job.run(limit=1)
    job.input.rename(job.folder / "elsewhere")
    for _ in range(2):
        report = await job.resume()
        assert report.exit_code == 66
        assert "only what was taken in of it is done" in report.stop_reason
        assert job.rows("SELECT state, exit_code FROM runs") == [("stopped", 66)]
        job.check()
    (job.folder / "elsewhere").rename(job.input)
    assert (await job.resume()).exit_code == 0
    assert job.gateway.prompts() == ["one", "two", "three"]
    job.check()


async def test_a_run_that_goes_on_without_the_rest_of_a_changed_input_says_so(job: Job) -> None:
    job.prompts("one", "two", "three")
    assert not (await job.run(limit=1)).summary.cut
    job.prompts("other", "lines")
    report = await job.resume()
    assert (report.exit_code, report.summary.cut) == (0, True)
    assert job.answers("status") == [("done",)]
    job.check()


async def test_an_unfinished_last_line_that_is_completed_later_is_a_changed_line(job: Job) -> None:
    job.input.write_text('{"prompt": "one"}\n{"prompt": "tw')
    assert (await job.run()).exit_code == 3
    job.input.write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    assert (await job.run()).exit_code == 0
    assert job.answers("run, status") == [(1, "done"), (1, "rejected"), (2, "done"), (2, "done")]


async def test_an_unfinished_run_goes_on_in_the_currency_that_it_began_with_or_not_at_all(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: problem(401)
    job.prompts("a")
    assert (await job.run()).exit_code == 77
    job.settings["currency"] = "USD"
    job.gateway.reply = lambda _body, _n: completion()
    for again in (job.run, job.resume):
        with pytest.raises(ConfigurationError, match="counts in INR"):
            await again()
    assert job.rows("SELECT count(*) FROM run_configs") == [(1,)]
    job.check()


async def test_a_finished_run_of_a_pipe_and_a_different_one_is_a_new_run_with_every_line(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def piped(*prompts: str) -> None:
        data = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    same = [f"question {n} {'x' * 200}" for n in range(2_000)]
    settings = Settings.model_validate(job.settings)
    for prompts in (same, [*same[:1_500], "other", *same[1_501:]], ["all", "new"]):
        piped(*prompts)
        job.gateway.requests.clear()
        report = await api.run("-", db=job.db, settings=settings, options=RunOptions(name="night"))
        assert report.exit_code == 0
        assert sorted(job.gateway.prompts()) == sorted(prompts)
    assert job.rows("SELECT run, count(*) FROM results GROUP BY run") == [(1, 2_000), (2, 2_000), (3, 2)]
    piped("all", "new", "more")
    job.gateway.requests.clear()
    await api.run("-", db=job.db, settings=settings, options=RunOptions(name="night"))
    assert job.gateway.prompts() == ["more"]
    job.check()


@pytest.mark.parametrize("content", ["", "\n \n"])
async def test_an_input_without_a_line_is_named_at_each_start_and_is_no_failure(job: Job, content: str) -> None:
    job.observer = heard = Heard()
    job.input.write_text(content)
    for starts in (1, 2):
        assert (await job.run()).exit_code == 0
        assert heard.count("in.jsonl holds no lines") == starts
    job.prompts("one")
    assert (await job.run()).exit_code == 0
    assert heard.count("holds no lines") == 2
    job.input.write_text(content)
    assert (await job.run()).exit_code == 0
    assert heard.count("holds no lines") == 3
    assert job.gateway.prompts() == ["one"]
