"""The retry table seen from outside: requests made, states, exit codes, money."""

import asyncio
import io
import json
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from batchrouter import api
from batchrouter.core.errors import WrongUsage
from batchrouter.core.health import OUTAGE_AFTER_FAILURES
from batchrouter.core.options import RetrySelection, RunOptions
from batchrouter.core.settings import Settings
from batchrouter.reporting import terminal
from tests.acceptance.conftest import Heard, Job, completion, problem

LATER = {"Retry-After": "0"}


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once: the times themselves are tested as values."""
    monkeypatch.setattr("batchrouter.core.retry.BACKOFF_BASE_S", 0.0)
    monkeypatch.setattr("batchrouter.engine.model.PAUSE_FIRST_S", 0.0)
    monkeypatch.setattr("batchrouter.engine.gate.TRIAL_EVERY_S", 0.0)


def first_then(first: Any, times: int = 1) -> Any:
    """``first`` so many times, then a good answer."""
    return lambda _body, n: (first() if callable(first) else first) if n < times else completion()


@pytest.mark.parametrize(
    ("trouble", "times", "requests"),
    [
        (lambda: problem(500), 3, 4),
        (lambda: problem(503, headers=LATER), 1, 2),
        (lambda: problem(529), 8, 9),
        (lambda: problem(429, headers=LATER), 30, 31),
        (lambda: problem(408), 2, 3),
        (lambda: web.Response(text="<html>hello"), 1, 2),
        (lambda: completion(""), 1, 2),
        (lambda: None, 2, 3),
    ],
)
async def test_what_passes_is_tried_again(job: Job, trouble: Any, times: int, requests: int) -> None:
    job.gateway.reply = first_then(trouble, times)
    job.prompts("hi")
    assert (await job.run()).exit_code == 0
    assert len(job.gateway.requests) == requests
    assert job.answers("status, attempts") == [("done", requests)]
    job.check()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (problem, 422),
        (problem, 400),
        (problem, 418),
    ],
)
async def test_what_cannot_help_is_not_tried_again(job: Job, reply: Any, error: int) -> None:
    job.gateway.reply = lambda _body, _n: reply(error, "not like this")
    job.prompts("hi")
    assert (await job.run()).exit_code == 3
    assert len(job.gateway.requests) == 1
    assert job.answers("status, error") == [("failed", f"{error}: not like this")]
    job.check()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (lambda: problem(401, "bad key"), 77),
        (lambda: problem(402, "pay"), 77),
        (lambda: problem(429, "quota", code="insufficient_quota"), 77),
        (lambda: web.Response(status=308, headers={"Location": "https://elsewhere.example"}), 78),
    ],
)
async def test_what_concerns_all_records_stops_the_run_with_nothing_failed(job: Job, reply: Any, code: int) -> None:
    job.gateway.reply = lambda _body, _n: reply()
    job.prompts(*(f"{n}" for n in range(200)))
    assert (await job.run(concurrency=4)).exit_code == code
    assert len(job.gateway.requests) <= 4
    assert set(job.answers("status")) == {("pending",)}
    job.gateway.reply = lambda _body, _n: completion()
    assert (await job.run()).exit_code == 0
    job.check()


async def test_an_unknown_model_gives_way_to_the_tiers_next(job: Job) -> None:
    job.gateway.reply = lambda body, _n: (
        problem(404, code="model_not_found") if body["model"] == "small" else completion()
    )
    job.settings["tier"]["simple"]["models"] = ["small", "middle"]
    job.prompts("a", "b", "c")
    assert (await job.run(concurrency=1)).exit_code == 0
    assert [body["model"] for body in job.gateway.requests] == ["small", "middle", "middle", "middle"]
    job.check()


async def test_no_known_model_left_is_a_matter_of_configuration(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: problem(404, code="model_not_found")
    job.prompts("a")
    assert (await job.run()).exit_code == 78
    assert job.answers("status") == [("pending",)]


async def test_refusals_that_are_all_alike_stop_the_run_and_fail_nobody(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: problem(400, "unknown parameter: max_tokens")
    job.prompts(*(f"{n}" for n in range(60)))
    assert (await job.run(concurrency=1)).exit_code == 78
    assert len(job.gateway.requests) == 20
    assert set(job.answers("status")) == {("pending",)}
    job.gateway.reply = lambda _body, _n: completion()
    assert (await job.run()).exit_code == 0
    job.check()


async def test_refusals_that_are_all_alike_fail_nobody_when_all_records_are_in_flight(job: Job) -> None:
    all_here, requests = asyncio.Event(), 40

    async def refused(_body: Any, n: int) -> web.Response:
        if n == requests - 1:
            all_here.set()
        await all_here.wait()
        return problem(400, "unknown parameter: max_tokens")

    job.gateway.reply = refused
    job.settings["model"]["small"]["concurrency"] = requests
    job.prompts(*(f"{n}" for n in range(requests)))
    assert (await job.run()).exit_code == 78
    assert set(job.answers("status")) == {("pending",)}
    job.check()


async def test_a_few_bad_records_fail_and_the_rest_is_done(job: Job) -> None:
    job.gateway.reply = lambda body, _n: problem(400) if "bad" in body["messages"][0]["content"] else completion()
    job.prompts(*["bad"] * 5, *["good"] * 5)
    assert (await job.run(concurrency=1)).exit_code == 3
    assert job.answers("status") == [("failed",)] * 5 + [("done",)] * 5
    job.check()


def two_models(job: Job, **gateway: Any) -> None:
    job.settings["tier"]["simple"]["models"] = ["small", "middle"]
    job.settings["model"]["small"]["concurrency"] = 20
    job.settings["gateway"] |= gateway


def asked(job: Job, model: str) -> int:
    return sum(body["model"] == model for body in job.gateway.requests)


async def test_calls_that_wait_out_a_pause_go_to_the_next_model_when_the_first_goes_down(job: Job) -> None:
    two_models(job)

    async def reply(body: Any, _n: int) -> Any:
        if body["model"] == "middle":
            return completion()
        return problem(429, headers={"Retry-After": "1"}) if asked(job, "small") <= 8 else problem(503)

    job.gateway.reply = reply
    job.prompts(*(f"{n}" for n in range(300)))
    assert (await job.run()).exit_code == 0
    assert asked(job, "middle") == 300
    job.check()


@pytest.mark.parametrize("retry_after", ["1", "3600"])
async def test_a_model_that_refuses_for_longer_than_its_patience_leaves_all_to_the_next(
    job: Job, monkeypatch: pytest.MonkeyPatch, retry_after: str
) -> None:
    monkeypatch.setattr("batchrouter.core.retry.RETRY_AFTER_MOST_S", 0.0)
    two_models(job, patience_s=1)
    job.gateway.reply = lambda body, _n: (
        problem(429, headers={"Retry-After": retry_after}) if body["model"] == "small" else completion()
    )
    job.prompts(*(f"{n}" for n in range(100)))
    assert (await job.run()).exit_code == 0
    assert asked(job, "middle") == 100
    job.check()


async def test_a_model_that_waits_for_tokens_leaves_the_calls_of_all_to_the_others(job: Job) -> None:
    job.settings["model"]["small"] |= {"tpm": 600, "concurrency": 16}
    all_large = asyncio.Event()

    def reply(_body: Any, _n: int) -> Any:
        if asked(job, "large") == 100:
            all_large.set()
        return completion(tokens=(200, 100))

    job.gateway.reply = reply
    slow = ({"prompt": f"s{n} " + "x" * 400, "tier": "simple"} for n in range(20))
    job.write([*slow, *({"prompt": f"c{n}", "tier": "complex"} for n in range(100))])
    running = asyncio.create_task(job.run(concurrency=4))
    await all_large.wait()
    assert asked(job, "small") <= 2
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_gateway_that_answers_rubbish_is_not_paid_for_ever(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: web.Response(text="<html>")
    job.prompts(*(f"{n}" for n in range(500)))
    report = await job.run(concurrency=2)
    assert report.exit_code == 69
    assert len(job.gateway.requests) <= 55
    assert report.summary.run.wasted == report.summary.run.cost != 0
    job.check()


async def test_empty_answers_count_as_rubbish_too(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: completion("")
    job.prompts(*(f"{n}" for n in range(500)))
    report = await job.run(concurrency=2)
    assert report.exit_code == 69
    assert len(job.gateway.requests) <= 55
    assert report.summary.run.done == 0
    job.check()


async def test_an_outage_fails_no_record_however_often_the_run_is_started(job: Job) -> None:
    job.settings["gateway"]["patience_s"] = 0.5
    job.gateway.reply = lambda _body, _n: problem(503)
    job.prompts(*(f"{n}" for n in range(30)))
    for _ in range(8):
        assert (await job.run()).exit_code == 69
        assert set(job.answers("status")) == {("pending",)}
    job.gateway.reply = lambda _body, _n: completion()
    assert (await job.run()).exit_code == 0
    job.check()


async def test_while_the_first_model_is_down_the_tiers_next_does_all_the_work(job: Job) -> None:
    job.settings["gateway"]["patience_s"] = 2
    job.settings["tier"]["simple"]["models"] = ["small", "middle"]
    job.gateway.reply = lambda body, n: problem(503) if n >= 40 and body["model"] == "small" else completion()
    job.prompts(*(f"{n}" for n in range(900)))
    assert (await job.run()).exit_code == 0
    assert set(job.answers("status")) == {("done",)}
    job.check()


async def test_a_gateway_that_falls_silent_is_told_and_that_it_answers_again(job: Job) -> None:
    job.observer = heard = Heard()
    job.gateway.reply = lambda _body, n: problem(503) if n < OUTAGE_AFTER_FAILURES else completion()
    job.prompts(*(f"{n}" for n in range(40)))
    assert (await job.run()).exit_code == 0
    assert heard.count("small: no answer from the gateway, waiting up to patience_s = 900: 503") == 1
    assert heard.count("small: the gateway answers again") == 1
    job.check()


async def test_an_outage_longer_than_the_patience_leaves_every_record_pending(job: Job) -> None:
    job.settings["gateway"]["patience_s"] = 1.5
    job.settings["run"] = {"max_attempts": 3}
    job.gateway.reply = lambda _body, _n: problem(503)
    job.prompts("a", "b", "c", "d")
    assert (await job.run()).exit_code == 69
    assert len(job.gateway.requests) > 4 * 3
    assert set(job.answers("status")) == {("pending",)}
    job.gateway.reply = lambda _body, _n: completion()
    assert (await job.run()).exit_code == 0
    job.check()


async def test_a_wish_to_wait_longer_than_the_patience_is_said_as_such_and_once(job: Job) -> None:
    job.observer = heard = Heard()
    job.settings["gateway"]["patience_s"] = 8
    job.settings["model"]["small"]["concurrency"] = 8
    all_in_flight = asyncio.Event()

    async def much_later(_body: Any, n: int) -> web.Response:
        if n == 7:
            all_in_flight.set()
        await all_in_flight.wait()
        return problem(429, "slow down", {"Retry-After": "3600"})

    job.gateway.reply = much_later
    job.prompts(*(f"{n}" for n in range(8)))
    report = await job.run()
    assert report.exit_code == 69
    assert report.stop_reason == ("small: the gateway asks to wait 3,600 s, longer than patience_s = 8: 429: slow down")
    assert heard.count("small: rate limited, pausing 3,600 s") == heard.count("pausing") == 1
    assert set(job.answers("status")) == {("pending",)}


async def test_refusals_for_longer_than_the_patience_are_not_called_silence(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchrouter.engine.model.SILENCE_S", 0.1)
    job.observer = heard = Heard()
    job.settings["gateway"]["patience_s"] = 0.3
    job.gateway.reply = lambda _body, _n: problem(429, "slow down", LATER)
    job.prompts("a", "b")
    report = await job.run()
    assert report.exit_code == 69
    assert report.stop_reason == "small: the gateway keeps refusing, for longer than patience_s = 0.3: 429: slow down"
    assert heard.count("no answer") == 0


async def test_a_record_that_alone_gets_no_answer_fails_when_its_attempts_are_used(job: Job) -> None:
    job.gateway.reply = lambda body, _n: problem(500) if "poison" in body["messages"][0]["content"] else completion()
    job.prompts("a", "poison", "c")
    assert (await job.run()).exit_code == 3
    assert job.answers("status, attempts") == [("done", 1), ("failed", 5), ("done", 1)]
    job.check()


async def test_nobody_at_the_address_is_no_attempt_used_and_69(job: Job) -> None:
    job.settings["gateway"] |= {"base_url": "http://127.0.0.1:1", "patience_s": 0.3}
    job.prompts("a", "b")
    report = await job.run()
    assert report.exit_code == 69
    assert job.answers("status, cost_nano") == [("pending", 0), ("pending", 0)]
    assert report.summary.run.unknown_calls == 0
    job.check()


async def test_a_record_too_long_goes_to_a_tier_with_room(job: Job) -> None:
    job.settings["model"]["small"]["context"] = 50
    job.settings["model"]["middle"]["context"] = 50
    job.write([{"prompt": "x" * 400, "max_tokens": 5}])
    assert (await job.run()).exit_code == 0
    assert [body["model"] for body in job.gateway.requests] == ["large"]
    assert job.answers("tier, escalated_from") == [("complex", "simple")]
    job.check()


async def test_a_record_that_no_model_can_take_fails_without_a_call(job: Job) -> None:
    for model in job.settings["model"].values():
        model["supports"] = ["vision"]
    job.write([{"prompt": "hi", "tools": [{"type": "function", "function": {"name": "f"}}]}])
    assert (await job.run()).exit_code == 3
    assert job.gateway.requests == []
    job.check()


async def test_the_gateways_word_that_a_record_is_too_large_moves_it_up(job: Job) -> None:
    job.gateway.reply = lambda body, _n: (
        problem(400, code="context_length_exceeded") if body["model"] != "large" else completion()
    )
    job.prompts("hi")
    assert (await job.run()).exit_code == 0
    assert [body["model"] for body in job.gateway.requests] == ["small", "middle", "large"]
    job.check()


@pytest.mark.parametrize(
    "reply",
    [
        lambda: completion(None, refusal="I cannot"),
        lambda: completion("", finish="content_filter"),
        lambda: problem(400, code="content_filter"),
    ],
)
async def test_a_refusal_goes_up_tier_by_tier_to_the_top_and_the_last_answer_is_kept(job: Job, reply: Any) -> None:
    job.gateway.reply = lambda body, _n: completion("done", tokens=(10, 1)) if body["model"] == "middle" else reply()
    job.prompts("hi")
    assert (await job.run()).exit_code == 0
    assert job.answers("status, tier, escalated_from, attempts") == [("done", "medium", "simple", 2)]
    job.gateway.reply = lambda _body, _n: reply()
    job.prompts("other")
    assert (await job.run()).exit_code == 3
    assert job.answers("status, tier, attempts")[-1] == ("failed", "complex", 3)
    job.check()


async def test_escalation_can_be_turned_off(job: Job) -> None:
    job.settings["routing"] = {"escalate": False}
    job.gateway.reply = lambda _body, _n: completion(None, refusal="I cannot")
    job.prompts("hi")
    assert (await job.run()).exit_code == 3
    assert len(job.gateway.requests) == 1


async def test_our_own_cap_is_raised_once_and_a_records_own_is_meant(job: Job) -> None:
    def cut_at(body: dict[str, Any], _n: int) -> dict[str, Any]:
        return completion("half", finish="length") if body["max_tokens"] <= 100 else completion("whole")

    job.gateway.reply = cut_at
    job.write([{"prompt": "hi"}, {"prompt": "hi", "max_tokens": 1}])
    assert (await job.run(concurrency=1)).exit_code == 0
    assert [body["max_tokens"] for body in job.gateway.requests] == [100, 200, 1]
    assert job.answers("answer, attempts") == [("whole", 2), ("half", 1)]
    job.gateway.reply = lambda body, _n: completion("half", finish="length", tokens=(20, body["max_tokens"]))
    job.prompts("again")
    assert (await job.run()).exit_code == 3
    assert job.answers("status, answer, attempts")[-1] == ("failed", "half", 2)
    job.check()


async def test_expectations_of_a_record_are_checked(job: Job) -> None:
    job.gateway.reply = lambda body, _n: completion("maybe" if body["model"] == "small" else "yes")
    job.write([{"prompt": "hi", "expect": {"one_of": ["yes", "no"]}}])
    assert (await job.run()).exit_code == 0
    assert job.answers("tier, answer") == [("medium", "yes")]
    assert all("expect" not in json.dumps(body) for body in job.gateway.requests)


async def test_a_lost_answer_is_repeated_once_and_shown_as_possibly_paid(job: Job) -> None:
    job.settings["gateway"]["timeout_s"] = 0.2

    async def hang() -> None:
        await asyncio.Event().wait()

    job.gateway.reply = lambda _body, n: hang() if n == 0 else completion()
    job.prompts("hi")
    report = await job.run()
    assert report.exit_code == 0
    run = report.summary.run
    assert run.unknown_calls == 1
    assert run.unknown_cost is not None
    assert run.unknown_cost > (run.cost or 0)
    job.check()


async def test_without_usage_the_worst_case_is_charged_and_flagged(job: Job) -> None:
    reply = completion()
    del reply["usage"]
    job.gateway.reply = lambda _body, _n: reply
    job.prompts("hi")
    report = await job.run()
    assert job.rows("SELECT cost_source, cost_nano = reserved_nano FROM attempts") == [("reserved", 1)]
    assert report.summary.run.baseline is None
    job.check()


async def test_a_cost_that_no_answer_told_is_called_the_worst_case(job: Job) -> None:
    silent = completion()
    del silent["usage"]
    job.gateway.reply = lambda _body, n: silent if n < 40 else completion()
    job.prompts(*(f"question {n}" for n in range(60)))
    summary = (await job.run()).summary
    assert summary.worst_case
    assert summary.worst_case.calls == 40
    charged, measured = job.rows("SELECT sum(cost) FROM daily_cost GROUP BY cost_source ORDER BY cost_source")
    assert summary.worst_case.cost == pytest.approx(charged[0])
    assert summary.run.cost == pytest.approx(charged[0] + measured[0])
    text = io.StringIO()
    terminal.print_summary(summary, text, job.db)
    cost = terminal.money(summary.worst_case.cost, summary.run.currency)
    assert f"of it {cost} at the worst case: 40 calls without usage\n" in text.getvalue()
    job.check()


async def test_retry_does_failed_records_again_as_a_new_generation(job: Job) -> None:
    job.gateway.reply = lambda body, _n: problem(422) if "bad" in body["messages"][0]["content"] else completion()
    job.prompts("good", "bad")
    assert (await job.run()).exit_code == 3
    job.gateway.reply = lambda _body, _n: completion("now")
    settings = Settings.model_validate(job.settings)
    queued, report = await api.retry("latest", db=job.db, settings=settings, which=RetrySelection(tasks=("none",)))
    assert (queued, report) == (0, None)
    queued, report = await api.retry("latest", db=job.db, settings=settings)
    assert (queued, report.exit_code if report else None) == (1, 0)
    assert job.answers("status, answer, attempts") == [("done", "yes", 1), ("done", "now", 2)]
    assert job.rows("SELECT generation, state FROM results WHERE line = 2") == [(1, "failed"), (2, "done")]
    job.check()


async def test_a_retry_of_a_few_leaves_all_other_answers(job: Job) -> None:
    job.prompts(*(f"{n}" for n in range(10)))
    assert (await job.run()).exit_code == 0
    job.gateway.reply = lambda _body, _n: completion("now")
    settings, which = Settings.model_validate(job.settings), RetrySelection(("done",))
    queued, report = await api.retry(1, db=job.db, settings=settings, which=which, options=RunOptions(limit=3))
    assert (queued, report.exit_code if report else None) == (3, 0)
    assert job.answers("answer") == [("now",)] * 3 + [("yes",)] * 7
    job.check()


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (
            RetrySelection(error_classes=("bad_request", "sever")),
            "--error sever: there is no such name, did you mean 'server'?",
        ),
        (RetrySelection(tier="smiple"), "--tier smiple: there is no such name, did you mean 'simple'?"),
        (RetrySelection(tier="foo"), "--tier foo: there is no such name"),
    ],
)
async def test_retry_refuses_names_that_there_are_not(job: Job, which: RetrySelection, said: str) -> None:
    job.gateway.reply = lambda _body, _n: problem(422)
    job.prompts("bad")
    assert (await job.run()).exit_code == 3
    settings = Settings.model_validate(job.settings)
    with pytest.raises(WrongUsage) as refused:
        await api.retry("latest", db=job.db, settings=settings, which=which)
    assert refused.value.message == said
    assert "bad_request" in refused.value.hint or "simple, medium, complex" in refused.value.hint
    right = RetrySelection(error_classes=("bad_request",), tier="simple")
    assert await api.retry("latest", db=job.db, settings=settings, which=right, queue_only=True) == (1, None)


async def test_reported_costs_are_taken_where_they_are_trusted(job: Job) -> None:
    job.gateway.reply = lambda _body, _n: {
        **completion(),
        "usage": {"prompt_tokens": 20, "completion_tokens": 5, "cost": 0.001},
    }
    job.settings["gateway"]["trust_reported_cost"] = "USD"
    job.settings["exchange"] = {"USD": "86.40"}
    job.settings["model"]["small"] = {}
    job.prompts("hi")
    assert (await job.run()).exit_code == 0
    assert job.rows("SELECT cost_nano, cost_source, reserved_nano FROM attempts") == [(86_400_000, "gateway", None)]
    job.check()


@pytest.mark.parametrize(
    ("message", "doubted"), [("Unknown request URL", "base_url"), ("No such thing as small", "[model] table")]
)
async def test_a_gateway_that_finds_nothing_is_quoted_and_its_address_doubted_where_it_names_no_model(
    job: Job, message: str, doubted: str
) -> None:
    job.gateway.reply = lambda _body, _n: problem(404, message)
    job.prompts("hello")
    report = await job.run()
    assert report.exit_code == 78
    assert report.stop_reason == f"tier 'simple': no usable model: small; small: 404: {message}"
    assert doubted in report.hint
    assert (job.gateway.base_url in report.hint) == (doubted == "base_url")
    assert job.answers("status") == [("pending",)]
