"""Answers that fail a check are asked for once more where that can help, then tier by tier further up."""

import hashlib
import json
import random
import signal
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from batchrouter.core.errors import ExitCode
from batchrouter.core.settings import Settings
from batchrouter.intake.configuration import load
from tests.acceptance.conftest import Job, completion
from tests.acceptance.test_processes import config, started

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["label", "score"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "rating", "schema": SCHEMA}}
GOOD = json.dumps({"label": "good", "score": 3})
TIERS = ("simple", "medium", "complex")


def share_of(body: dict[str, Any], salt: str) -> float:
    """A number in [0, 1) that belongs to a prompt."""
    text = body["messages"][-1]["content"] + salt
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


async def test_where_the_small_model_fails_a_fifth_all_end_valid_and_the_report_adds_up(job: Job) -> None:
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")

    def reply(body: dict[str, Any], _n: int) -> dict[str, Any]:
        fails = {"small": 0.2, "middle": 0.1, "large": 0.0}[body["model"]]
        wrong = share_of(body, f"{seed} {body['model']}") < fails
        return completion('{"label": "fair"}' if wrong else GOOD, tokens=(30, 12))

    job.gateway.reply = reply
    job.write({"prompt": f"rate {number}", "temperature": 0, "response_format": FORMAT} for number in range(400))
    report = await job.run()
    assert report.exit_code is ExitCode.OK
    assert all(json.loads(answer) == json.loads(GOOD) for (answer,) in job.answers("answer"))
    assert 20 <= job.rows("SELECT count(*) FROM results WHERE escalated_from IS NOT NULL")[0][0] <= 160
    job.check()
    figures_add_up(job, report.summary.as_dict())


def figures_add_up(job: Job, report: dict[str, Any]) -> None:
    """What the report says of escalations, worked out once more from the rows alone."""
    attempts = defaultdict(list)
    for line, tier, cost in job.rows("SELECT line, tier, cost_nano FROM attempts WHERE purpose = 'answer'"):
        attempts[line].append((tier, cost))
    final = dict(job.rows("SELECT line, tier FROM records WHERE state IN ('done', 'failed')"))
    decided = dict(job.rows("SELECT line, tier FROM decisions"))
    passed = Counter(tier for (tier,) in job.rows("SELECT tier FROM records WHERE state = 'done'"))
    up = Counter(tier for line in final for tier in TIERS[TIERS.index(decided[line]) : TIERS.index(final[line])])
    below = sum(cost for line, calls in attempts.items() for tier, cost in calls if tier != final[line])
    said = report["escalations"]
    assert said["records"] == sum(decided[line] != final[line] for line in final)
    assert round(said["cost"] * 10**9) == below
    assert [(one["tier"], one["passed"], one["escalated"]) for one in said["tiers"]] == [
        (tier, passed[tier], up[tier]) for tier in TIERS
    ]
    spent = sum(cost for calls in attempts.values() for _, cost in calls)
    assert round(report["run"]["cost"] * 10**9) == spent == job.gateway.paid_nano
    (baseline,) = job.rows("SELECT sum(baseline_nano) FROM results")[0]
    assert round(said["saved_before"] * 10**9) == baseline - spent + below
    assert round(report["run"]["saved"] * 10**9) == baseline - spent


@pytest.mark.parametrize(
    ("sampling", "models"),
    [
        ({}, ["small", "small", "middle", "middle", "large", "large"]),
        ({"temperature": 0.7}, ["small", "small", "middle", "middle", "large", "large"]),
        ({"temperature": 0}, ["small", "middle", "large"]),
        ({"seed": 7}, ["small", "middle", "large"]),
    ],
)
async def test_a_second_sample_is_tried_where_it_may_differ_and_then_the_next_tier_up_to_the_top(
    job: Job, sampling: dict[str, Any], models: list[str]
) -> None:
    job.gateway.reply = lambda _body, _n: completion("not it")
    job.write([{"prompt": "hi", "expect": {"schema": SCHEMA}, **sampling}])
    assert (await job.run()).exit_code is ExitCode.SOME_FAILED
    assert [body["model"] for body in job.gateway.requests] == models
    assert job.answers("status, tier, answer, error") == [
        ("failed", "complex", "not it", "expect.schema: the answer is not JSON")
    ]
    job.check()


async def test_each_tier_has_its_own_attempts(job: Job) -> None:
    job.settings["run"] = {"max_attempts": 2}
    job.gateway.reply = lambda body, _n: completion("yes" if body["model"] == "large" else "")
    job.prompts("hi")
    assert (await job.run()).exit_code is ExitCode.OK
    assert [body["model"] for body in job.gateway.requests] == ["small", "small", "middle", "middle", "large"]
    job.check()


async def test_a_model_that_cuts_below_our_cap_is_left_for_one_above(job: Job) -> None:
    job.gateway.reply = lambda body, _n: (
        completion("half", finish="length", tokens=(20, 40)) if body["model"] == "small" else completion("whole")
    )
    job.prompts("hi")
    assert (await job.run()).exit_code is ExitCode.OK
    assert [(body["model"], body["max_tokens"]) for body in job.gateway.requests] == [
        ("small", 100),
        ("small", 200),
        ("middle", 100),
    ]
    job.check()


async def test_a_resume_in_the_middle_of_a_cascade_goes_on_where_it_was(job: Job) -> None:
    """``kill -9`` while the second tier is asked: the first is not asked again, the second has its chances still."""
    path = config(job)
    job.write([{"prompt": "hi", "expect": {"one_of": ["yes"]}}])
    process = None

    def reply(body: dict[str, Any], n: int) -> Any:
        if n == 3:
            assert process
            process.send_signal(signal.SIGKILL)
            return None
        return completion("yes" if body["model"] == "large" else "no")

    job.gateway.reply = reply
    process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--config", str(path))
    assert await process.wait() == -signal.SIGKILL
    again = await started(job, "run", "in.jsonl", "--db", "runs.db", "--config", str(path))
    assert await again.wait() == 0
    models = [body["model"] for body in job.gateway.requests]
    assert models == ["small", "small", "middle", "middle", "middle", "large"]
    assert job.answers("status, tier, escalated_from, answer") == [("done", "complex", "simple", "yes")]
    job.check()


async def test_a_budget_that_ends_in_the_middle_leaves_the_record_pending_on_its_tier(job: Job) -> None:
    job.settings["run"] = {"budget": "0.02"}
    job.gateway.reply = lambda _body, _n: completion("no")
    job.write([{"prompt": "hi", "temperature": 0, "expect": {"one_of": ["yes"]}}])
    assert (await job.run()).exit_code is ExitCode.BUDGET
    assert job.answers("status, tier") == [("pending", "medium")]
    job.settings["run"] = {"budget": "2"}
    job.gateway.reply = lambda _body, _n: completion("yes")
    assert (await job.run()).exit_code is ExitCode.OK
    assert [body["model"] for body in job.gateway.requests] == ["small", "middle"]
    job.check()


def configuration(folder: Path, expect: str) -> Path:
    path = folder / "batchrouter.toml"
    path.write_text(f'[task."rating".expect]\n{expect}\n')
    return path


def test_a_schema_may_stand_in_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "rating.json").write_text(json.dumps(SCHEMA))
    settings: Settings = load(configuration(tmp_path, 'schema = "rating.json"'), {})
    expect = settings.task["rating"].expect
    assert expect is not None
    assert expect.schema_ == SCHEMA
    assert settings.fixed_at_intake()["task"]["rating"]["expect"]["schema"] == SCHEMA
    inline = load(configuration(tmp_path, 'schema = { type = "number", maximum = 1.5 }'), {}).task["rating"].expect
    assert inline is not None
    assert inline.schema_ == {"type": "number", "maximum": 1.5}


@pytest.mark.parametrize(
    ("expect", "content", "message"),
    [
        ('schema = "none.json"', "", "task.rating.expect.schema: .*none.json cannot be read"),
        ('schema = "rating.json"', "{", "task.rating.expect.schema: .*rating.json is not JSON"),
        ('schema = "rating.json"', '{"type": "x"}', "task.rating.expect.schema: is not a JSON schema"),
        ("schema = 5", "", "task.rating.expect.schema"),
    ],
)
def test_a_schema_that_is_none_is_told_with_its_place(tmp_path: Path, expect: str, content: str, message: str) -> None:
    (tmp_path / "rating.json").write_text(content)
    with pytest.raises(Exception, match=message) as caught:
        load(configuration(tmp_path, expect), {})
    assert getattr(caught.value, "exit_code", None) == ExitCode.CONFIGURATION


async def test_a_records_own_schema_that_is_none_rejects_its_line(job: Job) -> None:
    job.write([{"prompt": "hi", "expect": {"schema": {"type": "odd"}}}, {"prompt": "hi"}])
    assert (await job.run()).exit_code is ExitCode.SOME_FAILED
    ((status, error), _) = job.answers("status, error")
    assert status == "rejected"
    assert error.startswith("expect.schema: is not a JSON schema")
