"""A gateway that answers as a test says and keeps its own account, and a way to run batchrouter against it."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batchrouter import api
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import InputOptions, RunOptions
from batchrouter.core.settings import Settings
from batchrouter.ports import Observer
from batchrouter.reporting.figures import RunReport
from tests.canary import CANARY

Reply = dict[str, Any] | web.Response | str | None
PRICES = {"small": (10, 40), "middle": (100, 400), "large": (300, 1500)}


def completion(
    content: str | None = "yes", *, finish: str = "stop", tokens: tuple[int, int] = (20, 5), **message: Any
) -> dict[str, Any]:
    """A good answer that counts ``tokens``."""
    return {
        "id": "1",
        "choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
    }


def problem(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: Any) -> web.Response:
    """An error answer in OpenAI's shape."""
    return web.json_response({"error": {"message": message, **error}}, status=status, headers=headers)


@dataclass
class Gateway:
    """``reply(body, n)`` is asked for the n-th request (from 0): a completion, a response, or None: close the connection."""

    reply: Callable[[dict[str, Any], int], Any] = lambda _body, _n: completion()
    requests: list[dict[str, Any]] = field(default_factory=list)
    models_headers: dict[str, str] = field(default_factory=dict)
    paid_nano: int = 0
    base_url: str = ""
    in_flight: int = 0
    most_in_flight: int = 0

    async def list_models(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in PRICES]}, headers=self.models_headers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.requests.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.reply(body, len(self.requests) - 1)
            if asyncio.iscoroutine(reply):
                reply = await reply
        finally:
            self.in_flight -= 1
        if reply is None:
            assert request.transport
            request.transport.close()
            return web.Response()
        if isinstance(reply, web.StreamResponse):
            return reply
        if usage := reply.get("usage"):
            price_in, price_out = PRICES[body["model"]]
            self.paid_nano += 1000 * (usage["prompt_tokens"] * price_in + usage["completion_tokens"] * price_out)
        return web.json_response(reply)

    def prompts(self) -> list[str]:
        """The last message of each request."""
        return [request["messages"][-1]["content"] for request in self.requests]


@asynccontextmanager
async def served() -> AsyncIterator[Gateway]:
    """A gateway that listens on a free port of this machine."""
    one = Gateway()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", one.handle)
    app.router.add_get("/v1/models", one.list_models)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield one
    finally:
        await runner.cleanup()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with served() as one:
        yield one


class Heard(Silent):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, message: str) -> None:
        self.notices.append(message)

    def count(self, part: str) -> int:
        """In how many notices this stands."""
        return sum(part in notice for notice in self.notices)


@dataclass
class Job:
    """An input, a database and settings, run as often as a test likes."""

    folder: Path
    gateway: Gateway
    settings: dict[str, Any]
    input_options: InputOptions = field(default_factory=InputOptions)
    observer: Observer | None = None

    @property
    def input(self) -> Path:
        return self.folder / "in.jsonl"

    @property
    def db(self) -> Path:
        return self.folder / "runs.db"

    def write(self, lines: Iterable[dict[str, Any] | str], *, append: bool = False) -> None:
        """Put lines into the input."""
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        with self.input.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)

    def prompts(self, *prompts: str) -> None:
        """One record for each prompt."""
        self.write({"prompt": prompt} for prompt in prompts)

    async def run(self, **options: Any) -> RunReport:
        """``batchrouter run``, in this process."""
        return await api.run(
            str(self.input),
            db=self.db,
            settings=Settings.model_validate(self.settings),
            input_options=self.input_options,
            options=RunOptions(**options),
            observer=self.observer,
        )

    async def resume(self, run: str = "latest", **options: Any) -> RunReport:
        """``batchrouter resume``."""
        return await api.resume(
            run, db=self.db, settings=Settings.model_validate(self.settings), options=RunOptions(**options)
        )

    def rows(self, sql: str) -> list[Any]:
        """What a person with a shell sees."""
        connection = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def answers(self, columns: str) -> list[Any]:
        """Columns of the view ``answers`` in line order."""
        return self.rows(f"SELECT {columns} FROM answers ORDER BY run, line")

    def check(self) -> None:
        """Every invariant of the database holds."""
        assert [finding.what for finding in api.verify(self.db) if finding.level != "ok"] == []


def job_of(folder: Path, gateway: Gateway) -> Job:
    """A job with three tiers of one model each; its key is expected in ``TEST_KEY``."""
    settings = {
        "gateway": {"base_url": gateway.base_url, "api_key_env": "TEST_KEY"},
        "tier": {
            "simple": {"models": ["small"], "max_output_tokens": 100},
            "medium": {"models": ["middle"], "max_output_tokens": 100},
            "complex": {"models": ["large"], "max_output_tokens": 100},
        },
        "model": {name: {"input": price_in, "output": price_out} for name, (price_in, price_out) in PRICES.items()},
    }
    return Job(folder, gateway, settings)


@pytest.fixture
def job(tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("TEST_KEY", CANARY)
    return job_of(tmp_path, gateway)


def is_judging(body: dict[str, Any]) -> bool:
    return "You compare two answers" in body["messages"][0]["content"]


def answers(body: dict[str, Any], _n: int) -> dict[str, Any]:
    """Models agree on most prompts; the judge (the large model) calls what says `bad` worse and `poor` the same."""
    if is_judging(body):
        pair = json.loads(body["messages"][1]["content"])
        return completion(judged(pair["answer_a"], pair["answer_b"]), tokens=(50, 1))
    number = int(body["messages"][-1]["content"].split()[1])
    if body["model"] != "small":
        return completion(f"good {number}")
    kind = {0: "bad", 1: "poor", 2: "GOOD", 3: "odd", 4: "fine"}.get(number % 10, "good")
    return completion(f"{kind} {number}")


def judged(one: str, other: str) -> str:
    worth = {"bad": 0, "poor": 2, "good": 2, "fine": 3}
    left, right = (worth.get(text.split()[0].lower()) for text in (one, other))
    if left is None or right is None:
        return "who knows"
    return "same" if left == right else "worse" if left < right else "better"


@pytest.fixture
async def done(job: Job) -> Job:
    job.gateway.reply = answers
    job.write({"id": f"r{number}", "prompt": f"number {number}", "task": f"t{number % 3}"} for number in range(60))
    assert (await job.run()).exit_code is ExitCode.OK
    return job
