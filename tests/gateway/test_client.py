"""The client against servers that misbehave: one outcome each, nothing leaked, nothing followed, memory bounded."""

import asyncio
import gzip
import shutil
import ssl
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.outcome import ErrorClass as E
from batchrouter.core.outcome import Outcome
from batchrouter.gateway import check_gateways, open_gateway, read_keys
from batchrouter.ports import Call
from tests.gateway.conftest import Behaviour, RawServer, answer, serving, settings_for

KEY = "sk-canary-1234567890"
CALL = Call("m", b'{"messages":[{"role":"user","content":"hi"}]}', 16, cap_is_ours=True)


async def called(behave: Behaviour, **gateway: object) -> tuple[Outcome, RawServer]:
    async with serving(behave) as server:
        settings = settings_for(server.port, **gateway)
        async with open_gateway(settings, {"default": KEY}, version="test") as client:
            return await client.call(CALL), server


def says(*pieces: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)

    return behave


def says_and_closes(*pieces: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        writer.close()

    return behave


async def never(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_a_call_carries_key_and_body_and_brings_the_answer(good_body: bytes) -> None:
    outcome, server = await called(says(answer(200, good_body)))
    head, body = server.requests[0].split(b"\r\n\r\n")
    assert outcome.state == "ok"
    assert outcome.latency_ms is not None
    assert f"Authorization: Bearer {KEY}".encode() in head
    assert body == b'{"model":"m","max_tokens":16,' + CALL.body[1:]


async def test_a_key_may_go_into_a_header_of_its_own(good_body: bytes) -> None:
    _, server = await called(says(answer(200, good_body)), auth="api-key")
    assert f"api-key: {KEY}".encode() in server.requests[0]
    assert b"Authorization" not in server.requests[0]


async def test_nobody_listening_is_not_sent() -> None:
    settings = settings_for(1)
    async with open_gateway(settings, {"default": KEY}, version="test") as client:
        outcome = await client.call(CALL)
    assert (outcome.state, outcome.error) == ("not_sent", E.NOT_SENT)


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (says_and_closes(), E.RESET),
        (says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), E.LOST),
        (says_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), E.LOST),
        (says_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), E.LOST),
        (says(b"this is not HTTP\r\n\r\n"), E.LOST),
    ],
)
async def test_an_answer_that_breaks_off_is_unknown(behave: Behaviour, error: E) -> None:
    outcome, server = await called(behave)
    assert (outcome.state, outcome.error, len(server.requests)) == ("unknown", error, 1)


async def test_no_answer_within_the_timeout_is_lost() -> None:
    outcome, _ = await called(never, timeout_s=0.2)
    assert (outcome.state, outcome.error) == ("unknown", E.LOST)


async def test_a_redirect_is_an_error_and_the_prompt_is_not_sent_again() -> None:
    outcome, server = await called(says(answer(307, b"", "Location: /v2/elsewhere")))
    assert (outcome.error, len(server.requests)) == (E.REDIRECT, 1)


async def test_cookies_are_not_kept(good_body: bytes) -> None:
    async with serving(says(answer(200, good_body, "Set-Cookie: a=b"))) as server:
        async with open_gateway(settings_for(server.port), {"default": KEY}, version="test") as client:
            await client.call(CALL)
            await client.call(CALL)
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


async def test_a_gzip_bomb_costs_no_more_memory_than_the_cap() -> None:
    bomb = gzip.compress(b"0" * 300_000_000, 9)
    tracemalloc.start()
    try:
        outcome, _ = await called(says(answer(200, bomb, "Content-Encoding: gzip")), max_response_mb=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (outcome.state, outcome.error) == ("error", E.UNUSABLE)
    assert peak < 30_000_000


async def test_an_answer_above_the_cap_is_unusable() -> None:
    outcome, _ = await called(says(answer(200, b"x" * 2_000_000)), max_response_mb=1)
    assert "max_response_mb" in outcome.message


async def test_an_echoed_key_is_redacted_everywhere() -> None:
    echo = b'{"error":{"message":"bad key %b"},"key":"%b"}' % (KEY.encode(), KEY.encode())
    for status in (400, 200):
        outcome, _ = await called(says(answer(status, echo)))
        assert KEY not in repr(outcome)
        assert "[redacted]" in outcome.message


async def test_no_error_message_holds_the_key() -> None:
    for behave in (
        says_and_closes(),
        says(b"nonsense\r\n\r\n"),
        says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    ):
        outcome, _ = await called(behave)
        assert KEY not in repr(outcome)


async def test_a_server_that_closes_after_each_reply_loses_no_call(good_body: bytes) -> None:
    async with serving(says_and_closes(answer(200, good_body, "Connection: close"))) as server:
        async with open_gateway(settings_for(server.port), {"default": KEY}, version="test") as client:
            outcomes = [await client.call(CALL) for _ in range(20)]
    assert {outcome.state for outcome in outcomes} == {"ok"}


async def test_each_model_goes_to_its_own_gateway_under_its_own_name(good_body: bytes) -> None:
    async with serving(says(answer(200, good_body))) as one, serving(says(answer(200, good_body))) as two:
        settings = settings_for(one.port).model_dump()
        settings["gateway"]["second"] = {"base_url": f"http://127.0.0.1:{two.port}", "auth": "none"}
        settings["model"]["other"] = {"input": 1, "output": 1, "gateway": "second", "name": "wire-name"}
        whole = type(settings_for(1)).model_validate(settings)
        keys = read_keys(whole, {"KEY": KEY})
        assert keys == {"default": KEY, "second": None}
        async with open_gateway(whole, keys, version="test") as client:
            await client.call(CALL)
            await client.call(Call("other", CALL.body, 16, cap_is_ours=False))
    assert b'"model":"m"' in one.requests[0]
    assert b'"model":"wire-name"' in two.requests[0]
    assert b"Authorization" not in two.requests[0]


async def test_an_untrusted_certificate_is_a_matter_of_configuration(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
        + ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serving(says(answer(200, b"{}")), ssl=context) as server:
        for ca_file, error in ((None, E.CERTIFICATE), (str(certificate), E.UNUSABLE)):
            settings = settings_for(server.port, base_url=f"https://127.0.0.1:{server.port}", ca_file=ca_file)
            async with open_gateway(settings, {"default": KEY}, version="test") as client:
                assert (await client.call(CALL)).error is error


@pytest.mark.parametrize(
    ("gateway", "environ", "says"),
    [
        ({}, {}, "KEY is not set"),
        ({}, {"KEY": " "}, "KEY is not set"),
        ({}, {"KEY": "a\nb"}, "characters"),
        ({"api_key_env": None, "api_key_file": "/nowhere/key"}, {}, "cannot be read"),
        ({"api_key_env": None}, {}, "neither"),
    ],
)
def test_a_missing_key_is_said_with_its_place(gateway: dict[str, Any], environ: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_keys(settings_for(1, **gateway), environ)


@pytest.mark.parametrize(
    ("reply", "level", "says"),
    [
        (answer(200, b'{"data":[{"id":"m"}]}'), "ok", "knows all"),
        (answer(200, b'{"data":[{"id":"x"}]}'), "warning", "does not list m"),
        (answer(200, b"[]"), "warning", "cannot be read"),
        (answer(401, b"{}"), "error", "refuses the key"),
        (answer(302, b"", "Location: /"), "error", "redirects"),
        (answer(500, b""), "warning", "answers 500"),
    ],
)
async def test_the_probe_asks_for_the_models_and_pays_nothing(reply: bytes, level: str, says: str) -> None:
    async with serving(says_reply(reply)) as server:
        findings = await check_gateways(settings_for(server.port), {"default": KEY})
    assert (findings[-1].level, says in findings[-1].what) == (level, True)
    assert [request.split()[:2] for request in server.requests] == [[b"GET", b"/v1/models"]]


def says_reply(reply: bytes) -> Behaviour:
    return says(reply)


async def test_the_probe_says_when_nobody_answers() -> None:
    findings = await check_gateways(settings_for(1), {"default": KEY})
    assert findings[0].level == "error"
