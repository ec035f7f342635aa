"""What an evaluation does where something is unusual: other evaluations beside it, full disks, tools, images, wrong files."""

import asyncio
import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.errors import BatchRouterError, ExitCode, InputUnfit, StorageFailed
from batchrouter.core.options import EvaluationOptions, RetrySelection
from batchrouter.core.settings import Settings
from batchrouter.store.changes import Changes
from batchrouter.store.ledger import RunLedger
from tests.acceptance.conftest import Job, answers, completion, is_judging, problem
from tests.acceptance.test_evaluate import evaluated
from tests.acceptance.test_processes import config, ran, started, until


async def tried(job: Job, **options: Any) -> Any:
    """The report and the end, whatever that is."""
    return await api.evaluate(
        db=job.db, settings=Settings.model_validate(job.settings), options=EvaluationOptions(**options)
    )


def judge_costs(job: Job) -> int:
    return int(job.rows("SELECT sum(cost_nano) FROM attempts WHERE purpose = 'judge' AND state <> 'unknown'")[0][0])


async def test_each_of_two_evaluations_costs_what_its_own_calls_cost(done: Job) -> None:
    done.settings["run"] = {"budget": "0.2"}
    _, end = await tried(done, sample=60)
    assert end.exit_code is ExitCode.BUDGET
    done.settings["run"] = {}
    before = judge_costs(done)
    second = await evaluated(done, sample=60, judge="exact")
    between = judge_costs(done) - before
    first = await evaluated(done, sample=60)
    assert round((second.cost or 0) * 10**9) == between
    assert round((first.cost or 0) * 10**9) == judge_costs(done) - between


async def test_a_failed_write_leaves_the_run_as_it_was(done: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    before = done.rows("SELECT state, exit_code, stop_reason, finished_at FROM runs")
    whole, commits = RunLedger._commit, 0

    async def commit(self: RunLedger, changes: Changes) -> None:
        nonlocal commits
        commits += 1
        if commits == 3:
            raise sqlite3.OperationalError("disk I/O error")
        await whole(self, changes)

    monkeypatch.setattr(RunLedger, "_commit", commit)
    with pytest.raises(StorageFailed):
        await tried(done, sample=30)
    monkeypatch.setattr(RunLedger, "_commit", whole)
    assert done.rows("SELECT state, exit_code, stop_reason, finished_at FROM runs") == before
    done.check()
    assert (await evaluated(done, sample=30)).total.n == 30


@pytest.mark.parametrize("text", ["{", '{"line": [1], "verdict": "worse"}', '{"line": true, "verdict": "worse"}'])
async def test_a_wrong_line_of_gold_is_named_before_anything_is_paid(done: Job, tmp_path: Path, text: str) -> None:
    (tmp_path / "gold.jsonl").write_text(text)
    paid = done.gateway.paid_nano
    with pytest.raises(InputUnfit, match="line 1"):
        await tried(done, sample=5, gold=tmp_path / "gold.jsonl")
    assert done.gateway.paid_nano == paid


async def test_a_gold_answer_that_is_neither_answer_takes_no_verdict_of_the_judge_away(
    done: Job, tmp_path: Path
) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(json.dumps({"id": f"r{n}", "answer": "in quite other words"}) + "\n" for n in range(60)))
    report = await evaluated(done, sample=60, gold=gold)
    assert (report.total.match, report.total.worse, report.total.better, report.total.unjudged) == (42, 6, 6, 6)


async def test_a_line_of_gold_that_is_not_in_the_sample_is_nobody_elses(job: Job, tmp_path: Path) -> None:
    job.gateway.reply = answers
    job.write({"id": "None", "prompt": f"number {number}"} for number in range(3))
    await job.run()
    (tmp_path / "gold.jsonl").write_text('{"line": 99, "verdict": "worse"}')
    await evaluated(job, gold=tmp_path / "gold.jsonl")
    assert job.rows("SELECT gold FROM judgements WHERE gold IS NOT NULL") == []


@pytest.mark.parametrize("name", ["runs.db", "in.jsonl", "gold.jsonl"])
async def test_pairs_replace_nothing_that_is_needed(done: Job, name: str) -> None:
    (done.folder / "gold.jsonl").write_text('{"line": 1, "verdict": "worse"}')
    path = done.folder / name
    before = path.read_bytes()
    with pytest.raises(InputUnfit):
        await tried(done, sample=5, pairs=path, gold=done.folder / "gold.jsonl")
    assert path.read_bytes()[:100] == before[:100]
    assert sorted(one.name for one in done.folder.iterdir() if one.name.startswith((".", "tmp"))) == []


async def test_a_record_too_long_for_the_dearer_model_or_the_judge_is_unjudged_and_stops_nobody(done: Job) -> None:
    longer = {number: "long " * (400 if number == 70 else 0) for number in (70, 71, 72, 75)}
    done.write({"prompt": f"number {number} {words}", "tier": "simple"} for number, words in longer.items())
    await done.run(new=True)
    done.settings["model"]["middle"]["context"] = 300
    report = await evaluated(done)
    assert (report.total.n, report.total.unjudged) == (4, 1)


async def test_a_record_that_the_dearer_model_refuses_is_unjudged_and_stops_nobody(done: Job) -> None:
    refused = asyncio.Event()

    async def reply(body: dict[str, Any]) -> Any:
        if body["model"] == "middle" and body["messages"][-1]["content"] == "number 0":
            refused.set()
            return problem(400, "unknown parameter")
        await refused.wait()  # nobody is answered before
        return answers(body, 0)

    done.gateway.reply = lambda body, _n: reply(body)
    report = await evaluated(done, sample=60)
    assert (report.total.n, report.total.unjudged, report.total.worse) == (60, 7, 5)


async def test_a_tier_that_refuses_everybody_stops_it(done: Job) -> None:
    done.gateway.reply = lambda body, n: problem(400, "no") if body["model"] == "middle" else answers(body, n)
    report, end = await tried(done, sample=60)
    assert end.exit_code is ExitCode.CONFIGURATION
    assert report.pending >= 50
    assert len(done.gateway.requests) < 120
    done.check()


async def test_a_tier_whose_models_nobody_knows_stops_it(done: Job) -> None:
    done.gateway.reply = lambda body, n: problem(404, "no model") if body["model"] == "middle" else answers(body, n)
    report, end = await tried(done, sample=60)
    assert end.exit_code is ExitCode.CONFIGURATION
    assert report.pending == 60
    done.check()


def calling(name: str, arguments: str, content: str | None) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return completion(content, finish="tool_calls", tool_calls=[call])


@pytest.mark.parametrize("content", [None, "", "One moment."])
async def test_calls_of_tools_are_compared_and_not_only_the_text_beside_them(job: Job, content: str | None) -> None:
    def reply(body: dict[str, Any], _n: int) -> dict[str, Any]:
        cheap, order = body["model"] == "small", body["messages"][-1]["content"] == "same"
        return calling("cancel", '{"a": 1, "b": 2}' if cheap else '{"b": 2.0, "a": 1}' if order else "{}", content)

    job.gateway.reply = reply
    tool = {"type": "function", "function": {"name": "cancel"}}
    job.write({"prompt": prompt, "tools": [tool]} for prompt in ("same", "other"))
    await job.run()
    await evaluated(job, judge="exact")
    assert job.rows("SELECT how, verdict FROM judgements ORDER BY line") == [("json", "match"), ("exact", "worse")]
    await evaluated(job, judge="exact", pairs=job.folder / "pairs.jsonl")
    pair = json.loads((job.folder / "pairs.jsonl").read_text().splitlines()[1])
    assert '"b": 2' in pair["answer"]


async def test_the_judge_is_not_sent_the_bytes_of_an_image(job: Job) -> None:
    job.gateway.reply = lambda body, _n: completion("no verdict" if is_judging(body) else body["model"])
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 20_000}}
    job.write([{"messages": [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]}]}])
    await job.run()
    report = await evaluated(job)
    assert report.total.unjudged == 1
    asked = [json.dumps(body) for body in job.gateway.requests if is_judging(body)]
    assert all("what is this?" in body and len(body) < 3_000 for body in asked)


async def test_a_dearer_answer_that_our_cap_cut_short_is_no_measure(job: Job) -> None:
    job.gateway.reply = lambda body, _n: completion("yes", finish="stop" if body["model"] == "small" else "length")
    job.prompts("hi")
    await job.run()
    assert (await evaluated(job)).total.unjudged == 1


async def test_what_is_purged_in_between_can_not_be_judged_any_more_and_is_told(done: Job) -> None:
    done.settings["run"] = {"budget": "0.2"}
    report, _ = await tried(done, sample=30)
    assert report.pending
    await api.purge(db=done.db, requests=True, answers=True)
    calls = len(done.gateway.requests)
    report = await evaluated(done, sample=30)
    assert (report.pending, report.total.n) == (0, 30)
    assert report.finished_at
    assert len(done.gateway.requests) == calls


@pytest.mark.parametrize(
    "option", [["--seed", str(10**30)], ["--sample", str(10**30)], ["--seed", str(-(10**30))], ["--threshold", "nan"]]
)
async def test_a_number_that_is_too_large_is_wrong_usage(done: Job, option: list[str]) -> None:
    code, _, err = await ran(done, "evaluate", *option, "--db", "runs.db", "--config", str(config(done)))
    assert code == ExitCode.USAGE, err


async def test_calls_of_an_evaluation_that_was_killed_are_not_in_flight_any_more(done: Job) -> None:
    reached = asyncio.Event()

    async def hold() -> Any:
        reached.set()
        await asyncio.Event().wait()

    done.gateway.reply = lambda _body, _n: hold()
    process = await started(done, "evaluate", "--db", "runs.db", "--config", str(config(done)))
    await until(reached, process)
    assert api.status(done.db)[0].oldest_open
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    (status,) = api.status(done.db)
    assert (status.summary.state, status.oldest_open) == ("finished", ())


async def test_a_signal_ends_it_with_75_and_the_same_command_goes_on(done: Job) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def late(body: dict[str, Any]) -> Any:
        reached.set()
        await go_on.wait()
        return answers(body, 0)

    done.gateway.reply = lambda body, _n: late(body)
    process = await started(done, "evaluate", "--db", "runs.db", "--config", str(config(done)))
    await until(reached, process)
    process.send_signal(signal.SIGINT)
    go_on.set()
    _, err = await process.communicate()
    assert process.returncode == 75, err.decode()
    calls = len(done.gateway.requests)
    done.gateway.reply = answers
    assert (await evaluated(done)).total.n == 60
    assert len(done.gateway.requests) > calls
    bodies = [json.dumps(body) for body in done.gateway.requests[60:]]
    assert len(set(bodies)) == len(bodies), "nothing was asked twice"


async def test_a_key_that_is_refused_ends_it_with_77(done: Job) -> None:
    done.gateway.reply = lambda _body, _n: problem(401, "bad key")
    report, end = await tried(done)
    assert (end.exit_code, report.pending) == (ExitCode.ACCESS, 60)
    done.check()


async def test_a_run_that_another_process_works_on_is_left_alone(done: Job) -> None:
    reached = asyncio.Event()

    async def hold() -> Any:
        reached.set()
        await asyncio.Event().wait()

    done.gateway.reply = lambda _body, _n: hold()
    done.prompts("a new one")
    process = await started(done, "run", "in.jsonl", "--new", "--db", "runs.db", "--config", str(config(done)))
    await until(reached, process)
    with pytest.raises(BatchRouterError) as caught:
        await tried(done)
    process.kill()
    await process.communicate()
    assert caught.value.exit_code is ExitCode.INTERRUPTED


async def test_a_run_that_stopped_is_evaluated_and_goes_on_after_it(done: Job) -> None:
    done.prompts(*(f"number {number}" for number in range(100, 140)))
    report = await done.run(new=True, limit=20)
    assert report.exit_code is ExitCode.PLANNED_STOP
    assert (await evaluated(done)).total.n == 20
    assert (await done.run()).exit_code is ExitCode.OK
    assert done.rows("SELECT done, pending FROM run_summary WHERE run = 2") == [(40, 0)]
    done.check()


async def test_a_record_done_again_in_between_keeps_both_its_evaluation_and_its_new_answer(done: Job) -> None:
    first = await evaluated(done, sample=60)
    which = RetrySelection(statuses=("done",), ids=("r1",))
    await api.retry("latest", db=done.db, settings=Settings.model_validate(done.settings), which=which)
    done.check()
    again = await evaluated(done, sample=60)
    assert (again.total, again.cost) == (first.total, first.cost)
