"""Limits that nobody configured: a start begins with what the last one found, one limit of several models is shared."""

import asyncio
import os
import signal
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from batchrouter import api
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import ExitCode
from tests.acceptance.conftest import Gateway, Job, completion, problem

LATENCY_S = 0.15
TIERS = {"simple": "small", "medium": "middle", "complex": "large"}


@dataclass
class Limit:
    """At most so many requests in any second and in any minute. ``calls``: (time, whether it was refused)."""

    rpm: int
    calls: list[tuple[float, bool]] = field(default_factory=list)
    _second: deque[float] = field(default_factory=deque)
    _minute: deque[float] = field(default_factory=deque)

    def refuses(self) -> bool:
        now_s = time.monotonic()
        for window, span_s in ((self._second, 1.0), (self._minute, 60.0)):
            while window and window[0] <= now_s - span_s:
                window.popleft()
        refused = len(self._second) >= self.rpm / 60 or len(self._minute) >= self.rpm
        self.calls.append((now_s, refused))
        if not refused:
            self._second.append(now_s)
            self._minute.append(now_s)
        return refused

    @property
    def headers(self) -> dict[str, str]:
        left = {"limit": str(self.rpm), "remaining": str(self.rpm - len(self._minute)), "reset": "60s"}
        return {f"x-ratelimit-{name}-requests": value for name, value in left.items()}

    def refused_within(self, seconds: float) -> int:
        """Refusals that soon after the first call."""
        refused = sum(refused for at_s, refused in self.calls if at_s < self.calls[0][0] + seconds)
        sys.stdout.write(f"{refused} refused within {seconds} s, of {len(self.calls)} calls in all\n")
        return refused


async def answered(limit: Limit, *, announces: bool) -> Any:
    if limit.refuses():
        return problem(429, code="rate_limit_exceeded")
    headers = limit.headers if announces else {}
    await asyncio.sleep(LATENCY_S)
    return web.json_response(completion(), headers=headers)


def prompts(job: Job, records: int, *, of: str = "question", append: bool = False) -> None:
    job.write(({"prompt": f"{of} {n}", "tier": "simple"} for n in range(records)), append=append)


def hidden(gateway: Gateway, rpm: int, *, signal_at: int | None = None) -> Limit:
    """Let the gateway enforce a limit without a word, and the process be told to stop after so many calls."""
    limit = Limit(rpm)

    def reply(_body: dict[str, Any], _n: int) -> Any:
        if len(limit.calls) == signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return answered(limit, announces=False)

    gateway.reply = reply
    return limit


async def test_a_start_begins_with_what_a_run_that_a_signal_stopped_has_found(job: Job) -> None:
    first = hidden(job.gateway, 1_800, signal_at=260)
    prompts(job, 400)
    assert (await job.run()).exit_code is ExitCode.INTERRUPTED
    found = api.report(db=job.db).found_limits["small"]
    assert found["rpm"] == pytest.approx(1_800, rel=0.2)
    assert job.rows("SELECT found_at = finished_at FROM runs") == [(1,)]
    await asyncio.sleep(1.1)
    second = hidden(job.gateway, 1_800)
    assert (await job.resume()).exit_code is ExitCode.OK
    assert first.refused_within(5) >= 5
    assert second.refused_within(5) <= first.refused_within(5) / 4
    job.check()


@pytest.mark.long
async def test_a_new_run_of_the_same_input_begins_with_it_too_unless_it_is_too_old_or_elsewhere(job: Job) -> None:
    first = hidden(job.gateway, 1_800)
    prompts(job, 120)
    assert (await job.run()).exit_code is ExitCode.OK
    refused = []
    for change in ("nothing", "an old finding", "another name"):
        await asyncio.sleep(1.1)
        if change == "an old finding":
            with sqlite3.connect(job.db) as connection:
                connection.execute("UPDATE runs SET found_at = strftime('%Y-%m-%dT%H:%M:%fZ', found_at, '-8 days')")
        elif change == "another name":
            job.settings["model"]["small"]["name"] = "middle"
        limit = hidden(job.gateway, 1_800)
        prompts(job, 120, of=change)
        assert (await job.run()).exit_code is ExitCode.OK
        refused.append(limit.refused_within(5))
    assert first.refused_within(5) >= 5
    assert refused[0] <= first.refused_within(5) / 4
    assert refused[1] >= 5
    assert refused[2] >= 5


async def of_all_tiers(job: Job, limits: dict[str, Limit], records: int) -> None:
    """A run of so many records a tier; each model has its limit, which is announced."""
    job.gateway.reply = lambda body, _n: answered(limits[body["model"]], announces=True)
    job.write({"prompt": f"question {n}", "tier": tier} for n in range(records) for tier in TIERS)
    assert (await job.run()).exit_code is ExitCode.OK


def used(limits: Iterable[Limit], rpm: int) -> float:
    """The share of so many a minute that was used, from five seconds after the first call up to the last."""
    accepted = sorted(at_s for limit in limits for at_s, refused in limit.calls if not refused)
    steady = [at_s for at_s in accepted if at_s >= accepted[0] + 5]
    share = (len(steady) - 1) / (steady[-1] - steady[0]) * 60 / rpm
    sys.stdout.write(f"{share:.2f} of the limit used\n")
    return share


async def test_three_tiers_keep_to_one_limit_of_the_account(job: Job) -> None:
    limit = Limit(2_400)
    await of_all_tiers(job, dict.fromkeys(TIERS.values(), limit), 200)
    assert sum(refused for _, refused in limit.calls) <= 0.02 * len(limit.calls)
    assert used([limit], 2_400) >= 0.6  # 0.99 where nothing else takes the processor
    summary = api.report(db=job.db)
    assert summary.shared_limits == [["large", "middle", "small"]]
    assert {limits["rpm"] for limits in summary.found_limits.values()} == {2_400}
    job.check()


@pytest.mark.long
async def test_equal_limits_of_three_models_are_all_used(job: Job) -> None:
    limits = {model: Limit(1_200) for model in TIERS.values()}
    await of_all_tiers(job, limits, 250)
    calls = [call for limit in limits.values() for call in limit.calls]
    assert sum(refused for _, refused in calls) <= 0.02 * len(calls)
    assert used(limits.values(), 3_600) >= 0.6  # 0.97; a third if they were taken for one
    assert api.report(db=job.db).shared_limits == []


class Failing(Silent):
    """Has a fault that shows when the first call ends."""

    def ended(self, tier: str | None, cost_nano: int | None, *, retried: bool) -> None:
        raise RuntimeError("a fault")


async def test_what_was_found_is_noted_when_a_fault_ends_the_run(job: Job) -> None:
    limit = Limit(6_000)
    job.gateway.reply = lambda _body, _n: answered(limit, announces=True)
    job.observer = Failing()
    prompts(job, 5)
    with pytest.raises(RuntimeError):
        await job.run()
    assert api.report(db=job.db).found_limits == {"small": {"rpm": 6_000}}
