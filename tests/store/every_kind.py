"""A database with a row of every kind, made by real runs against a real gateway, the last of them killed."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from batchrouter import api
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import EvaluationOptions, InputOptions, RetrySelection
from batchrouter.core.settings import Settings
from tests.acceptance.conftest import Gateway, Job, completion, job_of, problem, served

TOOLS = [{"type": "function", "function": {"name": "f"}}]
LINES: list[dict[str, Any] | str] = [
    {"prompt": "cached", "id": "one", "task": "greeting", "metadata": {"row": 7}},
    "this is no record",
    "",
    {"prompt": "refused at first"},
    {"prompt": "refused for ever"},
    {"prompt": "for a larger model"},
    {"prompt": "server"},
    {"prompt": "reset"},
    {"prompt": "uncounted"},
    {"prompt": "needs tools", "tools": TOOLS},
    {"prompt": "too large"},
    {"prompt": "cut"},
    {"prompt": "own cap", "max_tokens": 7, "temperature": 0.5, "expect": {"one_of": ["yes"]}, "tier": "medium"},
    {"prompt": "two choices", "n": 2, "model": "gpt-x"},
    {"prompt": "unexpected", "expect": {"one_of": ["no"]}},
]


class Scenario:
    """What the gateway answers: by the prompt, and by how often it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.mended = False
        self.hanging = asyncio.Event()

    async def reply(self, body: dict[str, Any], _n: int) -> Any:
        if reply := _of_our_own(body):
            return reply
        prompt = body["messages"][-1]["content"]
        before = self.asked[prompt] = self.asked.get(prompt, -1) + 1
        match prompt:
            case "cached":
                await asyncio.sleep(0.02)  # its latency is what is wanted
                return _counted()
            case "refused for ever":
                return problem(422, "not like this")
            case "refused at first" if not self.mended:
                return problem(400, "not like this")
            case "for a larger model" if body["model"] == "small":
                return completion(None, refusal="I cannot")
            case "server" if before == 0:
                return problem(500, headers={"Retry-After": "0"})
            case "plain one" if body["model"] == "middle":
                return completion("indeed")
            case "reset" if before == 0:
                return None
            case "uncounted":
                return {key: value for key, value in completion().items() if key != "usage"}
            case "too large":
                return problem(413, "request too large")
            case "cut" if before == 0:
                return completion("ye", finish="length")
            case "no key":
                return problem(401, "bad key")
            case "hang" | "hang at first" if before == 0:
                self.hanging.set()
                await asyncio.Event().wait()
        return completion()


def _counted() -> dict[str, Any]:
    usage = {
        "prompt_tokens": 90,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    return {**completion("yes, cached"), "usage": usage, "model": "small-2", "id": "id-1"}


async def write_every_kind(folder: Path, *, of_the_first_version: bool = False) -> Path:
    """The database of runs that met everything (that there was at first); nothing has it open when this returns."""
    async with served() as gateway:
        scenario = Scenario()
        gateway.reply = scenario.reply
        job = job_of(folder, gateway)
        job.settings["model"]["small"] |= {"supports": ["json_schema"], "cached_input": 5, "cache_write": 12}
        for model in ("middle", "large"):
            job.settings["model"][model]["supports"] = ["json_schema"]
        await _finished_with_a_second_generation(job, scenario)
        await _finished_with_costs_that_the_gateway_reports(folder, gateway)
        if not of_the_first_version:
            await _routed_by_a_model_reused_and_evaluated(folder, gateway)
        await _stopped_after_a_crash(job, scenario)
        await _killed(job, scenario, "hang")
    return job.db


async def _finished_with_a_second_generation(job: Job, scenario: Scenario) -> None:
    job.write(LINES)
    report = await job.run(name="first")
    assert report.exit_code is ExitCode.SOME_FAILED
    scenario.mended = True
    which = RetrySelection(ids=("line-4", "line-5"))
    await api.retry("first", db=job.db, settings=Settings.model_validate(job.settings), which=which)


async def _finished_with_costs_that_the_gateway_reports(folder: Path, gateway: Gateway) -> None:
    other = job_of(folder, gateway)
    other.settings["gateway"]["trust_reported_cost"] = "USD"
    other.settings["exchange"] = {"USD": "86.40"}
    other.settings["model"]["small"] = {}
    other.settings["run"] = {"keep_requests": "until_done"}
    other.input_options = InputOptions(no_routing=True)
    ordinary, other.gateway.reply = other.gateway.reply, _reported
    other.write({"prompt": f"kept {model}", "model": model} for model in ("small", "middle"))
    assert (await other.run(name="reported", max_failed=None)).exit_code is ExitCode.OK
    other.gateway.reply = ordinary


async def _routed_by_a_model_reused_and_evaluated(folder: Path, gateway: Gateway) -> None:
    other = job_of(folder, gateway)
    other.settings["routing"] = {"router": "llm"}
    other.settings["run"] = {"reuse": "run"}
    other.write([{"prompt": "plain one", "task": "plain"}, {"prompt": "plain one", "task": "plain"}, {"prompt": "odd"}])
    assert (await other.run(name="routed", concurrency=1)).exit_code is ExitCode.OK
    _, end = await api.evaluate(
        "routed",
        db=other.db,
        settings=Settings.model_validate(other.settings),
        options=EvaluationOptions(sample=3, stratify=("task",)),
    )
    assert end.exit_code is ExitCode.OK


def _of_our_own(body: dict[str, Any]) -> dict[str, Any] | None:
    """The reply to a question that is no record's."""
    system = body["messages"][0]["content"]
    if system.startswith("You sort requests"):
        return completion("simple" if "plain" in body["messages"][1]["content"] else "perhaps")
    if system.startswith("You compare two answers"):
        return completion("same")
    return None


def _reported(_body: dict[str, Any], _n: int) -> dict[str, Any]:
    return {**completion(), "usage": {"prompt_tokens": 20, "completion_tokens": 5, "cost": 0.001}}


async def _stopped_after_a_crash(job: Job, scenario: Scenario) -> None:
    await _killed(job, scenario, "hang at first", "no key", "untouched")
    report = await job.resume(concurrency=1)
    assert report.exit_code is ExitCode.ACCESS


async def _killed(job: Job, scenario: Scenario, *prompts: str) -> None:
    """A run whose process dies while a call is open: what its file holds at that moment takes the file's place."""
    scenario.hanging.clear()
    job.prompts(*prompts)
    run = asyncio.create_task(job.run(new=True, concurrency=1, grace_s=0))
    await scenario.hanging.wait()
    left = job.folder / "left.db"
    _copy(job.db, left)
    run.cancel()
    await asyncio.wait([run])
    for beside in ("", "-wal", "-shm"):
        Path(f"{job.db}{beside}").unlink(missing_ok=True)
    left.rename(job.db)


def _copy(source: Path, target: Path) -> None:
    reader, writer = sqlite3.connect(f"file:{source}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        reader.backup(writer)
    finally:
        reader.close()
        writer.close()
