"""A model decides the tier: once a type of request, in a lane of its own, and no decision is paid for twice."""

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.errors import ExitCode, InputUnfit
from batchrouter.core.options import InputOptions, RunOptions
from batchrouter.reporting.decisions import RoutingFigures
from tests.acceptance.conftest import Gateway, Job, completion, problem
from tests.acceptance.test_processes import config, started, until

TYPES = ("alpha", "beta", "gamma", "delta", "epsilon")
TIER_OF = dict(zip(TYPES, ("simple", "medium", "complex", "simple", "medium"), strict=True))


def is_question(body: dict[str, Any]) -> bool:
    return "You sort requests" in body["messages"][0]["content"]


def asked_about(body: dict[str, Any]) -> str:
    return str(json.loads(body["messages"][-1]["content"])["request"])


def says(body: dict[str, Any], _n: int) -> dict[str, Any]:
    """The tier of the type that the request begins with; to anything else, yes."""
    if not is_question(body):
        return completion()
    assert body["model"] == "small"
    assert body["max_tokens"] == 5
    assert body["temperature"] == 0
    return completion(TIER_OF.get(asked_about(body).split()[0], "who knows"), tokens=(100, 1))


@pytest.fixture
def asking(job: Job) -> Job:
    job.settings["routing"] = {"router": "llm"}
    job.gateway.reply = says
    return job


def questions(gateway: Gateway) -> list[str]:
    return [asked_about(body) for body in gateway.requests if is_question(body)]


@pytest.mark.parametrize("concurrency", [1, 7, 500])
async def test_each_type_is_asked_once_at_any_concurrency(asking: Job, concurrency: int) -> None:
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    order = [name for name in TYPES for _ in range(60)]
    random.Random(seed).shuffle(order)
    asking.prompts(*(f"{name} number {place}" for place, name in enumerate(order)))
    report = await asking.run(concurrency=concurrency)
    assert report.exit_code is ExitCode.OK
    assert Counter(question.split()[0] for question in questions(asking.gateway)) == dict.fromkeys(TYPES, 1)
    assert asking.answers("tier") == [(TIER_OF[name],) for name in order]
    routing = report.summary.routing
    assert routing
    assert (routing.asked, routing.cached, routing.fallback, routing.calls) == (5, 295, 0, 5)
    assert round((report.summary.run.cost or 0) * 10**9) == asking.gateway.paid_nano
    assert routing.cost == pytest.approx(5 * (100 * 10 + 1 * 40) / 10**6)
    asking.check()


@pytest.mark.long
async def test_ten_thousand_records_of_forty_types_ask_forty_times(asking: Job) -> None:
    asking.gateway.reply = lambda body, _n: completion("medium" if is_question(body) else "yes")
    asking.write({"task": f"type {number % 40}", "prompt": f"record {number}"} for number in range(10_000))
    report = await asking.run()
    assert report.exit_code is ExitCode.OK
    assert len(questions(asking.gateway)) == 40
    asking.check()


async def test_a_warm_cache_asks_nothing_in_a_new_run_and_says_so(asking: Job) -> None:
    asking.prompts("alpha 1", "gamma 2", "alpha 3")
    await asking.run()
    assert sorted(questions(asking.gateway)) == ["alpha 1", "gamma 2"]
    report = await asking.run(new=True)
    assert len(questions(asking.gateway)) == 2
    routing = report.summary.routing
    assert routing
    assert (routing.asked, routing.cached, routing.calls, routing.cost) == (0, 3, 0, 0.0)
    assert routing.hit_rate_pct == 100.0
    assert asking.answers("tier, route_reason")[3:] == [
        ("simple", "simple: small said so of requests that begin like this one"),
        ("complex", "complex: small said so of requests that begin like this one"),
        ("simple", "simple: small said so of requests that begin like this one"),
    ]
    assert await api.clear_cache(asking.db) == 2
    assert api.cached_decisions(asking.db) == []
    await asking.run(new=True)
    assert len(questions(asking.gateway)) == 4
    asking.check()


async def test_what_is_too_old_is_asked_again(asking: Job) -> None:
    asking.prompts("alpha 1")
    await asking.run()
    asking.settings["routing"]["cache_ttl_days"] = 1e-9
    await asking.run(new=True)
    assert len(questions(asking.gateway)) == 2
    assert len(api.cached_decisions(asking.db)) == 1
    asking.check()


async def test_rows_of_one_template_are_one_type_unless_they_have_tasks(asking: Job) -> None:
    asking.gateway.reply = lambda body, _n: completion("medium" if is_question(body) else "yes")
    asking.write([{"x": "alpha", "kind": ""}, {"x": "beta", "kind": ""}, {"x": "gamma", "kind": ""}])
    asking.input_options = InputOptions(template="Rate {x}")
    await asking.run()
    assert len(questions(asking.gateway)) == 1
    asking.write([{"x": "alpha", "kind": "a"}, {"x": "beta", "kind": "b"}, {"x": "gamma", "kind": "a"}])
    asking.input_options = InputOptions(template="Rate {x}", task_field="kind")
    await asking.run(new=True)
    assert len(questions(asking.gateway)) == 3
    asking.check()


async def test_rules_decide_first_and_hand_over_where_they_are_unsure(asking: Job) -> None:
    asking.settings["routing"]["router"] = ["rules", "llm"]
    asking.write([{"prompt": "debug it"}, {"prompt": "gamma 1"}, {"prompt": "gamma 2", "tier": "simple"}])
    report = await asking.run()
    assert questions(asking.gateway) == ["gamma 1"]
    assert asking.answers("tier, route_reason") == [
        ("complex", "complex: the word 'debug'"),
        ("complex", "complex: small said so"),
        ("simple", "pinned by the record or its task"),
    ]
    assert report.summary.routing
    assert report.summary.routing.asked == 1
    asking.check()


async def test_a_reply_that_is_no_tier_falls_back_once_a_type_and_is_asked_again_the_next_night(asking: Job) -> None:
    asking.prompts("omega 1", "omega 2", "omega 3")
    report = await asking.run(concurrency=1)
    assert len(questions(asking.gateway)) == 1
    assert report.summary.routing
    assert report.summary.routing.fallback == 3
    assert {row[0] for row in asking.answers("tier")} == {"medium"}
    await asking.run(new=True)
    assert len(questions(asking.gateway)) == 2
    asking.check()


async def test_a_question_is_repeated_like_any_call_and_given_up_like_any_call(asking: Job) -> None:
    def reply(body: dict[str, Any], n: int) -> Any:
        if not is_question(body) or n > 5:
            return says(body, n)
        return {0: problem(503), 1: problem(429, headers={"Retry-After": "0"})}.get(n) or says(body, n)

    asking.gateway.reply = reply
    asking.prompts("gamma 1")
    report = await asking.run()
    assert asking.answers("tier, attempts") == [("complex", 1)]
    assert asking.rows("SELECT purpose, state, error_class FROM attempts ORDER BY attempt") == [
        ("classify", "error", "server"),
        ("classify", "error", "overload"),
        ("classify", "ok", None),
        ("answer", "ok", None),
    ]
    assert report.summary.routing
    assert report.summary.routing.calls == 3
    asking.check()


async def test_a_refused_question_falls_back_once_others_were_answered(asking: Job) -> None:
    asking.gateway.reply = lambda body, n: (
        problem(400, "odd") if is_question(body) and "beta" in asked_about(body) else says(body, n)
    )
    asking.prompts("alpha 1", "beta 2")
    report = await asking.run(concurrency=1)
    assert report.exit_code is ExitCode.OK
    assert asking.answers("tier, route_reason")[1] == ("medium", "medium: the fallback, the model gave no answer")
    asking.check()


@pytest.mark.parametrize("status", [400, 404])
async def test_a_model_that_cannot_be_asked_at_all_stops_the_run(asking: Job, status: int) -> None:
    asking.gateway.reply = lambda body, n: problem(status, "temperature") if is_question(body) else says(body, n)
    asking.prompts("alpha 1", "beta 2")
    report = await asking.run()
    assert report.exit_code is ExitCode.CONFIGURATION
    assert "which tier" in report.stop_reason
    assert asking.rows("SELECT count(*) FROM records WHERE state = 'queued' AND tier IS NULL") == [(2,)]
    asking.check()
    asking.gateway.reply = says
    report = await asking.run()
    assert report.exit_code is ExitCode.OK
    assert asking.answers("tier") == [("simple",), ("medium",)]
    asking.check()


async def test_questions_keep_to_the_budget(asking: Job) -> None:
    asking.settings["run"] = {"budget": "0.0000001"}
    asking.prompts("alpha 1", "alpha 2", "beta 3")
    report = await asking.run()
    assert report.exit_code is ExitCode.BUDGET
    assert asking.gateway.requests == []
    asking.check()
    asking.settings["run"] = {"budget": "10"}
    assert (await asking.run()).exit_code is ExitCode.OK
    asking.check()


async def test_other_tiers_are_answered_while_a_question_is_open(asking: Job) -> None:
    answered = asyncio.Event()

    async def slowly(body: dict[str, Any]) -> Any:
        await asyncio.wait_for(answered.wait(), 30)  # ends only if the other record does not wait for this question
        return says(body, 0)

    def reply(body: dict[str, Any], n: int) -> Any:
        if is_question(body):
            return slowly(body) if "alpha" in asked_about(body) else says(body, n)
        answered.set()
        return completion()

    asking.gateway.reply = reply
    asking.prompts("alpha 1", "beta 2")
    assert (await asking.run()).exit_code is ExitCode.OK
    asking.check()


async def test_the_routing_is_fixed_at_intake_but_not_how_long_decisions_are_remembered(asking: Job) -> None:
    asking.prompts("alpha 1", "beta 2")
    await asking.run(limit=1)
    asking.settings["routing"] = {"router": "llm", "fallback": "complex"}
    with pytest.raises(InputUnfit, match=r"routing\.fallback"):
        await asking.run()
    asking.settings["routing"] = {"router": "llm", "cache_ttl_days": 1}
    assert (await asking.run()).exit_code is ExitCode.OK


async def test_nothing_is_asked_twice_after_a_kill_but_what_was_in_flight(asking: Job) -> None:
    """``kill -9`` with some questions answered and others open: only the open ones are asked again, and said so."""
    some_open, go_on = asyncio.Event(), asyncio.Event()

    async def held(body: dict[str, Any]) -> Any:
        some_open.set()
        await go_on.wait()
        return says(body, 0)

    def reply(body: dict[str, Any], n: int) -> Any:
        if is_question(body) and asked_about(body).startswith(("delta", "epsilon")):
            return held(body)
        return says(body, n)

    asking.gateway.reply = reply
    path = config(asking)
    path.write_text('[routing]\nrouter = "llm"\n' + path.read_text())
    asking.prompts(*(f"{name} {number}" for number in range(20) for name in TYPES))
    process = await started(asking, "run", "in.jsonl", "--db", "runs.db")
    await until(some_open, process)
    while (
        len(asking.rows("SELECT 1 FROM decisions")) < 60
        or len(asking.rows("SELECT 1 FROM attempts WHERE state = 'open'")) < 2
    ):
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    go_on.set()
    asking.gateway.reply = says
    before = questions(asking.gateway)
    process = await started(asking, "run", "in.jsonl", "--db", "runs.db")
    assert await process.wait() == 0
    asked_again = [question.split()[0] for question in questions(asking.gateway)[len(before) :]]
    assert sorted(asked_again) == ["delta", "epsilon"]
    assert Counter(question.split()[0] for question in before) == dict.fromkeys(TYPES, 1)
    assert asking.rows("SELECT count(*) FROM attempts WHERE purpose = 'classify' AND state = 'unknown'") == [(2,)]
    assert asking.answers("tier") == [(TIER_OF[name],) for _ in range(20) for name in TYPES]
    asking.check()


async def test_on_the_sample_tickets_with_the_demo_gateway_a_cold_cache_asks_once_a_type_and_a_warm_one_never(
    tmp_path: Path,
) -> None:
    source = Path(__file__).parents[2] / "sample_inputs" / "tickets.jsonl"
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    open_lines = [line for line in lines if "tier" not in line]
    tasks = {line["task"] for line in open_lines if line.get("task")}
    others = [line for line in open_lines if not line.get("task")]
    settings = api.load_settings(router=["llm"])

    async def routed(**options: bool) -> RoutingFigures:
        report = await api.run(
            str(source), db=tmp_path / "demo.db", settings=settings, options=RunOptions(demo=True, **options)
        )
        assert report.exit_code is ExitCode.OK
        assert report.summary.routing is not None
        return report.summary.routing

    cold = await routed()
    assert cold.calls == cold.asked == len(tasks) + len(others)  # no two of the others begin alike
    assert cold.fallback == 0
    assert cold.asked + cold.cached == len(open_lines)
    warm = await routed(new=True)
    assert (warm.calls, warm.asked, warm.cached, warm.hit_rate_pct) == (0, 0, len(open_lines), 100.0)
