"""Identical requests are asked once where that is wanted, and every row says whose answer it is."""

import asyncio
import random
import sys
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import RetrySelection
from batchrouter.core.settings import Settings
from batchrouter.engine import reusing
from tests.acceptance.conftest import Job, completion, problem


@pytest.fixture
def reusing_job(job: Job) -> Job:
    job.settings["run"] = {"reuse": "run"}
    return job


async def test_without_reuse_every_record_is_asked_for(job: Job) -> None:
    job.prompts("same", "same")
    report = await job.run()
    assert len(job.gateway.requests) == 2
    assert report.summary.reuse is None
    assert job.rows("SELECT count(*) FROM reusable") == [(0,)]


@pytest.mark.parametrize("concurrency", [1, 2, 100])
async def test_identical_requests_are_asked_once_at_any_concurrency(reusing_job: Job, concurrency: int) -> None:
    job = reusing_job
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    prompts = [f"question {number % 7}" for number in range(200)]
    random.Random(seed).shuffle(prompts)
    job.gateway.reply = lambda body, _n: completion(f"answer to {body['messages'][-1]['content']}")
    job.prompts(*prompts)
    report = await job.run(concurrency=concurrency)
    assert report.exit_code is ExitCode.OK
    assert sorted(job.gateway.prompts()) == sorted(set(prompts))
    assert job.answers("answer") == [(f"answer to {prompt}",) for prompt in prompts]
    assert round((report.summary.run.cost or 0) * 10**9) == job.gateway.paid_nano
    reuse = report.summary.reuse
    assert reuse
    assert reuse.records == 193
    assert round((reuse.saved or 0) * 10**9) == 193 * job.gateway.paid_nano // 7
    assert (report.summary.run.baseline or 0) == pytest.approx(200 * (20 * 300 + 5 * 1500) / 10**6)
    job.check()


async def test_the_row_says_whose_answer_it_is_and_costs_nothing(reusing_job: Job) -> None:
    job = reusing_job
    job.prompts("same", "other", "same")
    await job.run(concurrency=1)
    assert job.answers("answer, model, attempts, cost_nano, reused_run, reused_line") == [
        ("yes", "small", 1, 400_000, None, None),
        ("yes", "small", 1, 400_000, None, None),
        ("yes", "small", 0, 0, 1, 1),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "same", "temperature": 0},
        {"prompt": "same", "max_tokens": 7},
        {"prompt": "same", "tier": "medium"},
        {"prompt": "same", "expect": {"one_of": ["yes"]}},
        {"prompt": "Same"},
    ],
)
async def test_what_differs_in_anything_that_counts_is_asked_for(reusing_job: Job, other: dict[str, Any]) -> None:
    job = reusing_job
    job.write([{"prompt": "same"}, other])
    await job.run()
    assert len(job.gateway.requests) == 2
    job.check()


async def test_order_of_keys_white_space_and_ids_do_not_count(reusing_job: Job) -> None:
    job = reusing_job
    job.write(
        [
            '{"id": "a", "prompt": "same", "temperature": 0, "seed": 1, "metadata": {"x": 1}}',
            '{"seed":1,"temperature": 0,  "id": "b", "prompt": "s\\u0061me"}',
        ]
    )
    await job.run()
    assert len(job.gateway.requests) == 1
    job.check()


@pytest.mark.parametrize(("scope", "calls"), [("run", 2), ("db", 1)])
async def test_other_runs_count_where_that_is_wanted(job: Job, scope: str, calls: int) -> None:
    job.settings["run"] = {"reuse": scope}
    job.prompts("same")
    await job.run()
    report = await job.run(new=True)
    assert len(job.gateway.requests) == calls
    assert (report.summary.reuse is not None) == (scope == "db")
    job.check()


async def test_prices_may_change_but_not_the_models(job: Job) -> None:
    job.settings["run"] = {"reuse": "db"}
    job.prompts("same")
    await job.run()
    job.settings["model"]["small"]["input"] = 11
    await job.run(new=True)
    assert len(job.gateway.requests) == 1
    job.settings["tier"]["simple"]["models"] = ["middle"]
    await job.run(new=True)
    assert len(job.gateway.requests) == 2
    job.check()


async def test_a_record_that_is_done_again_is_asked_for(job: Job) -> None:
    job.settings["run"] = {"reuse": "db"}
    job.prompts("same")
    await job.run()
    settings = Settings.model_validate(job.settings)
    await api.retry("latest", db=job.db, settings=settings, which=RetrySelection(statuses=("done",)))
    assert len(job.gateway.requests) == 2
    job.check()


async def test_who_waits_for_an_answer_that_fails_asks_for_itself(reusing_job: Job) -> None:
    job = reusing_job
    job.gateway.reply = lambda _body, n: problem(422, f"no {n}") if n < 2 else completion()
    job.prompts("same", "same", "same", "same")
    report = await job.run()
    assert report.exit_code is ExitCode.SOME_FAILED
    assert sorted(job.answers("status")) == [("done",), ("done",), ("failed",), ("failed",)]
    assert len(job.gateway.requests) == 3
    job.check()


async def test_who_waits_goes_on_waiting_while_it_is_tried_again(reusing_job: Job) -> None:
    job = reusing_job
    job.gateway.reply = lambda _body, n: problem(503) if n == 0 else completion()
    job.prompts("same", "same", "same")
    assert (await job.run(concurrency=1)).exit_code is ExitCode.OK
    assert len(job.gateway.requests) == 2
    job.check()


async def test_requests_that_are_all_refused_alike_end_the_run_and_none_waits_for_ever(reusing_job: Job) -> None:
    job = reusing_job
    job.gateway.reply = lambda _body, _n: problem(400, "odd")
    job.prompts(*["same"] * 30)
    report = await job.run()
    assert report.exit_code is ExitCode.CONFIGURATION
    job.check()


async def test_few_requests_that_are_refused_alike_have_failed(reusing_job: Job) -> None:
    job = reusing_job
    job.gateway.reply = lambda _body, _n: problem(400, "odd")
    job.prompts(*["same"] * 3)
    assert (await job.run()).exit_code is ExitCode.SOME_FAILED
    job.check()


@pytest.mark.parametrize("concurrency", [1, 2, 100])
async def test_where_one_goes_a_tier_up_those_that_are_identical_go_with_it(reusing_job: Job, concurrency: int) -> None:
    job = reusing_job
    job.gateway.reply = lambda body, _n: completion("maybe" if body["model"] == "small" else "yes")
    job.write([{"prompt": "same", "temperature": 0, "expect": {"one_of": ["yes"]}}] * 700)  # more than one page of rows
    report = await job.run(concurrency=concurrency)
    assert report.exit_code is ExitCode.OK
    assert [request["model"] for request in job.gateway.requests] == ["small", "middle"]
    assert {(row[0], row[1]) for row in job.answers("answer, tier")} == {("yes", "medium")}
    assert report.summary.reuse
    assert report.summary.reuse.records == 699
    job.check()


async def test_tiers_with_the_same_model_are_tiers_of_their_own(reusing_job: Job) -> None:
    job = reusing_job
    job.settings["tier"]["medium"]["models"] = ["small"]
    job.gateway.reply = lambda body, _n: completion("maybe" if body["model"] == "small" else "yes")
    line = {"prompt": "same", "temperature": 0, "expect": {"one_of": ["yes"]}}
    job.write([line, {**line, "tier": "medium"}, line, {**line, "tier": "medium"}])
    assert (await job.run()).exit_code is ExitCode.OK
    models = [request["model"] for request in job.gateway.requests]
    assert (models.count("small"), models.count("large")) == (2, 1)
    assert {row[0] for row in job.answers("tier")} == {"complex"}
    job.check()


async def test_where_no_tier_has_an_answer_that_passes_each_is_asked_by_itself(reusing_job: Job) -> None:
    job = reusing_job
    two_beside_each_other = asyncio.Barrier(2)

    async def beside_another() -> Any:
        await asyncio.wait_for(two_beside_each_other.wait(), 60)
        return completion("maybe")

    def reply(body: dict[str, Any], n: int) -> Any:
        return beside_another() if body["model"] == "large" and n > 2 else completion("maybe")

    job.gateway.reply = reply
    job.write([{"prompt": "same", "temperature": 0, "expect": {"one_of": ["yes"]}}] * 21)
    report = await job.run()
    assert report.exit_code is ExitCode.SOME_FAILED
    assert {row[0] for row in job.answers("status")} == {"failed"}
    models = [request["model"] for request in job.gateway.requests]
    assert (models.count("small"), models.count("middle"), models.count("large")) == (1, 1, 21)
    job.check()


async def test_what_became_of_a_request_is_known_of_so_many(reusing_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job = reusing_job
    monkeypatch.setattr(reusing, "REMEMBERED_MOST", 2)
    job.gateway.reply = lambda body, _n: completion("maybe" if body["model"] == "small" else "yes")
    prompts = [f"question {number % 5}" for number in range(20)]
    job.write([{"prompt": prompt, "temperature": 0, "expect": {"one_of": ["yes"]}} for prompt in prompts])
    assert (await job.run(concurrency=1)).exit_code is ExitCode.OK
    models = [request["model"] for request in job.gateway.requests]
    assert models.count("middle") == 5
    assert models.count("small") > 5
    job.check()


async def test_more_records_wait_than_there_is_room_for(reusing_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job = reusing_job
    monkeypatch.setattr(reusing, "PARKED_MOST", 3)
    go_on = asyncio.Event()

    async def held() -> Any:
        await go_on.wait()
        return completion()

    def reply(body: dict[str, Any], _n: int) -> Any:
        if body["messages"][-1]["content"] == "other":
            go_on.set()
        return held()

    job.gateway.reply = reply
    job.prompts("same", "other", *["same"] * 500)
    assert (await job.run()).exit_code is ExitCode.OK
    assert len(job.gateway.requests) == 2
    job.check()


async def test_a_stop_leaves_those_that_wait_pending_and_the_budget_too(reusing_job: Job) -> None:
    job = reusing_job
    job.settings["run"]["budget"] = "0.0000001"
    job.prompts("same", "same")
    assert (await job.run()).exit_code is ExitCode.BUDGET
    assert job.answers("status") == [("pending",), ("pending",)]
    job.settings["run"]["budget"] = "1"
    assert (await job.run()).exit_code is ExitCode.OK
    assert len(job.gateway.requests) == 1
    job.check()
