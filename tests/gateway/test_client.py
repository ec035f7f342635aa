"""The client against servers that misbehave: one outcome each, nothing leaked, nothing followed, memory bounded."""

import asyncio
import gzip
import shutil
import socket
import ssl
import struct
import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.outcome import ErrorClass as E
from batchrouter.core.outcome import Outcome
from batchrouter.gateway import open_gateway, read_keys
from batchrouter.ports import Call
from tests.canary import CANARY
from tests.gateway.conftest import Behaviour, RawServer, answer, says, serving, settings_for

KEY = CANARY
CALL = Call("m", b'{"messages":[{"role":"user","content":"hi"}]}', 16, cap_is_ours=True)


async def called(behave: Behaviour, **gateway: object) -> tuple[Outcome, RawServer]:
    async with serving(behave) as server:
        settings = settings_for(server.port, **gateway)
        async with open_gateway(settings, {"default": KEY}, version="test") as client:
            return await client.call(CALL), server


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


async def test_a_call_tells_when_its_body_begins_to_leave(good_body: bytes) -> None:
    left: list[str] = []

    async def behave(writer: asyncio.StreamWriter) -> None:
        left.append("answered")
        await says(answer(200, good_body))(writer)

    async with serving(behave) as server:
        call = msgspec.structs.replace(CALL, left=lambda: left.append("left"))
        async with open_gateway(settings_for(server.port), {"default": KEY}, version="test") as client:
            await client.call(call)
        assert left == ["left", "answered"]
    async with open_gateway(settings_for(server.port), {"default": KEY}, version="test") as client:
        assert (await client.call(call)).state == "not_sent"
    assert left == ["left", "answered"]


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
        (says_and_closes(b"HTTP/1.1 20"), E.LOST),
        (says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Le"), E.LOST),
        (says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), E.LOST),
        (says_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), E.LOST),
        (says_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), E.LOST),
        (says(b"this is not HTTP\r\n\r\n"), E.LOST),
    ],
)
async def test_an_answer_that_breaks_off_is_unknown(behave: Behaviour, error: E) -> None:
    outcome, server = await called(behave)
    assert (outcome.state, outcome.error, len(server.requests)) == ("unknown", error, 1)


async def test_a_reset_without_a_byte_of_an_answer_is_told_apart() -> None:
    async def behave(writer: asyncio.StreamWriter) -> None:
        linger = struct.pack("ii", 1, 0)  # closing then sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    outcome, _ = await called(behave)
    assert (outcome.state, outcome.error) == ("unknown", E.RESET)


async def test_what_is_said_before_the_answer_is_passed_over(good_body: bytes) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    outcome, _ = await called(says(b"HTTP/1.1 100 Continue\r\n\r\n", hints, hints, answer(200, good_body)))
    assert outcome.state == "ok"
    outcome, _ = await called(says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
    assert (outcome.state, outcome.status_code) == ("error", 101)


async def test_a_connection_on_which_a_request_was_not_sent_whole_is_not_used_again(good_body: bytes) -> None:
    """The rest of the first request would be read as the beginning of the second."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(413, b"{}") if len(writers) == 1 else answer(200, good_body))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    large = Call("m", b'{"messages":"' + b"x" * 20_000_000 + b'"}', 16, cap_is_ours=False)
    async with open_gateway(settings_for(port), {"default": KEY}, version="test") as client:
        assert [(await client.call(call)).status_code for call in (large, CALL)] == [413, 200]
    for writer in writers:
        writer.transport.abort()
    server.close()
    assert len(writers) == 2


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_ones() -> None:
    """A server that says everything twice: the second time comes while the connection is free."""
    said_again = asyncio.Event()
    accepted: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
                content = orjson.loads(body)["messages"][0]["content"]
                choices = [{"message": {"content": content}, "finish_reason": "stop"}]
                said = answer(200, orjson.dumps({"choices": choices}))
                writer.write(said)
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.write(said)
                await writer.drain()
                said_again.set()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    settings = settings_for(server.sockets[0].getsockname()[1])
    heard = []
    async with open_gateway(settings, {"default": KEY}, version="test") as client:
        for text in ("one", "two", "three"):
            said_again.clear()
            body = orjson.dumps({"messages": [{"role": "user", "content": text}]})
            outcome = await client.call(Call("m", body, 16, cap_is_ours=True))
            heard.append(outcome.answer.content if outcome.answer else None)
            await said_again.wait()
            await asyncio.sleep(0.01)
    await asyncio.gather(*accepted)
    server.close()
    assert heard == ["one", "two", "three"]


async def test_half_an_answer_that_nobody_asked_for_is_no_part_of_the_next_one() -> None:
    """Its rest comes once the next request is there: that call comes to nothing, and never to the answer of before."""
    half_is_there = asyncio.Event()
    accepted: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(asyncio.current_task())  # type: ignore[arg-type]
        extra = b""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
                said = answer(
                    200, orjson.dumps({"choices": [{"message": {"content": "one"}, "finish_reason": "stop"}]})
                )
                writer.write(extra[20:] or said)
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.write(said[:20])
                await writer.drain()
                extra = said
                half_is_there.set()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with open_gateway(
        settings_for(server.sockets[0].getsockname()[1]), {"default": KEY}, version="test"
    ) as client:
        assert (await client.call(CALL)).state == "ok"
        await half_is_there.wait()
        await asyncio.sleep(0.01)
        assert (await client.call(CALL)).state == "unknown"
    await asyncio.gather(*accepted)
    server.close()


@pytest.mark.parametrize("broken", ["no gzip at all", "half of it", "rubbish after the head"])
async def test_a_compression_that_is_none_never_raises(broken: str) -> None:
    whole = gzip.compress(b"{}" * 100)
    body = {"no gzip at all": b"{}", "half of it": whole[:20], "rubbish after the head": whole[:10] + b"\xff" * 30}
    outcome, _ = await called(says(answer(200, body[broken], "Content-Encoding: gzip")))
    assert outcome.error in (E.LOST, E.UNUSABLE)


async def test_a_handshake_that_does_not_come_or_fails_is_not_sent() -> None:
    for behave in (never, says(b"this is not TLS at all, and long enough to be seen as such\r\n" * 9)):
        accepted: list[asyncio.StreamWriter] = []

        async def accept(
            _reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            accepted: list[asyncio.StreamWriter] = accepted,
            behave: Behaviour = behave,
        ) -> None:
            accepted.append(writer)
            if behave is not never:
                await behave(writer)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = settings_for(port, base_url=f"https://127.0.0.1:{port}", timeout_s=0.3)
        async with open_gateway(settings, {"default": KEY}, version="test") as client:
            outcome = await client.call(CALL)
        for writer in accepted:
            writer.close()
        server.close()
        assert (outcome.state, outcome.error, len(accepted)) == ("not_sent", E.NOT_SENT, 1)


async def test_more_calls_than_aiohttp_would_allow_by_itself_are_in_flight_at_once(good_body: bytes) -> None:
    everybody_is_here, waiting = asyncio.Event(), 0

    async def behave(writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 150:
            everybody_is_here.set()
        await everybody_is_here.wait()
        writer.write(answer(200, good_body))

    async with serving(behave) as server:
        async with open_gateway(settings_for(server.port, timeout_s=20), {"default": KEY}, version="test") as client:
            outcomes = await asyncio.gather(*(client.call(CALL) for _ in range(150)))
    assert {outcome.state for outcome in outcomes} == {"ok"}


async def test_a_proxy_is_used_where_it_is_configured_and_never_by_the_environment(
    good_body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    direct, server = await called(says(answer(200, good_body)))
    assert (direct.state, server.requests[0].split()[1]) == ("ok", b"/v1/chat/completions")
    async with serving(says(answer(200, good_body))) as proxy:
        settings = settings_for(1, base_url="http://gateway.example/v1", proxy=f"http://127.0.0.1:{proxy.port}")
        async with open_gateway(settings, {"default": KEY}, version="test") as client:
            assert (await client.call(CALL)).state == "ok"
    assert proxy.requests[0].split()[1] == b"http://gateway.example/v1/chat/completions"


async def test_a_large_request_goes_out_whole_and_without_a_warning(good_body: bytes) -> None:
    async with serving(says(answer(200, good_body))) as server:
        async with open_gateway(settings_for(server.port), {"default": KEY}, version="test") as client:
            body = b'{"messages":"' + b"x" * 3_000_000 + b'"}'
            assert (await client.call(Call("m", body, 16, cap_is_ours=False))).state == "ok"
    assert server.requests[0].endswith(body[1:])


async def test_a_request_too_deep_for_a_dialect_is_an_outcome_too() -> None:
    settings = settings_for(1, model={"drop": ["temperature"]})
    body = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    async with open_gateway(settings, {"default": KEY}, version="test") as client:
        outcome = await client.call(Call("m", body, 16, cap_is_ours=True))
    assert (outcome.state, outcome.error) == ("error", E.BAD_REQUEST)


@pytest.mark.parametrize(
    "gateway",
    [
        {"base_url": "http://"},
        {"base_url": "http://:80/v1"},
        {"base_url": "http://user:word@127.0.0.1/v1"},
        {"base_url": "http://127.0.0.1/v1/chat/completions"},
        {"headers": {"X": "a\r\nAuthorization: mine"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"proxy": "socks5://127.0.0.1"},
        {"ca_file": "/nowhere/ca.pem"},
        {"model": {"set": {"seed": 2**70}}},
    ],
)
async def test_settings_that_no_call_could_work_with_are_refused_at_once(gateway: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        async with open_gateway(settings_for(1, **gateway), {"default": KEY}, version="test"):
            pass


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
    assert peak < 5_000_000  # the cap, what aiohttp reads ahead, and the compressed bytes themselves


async def test_an_answer_above_the_cap_is_unusable() -> None:
    outcome, _ = await called(says(answer(200, b"x" * 2_000_000)), max_response_mb=1)
    assert "max_response_mb" in outcome.message


async def test_a_cost_is_read_where_it_is_trusted_and_never_breaks_a_call(good_body: bytes) -> None:
    with_cost = good_body.replace(b'"completion_tokens":1', b'"completion_tokens":1,"cost":0.00014')
    assert (await called(says(answer(200, with_cost))))[0].reported_cost_nano is None
    assert (await called(says(answer(200, with_cost)), trust_reported_cost="INR"))[0].reported_cost_nano == 140_000
    for body in (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"usage":{"cost":"\xff"}}'):
        outcome, _ = await called(says(answer(200, body)), trust_reported_cost="INR")
        assert (outcome.error, outcome.reported_cost_nano) == (E.UNUSABLE, None)


async def test_an_echoed_key_is_redacted_everywhere() -> None:
    echo = b'{"error":{"message":"bad key %b"},"key":"%b"}' % (KEY.encode(), KEY.encode())
    for status in (400, 200):
        outcome, _ = await called(says(answer(status, echo)))
        assert KEY not in repr(outcome)
        assert "[redacted]" in outcome.message


async def test_no_part_of_a_key_is_left_where_a_message_is_cut() -> None:
    for filler in range(60, 300, 7):
        outcome, _ = await called(says(answer(500, b"." * filler + KEY.encode())))
        assert "canary" not in repr(outcome)


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
