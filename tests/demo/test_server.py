"""The demo gateway over real HTTP: keys, errors, limits, faults, and a ledger that is written before the answer."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batchrouter.demo import DemoGateway, DemoModel, Faults, ModelTotals, banner
from tests.canary import CANARY

PROMPT = "Classify as billing, technical or other: charged twice"
BODY = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}


class Reply:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str | None]:
        assert self.json["error"].keys() == {"message", "type", "param", "code"}
        return self.status, self.json["error"]["type"], self.json["error"]["code"]


async def ask(client: aiohttp.ClientSession, gateway: DemoGateway, body: Any = BODY, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client.post(f"{gateway.base_url}/chat/completions", data=io.BytesIO(data), headers=headers) as response:
        return Reply(response, await response.read())


async def test_an_answer_has_the_shape_of_the_protocol_and_says_that_it_is_simulated(
    client: aiohttp.ClientSession,
) -> None:
    async with DemoGateway() as gateway:
        reply = await ask(client, gateway)
    assert reply.status == 200
    assert reply.headers["x-demo-gateway"] == "simulated"
    assert reply.headers["Content-Type"] == "application/json"
    assert not [name for name in reply.headers if name.lower().startswith("x-ratelimit")]
    value = reply.json
    assert (value["object"], value["model"], value["system_fingerprint"]) == ("chat.completion", "m", "demo")
    choice = value["choices"][0]
    assert choice["message"]["content"] in {"billing", "technical", "other"}
    assert choice["finish_reason"] == "stop"
    usage = value["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}


async def test_the_same_seed_gives_the_same_answer_in_another_gateway(client: aiohttp.ClientSession) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Write a note on late parcels. " * 5}], "n": 2}
    replies = []
    for seed in (5, 5, 6):
        async with DemoGateway(seed=seed) as gateway:
            replies.append((await ask(client, gateway, body)).json)
    assert replies[0]["choices"] == replies[1]["choices"] != replies[2]["choices"]
    assert replies[0]["usage"] == replies[1]["usage"]
    assert len({reply["id"] for reply in replies}) == 3


async def test_a_configured_key_is_asked_for(client: aiohttp.ClientSession) -> None:
    async with DemoGateway(key=CANARY) as gateway:
        assert (await ask(client, gateway)).error == (401, "invalid_request_error", "invalid_api_key")
        assert (await ask(client, gateway, Authorization="Bearer sk-other")).status == 401
        assert (await ask(client, gateway, Authorization=f"Bearer {CANARY}")).status == 200
        assert (await ask(client, gateway, **{"api-key": CANARY})).status == 200
        async with client.get(f"{gateway.base_url}/models") as response:
            assert response.status == 401
        assert gateway.ledger.total.requests == 2


async def test_without_a_configured_key_any_or_none_will_do(client: aiohttp.ClientSession) -> None:
    async with DemoGateway() as gateway:
        assert (await ask(client, gateway)).status == 200
        assert (await ask(client, gateway, Authorization="Bearer whatever")).status == 200


async def test_models_are_listed_and_others_not_found(client: aiohttp.ClientSession) -> None:
    async with DemoGateway([DemoModel("small"), DemoModel("large")]) as gateway:
        async with client.get(f"{gateway.base_url}/models") as response:
            listed = await response.json()
        assert (await ask(client, gateway)).error == (404, "invalid_request_error", "model_not_found")
        assert (await ask(client, gateway, {**BODY, "model": "small"})).status == 200
    assert [model["id"] for model in listed["data"]] == ["small", "large"]
    async with DemoGateway() as gateway, client.get(f"{gateway.base_url}/models") as response:
        assert "openai/gpt-4o-mini" in {model["id"] for model in (await response.json())["data"]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        ({"messages": BODY["messages"]}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": ["hello"]}, "messages[0].role"),
        ({"model": "m", "messages": [{"content": "hello"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content"),
        ({**BODY, "stream": True}, "stream"),
        ({**BODY, "n": 0}, "n"),
        ({**BODY, "max_tokens": "9"}, "max_tokens"),
        ({**BODY, "max_tokens": True}, "max_tokens"),
        ({**BODY, "max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({**BODY, "response_format": {"type": "yaml"}}, "response_format.type"),
        ({**BODY, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {
                **BODY,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"type": "object", "required": 3}},
                },
            },
            "response_format.json_schema.schema",
        ),
        ({**BODY, "tool_choice": "required"}, "tool_choice"),
    ],
)
async def test_malformed_bodies_are_refused_and_not_counted(
    client: aiohttp.ClientSession, body: Any, param: str | None
) -> None:
    async with DemoGateway() as gateway:
        reply = await ask(client, gateway, body)
        assert reply.error[:2] == (400, "invalid_request_error")
        assert reply.json["error"]["param"] == param
        assert gateway.ledger.total.paid_calls == 0


async def test_other_paths_and_methods_are_refused(client: aiohttp.ClientSession) -> None:
    async with DemoGateway() as gateway:
        async with client.post(f"{gateway.base_url}/embeddings", json={}) as response:
            assert Reply(response, await response.read()).error == (404, "invalid_request_error", "unknown_url")
        async with client.get(f"{gateway.base_url}/chat/completions") as response:
            assert response.status == 405


async def test_bodies_of_several_megabytes_are_taken(client: aiohttp.ClientSession) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "parcel " * 600_000}]}
    async with DemoGateway() as gateway:
        reply = await ask(client, gateway, body)
    assert reply.json["usage"]["prompt_tokens"] == 3 + 4 + 1_050_000


async def test_requests_above_the_rate_limit_get_429_with_the_time_to_wait(client: aiohttp.ClientSession) -> None:
    async with DemoGateway([DemoModel("m", rpm=2), DemoModel("free")]) as gateway:
        first, second, third = [await ask(client, gateway) for _ in range(3)]
        other = await ask(client, gateway, {**BODY, "model": "free"})
    assert (first.status, second.status, other.status) == (200, 200, 200)
    assert third.error == (429, "requests", "rate_limit_exceeded")
    assert 1 <= int(third.headers["retry-after"]) <= 60
    remaining = [reply.headers["x-ratelimit-remaining-requests"] for reply in (first, second, third)]
    assert remaining == ["1", "0", "0"]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert "x-ratelimit-limit-tokens" not in first.headers
    assert "x-ratelimit-limit-requests" not in other.headers
    assert gateway.ledger.totals["m"] == ModelTotals(3, 2, *_sums([first, second]))


async def test_a_request_larger_than_the_token_limit_is_told_so(client: aiohttp.ClientSession) -> None:
    async with DemoGateway(tpm=100) as gateway:
        reply = await ask(client, gateway, {"model": "m", "messages": [{"role": "user", "content": "parcel " * 100}]})
    assert reply.error == (429, "tokens", "rate_limit_exceeded")
    assert reply.json["error"]["message"].startswith("Request too large")
    assert "retry-after" not in reply.headers


async def test_the_ledger_agrees_with_the_usage_of_all_answers(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    async with DemoGateway([DemoModel("m", cached_share=0.25)], ledger_path=path) as gateway:
        replies = await asyncio.gather(*(ask(client, gateway) for _ in range(40)))
    sums = _sums(replies)
    assert gateway.ledger.totals == {"m": ModelTotals(40, 40, *sums)}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {line["id"] for line in lines} == {reply.json["id"] for reply in replies}
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    assert tuple(sum(line[name] for line in lines) for name in names) == sums
    assert {(line["model"], line["prompt"]) for line in lines} == {("m", PROMPT)}


async def test_a_call_is_booked_before_its_answer_is_sent(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    async with DemoGateway(faults=Faults(slow=1.0, slow_s=3600), ledger_path=path) as gateway:
        call = asyncio.create_task(ask(client, gateway))
        while not path.read_bytes():
            await asyncio.sleep(0)
        assert gateway.ledger.total.paid_calls == 1
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_latency_delays_the_answer(client: aiohttp.ClientSession) -> None:
    loop = asyncio.get_running_loop()
    async with DemoGateway(latency_ms=80) as gateway:
        started = loop.time()
        assert (await ask(client, gateway)).status == 200
        assert loop.time() - started >= 0.04


async def test_faults_that_are_not_paid(client: aiohttp.ClientSession) -> None:
    async with DemoGateway(faults=Faults(server_error=1.0)) as gateway:
        assert (await ask(client, gateway)).error == (500, "server_error", None)
        assert gateway.ledger.total == ModelTotals(requests=1)
    async with DemoGateway(rpm=10, faults=Faults(overloaded=1.0)) as gateway:
        reply = await ask(client, gateway)
        assert reply.status == 429
        assert not [name for name in reply.headers if name.lower().startswith(("retry", "x-ratelimit"))]
    async with DemoGateway(faults=Faults(garbage=1.0)) as gateway:
        reply = await ask(client, gateway)
        assert (reply.status, reply.body[:15]) == (200, b"<!doctype html>")
        assert gateway.ledger.total == ModelTotals(requests=1)


async def test_a_reset_ends_the_connection_without_an_answer_and_the_next_call_works(
    client: aiohttp.ClientSession,
) -> None:
    async with DemoGateway(faults=Faults(reset=0.5), seed=1) as gateway:
        broken = 0
        for _ in range(20):
            try:
                assert (await ask(client, gateway)).status == 200
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                broken += 1
        assert 0 < broken < 20
        assert gateway.ledger.total.paid_calls == 20 - broken


async def test_faults_that_are_paid(client: aiohttp.ClientSession) -> None:
    for faults in (Faults(empty=1.0), Faults(refusal=1.0), Faults(truncated=1.0)):
        async with DemoGateway(faults=faults) as gateway:
            reply = await ask(client, gateway)
            assert reply.status == 200
            assert gateway.ledger.total == ModelTotals(1, 1, *_sums([reply]))


async def test_a_gateway_can_be_started_once_and_closed_often() -> None:
    gateway = DemoGateway()
    with pytest.raises(RuntimeError, match="not started"):
        _ = gateway.base_url
    await gateway.start()
    assert gateway.base_url.startswith("http://127.0.0.1:")
    with pytest.raises(RuntimeError, match="started already"):
        await gateway.start()
    await gateway.close()
    await gateway.close()


async def test_a_taken_port_is_an_os_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    async with DemoGateway() as first:
        port = int(first.base_url.rpartition(":")[2].partition("/")[0])
        second = DemoGateway(ledger_path=tmp_path / "ledger.jsonl")
        with pytest.raises(OSError, match="address already in use"):
            await second.start(port=port)


def test_the_banner_says_plainly_what_this_is() -> None:
    first = banner("http://127.0.0.1:1/v1").partition("\n")[0]
    assert "http://127.0.0.1:1/v1" in first
    assert "simulation" in first
    assert "made up" in first
    assert "nothing is billed" in first


def _sums(replies: list[Reply]) -> tuple[int, int, int]:
    usages = [reply.json["usage"] for reply in replies]
    return (
        sum(usage["prompt_tokens"] for usage in usages),
        sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages),
        sum(usage["completion_tokens"] for usage in usages),
    )
