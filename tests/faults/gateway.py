"""A gateway with every fault there is: bare sockets, so that it shares no mistake with the client, and its own account.

Each request is noted in an append-only file before anything is answered: that file is the truth about what was paid.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Self

PRICES = {
    "small": {"input": "10.0375", "cached_input": "5.01", "output": "40.15"},
    "middle": {"input": "100.4996", "cached_input": "50.25", "output": "400.777"},
    "large": {"input": "300.1005", "cached_input": "33.333333", "output": "1500.5"},
}
"""Per million tokens, with decimals: a sum of costs that were not rounded one by one is another sum."""

Schedule = Callable[[int, str], str]
"""The kind of fault for the n-th request (from 0) of this key (its last message)."""

BOMB_BYTES = 300_000_000

STATUSES = {
    "429": (429, {}),
    "429_soon": (429, {"Retry-After": "0"}),
    "429_minus": (429, {"Retry-After": "-1"}),
    "429_nan": (429, {"Retry-After": "NaN"}),
    "429_far": (429, {"Retry-After": "Fri, 31 Dec 2099 23:59:59 GMT"}),
    "redirect_302": (302, {"Location": "http://127.0.0.1:1/elsewhere"}),
    "redirect_307": (307, {"Location": "http://127.0.0.1:1/elsewhere"}),
    "redirect_308": (308, {"Location": "http://127.0.0.1:1/elsewhere"}),
} | {str(status): (status, {}) for status in (400, 401, 402, 403, 404, 413, 422, 500, 502, 503, 504, 529)}
CODES = {
    "quota": (429, "insufficient_quota"),
    "context": (400, "context_length_exceeded"),
    "filter": (400, "content_filter"),
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "ok": {},
    "no_choices": {"choices": []},
    "null": {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
    "wrong_shape": {"choices": {"0": "yes"}},
    "usage_missing": {"usage": None},
    "usage_negative": {"usage": {"prompt_tokens": -20, "completion_tokens": 5}},
    "usage_absurd": {"usage": {"prompt_tokens": 10**30, "completion_tokens": 5}},
    "error_object": {"error": {"message": "upstream is ill"}, "choices": None},
}
UNPAID = frozenset({*STATUSES, *CODES, "reset_before", "html"})
BREAKS = frozenset(
    {
        "reset_before",
        "reset_mid_body",
        "reset_after_body",
        "lost",
        "half_body",
        "half_chunk",
        "no_length",
        "hang",
        "drip",
        "endless_head",
        "closes_after",
        "slow",
    }
)
SOAK = {
    "429": 0.05,
    "503": 0.03,
    "reset_before": 0.02,
    "lost": 0.02,
    "slow": 0.01,
    "half_body": 0.01,
    "wrong_shape": 0.01,
}
"""Shares of faults of a bad day; the rest is answered."""


@dataclass
class FaultGateway:
    """``async with FaultGateway(path, schedule) as gateway`` serves ``gateway.base_url``."""

    ledger: Path
    schedule: Schedule = lambda _n, _key: "ok"
    latency_s: float = 0.0
    says: Callable[[dict[str, Any]], str] = lambda _body: "yes"
    keys: set[str] = field(default_factory=set)
    cookies: list[str] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    paid_nano: int = 0
    requests: int = 0
    base_url: str = ""

    async def __aenter__(self) -> Self:
        self._file: BinaryIO = self.ledger.open("ab")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        self._changed = asyncio.Event()
        self._connections: set[asyncio.Task[Any]] = set()
        self._mistakes: list[Exception] = []
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections)
        self._file.close()
        for mistake in self._mistakes:
            raise mistake

    async def has_seen(self, requests: int) -> None:
        """Return when so many requests have arrived."""
        while self.requests < requests:
            await self._changed.wait()

    async def has_read_all(self) -> None:
        """Return when everything that ended processes sent has been read: connections are accepted in their order."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.sockets[0].getsockname()[1])
        writer.write_eof()
        await reader.read()
        writer.close()
        while self._connections:
            await asyncio.wait(self._connections)

    async def away(self, seconds: float) -> None:
        """Nobody listens for so long, and the connections there are break off."""
        address = self._server.sockets[0].getsockname()
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.sleep(seconds)
        self._server = await asyncio.start_server(self._serve, *address)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - a mistake of the kit must not pass for a fault
            self._mistakes.append(error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection lives on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"null")
        if body is None:
            return False
        self.keys.add(headers.get("authorization", ""))
        self.cookies += [headers["cookie"]] if "cookie" in headers else []
        key = body["messages"][-1]["content"]
        kind = self.schedule(self.requests, key)
        self._note(key, body["model"], kind)
        usage = usage_of(key)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        alive = await self._answer(kind, usage, headers, writer, self.says(body))
        self.answered[key] += kind in COMPLETIONS
        return alive

    def _note(self, key: str, model: str, kind: str) -> None:
        paid = kind not in UNPAID
        nano = price_nano(model, usage_of(key)) if paid else 0
        entry = {"n": self.requests, "key": key, "model": model, "kind": kind, "paid_nano": nano}
        self._file.write(json.dumps(entry | usage_of(key)).encode() + b"\n")
        self._file.flush()
        self.paid[key] += paid
        self.paid_nano += nano
        self.requests += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(
        self, kind: str, usage: dict[str, Any], headers: dict[str, str], writer: asyncio.StreamWriter, content: str
    ) -> bool:
        if kind in BREAKS:
            return await _break(kind, _completion("ok", usage, content), writer)
        if kind in STATUSES:
            status, more = STATUSES[kind]
            writer.write(_http(status, b'{"error": {"message": "no"}}', more))
        elif kind in CODES:
            status, code = CODES[kind]
            writer.write(_http(status, json.dumps({"error": {"message": "no", "code": code}}).encode()))
        elif kind == "html":
            writer.write(_http(200, b"<html>please log in</html>", {"Content-Type": "text/html"}))
        elif kind == "key_echo":
            writer.write(_http(401, json.dumps({"error": {"message": headers["authorization"]}}).encode()))
        elif kind == "cookie":
            writer.write(_http(200, _completion("ok", usage), {"Set-Cookie": "track=1; Path=/"}))
        elif kind in ("huge", "bomb"):
            await _large(kind, writer)
        else:
            writer.write(_http(200, _completion(kind, usage, content)))
        await writer.drain()
        return True


def usage_of(key: str) -> dict[str, Any]:
    """Token counts that belong to this key."""
    number = zlib.crc32(key.encode())
    return {
        "prompt_tokens": 9 + number % 8,
        "completion_tokens": 1 + number // 8 % 32,
        "prompt_tokens_details": {"cached_tokens": number // 256 % 8},
    }


def price_nano(model: str, usage: dict[str, Any]) -> int:
    """The price of so many tokens in nano-units, rounded half up."""
    price = {name: Decimal(value) for name, value in PRICES[model].items()}
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    per_million = (
        (usage["prompt_tokens"] - cached) * price["input"]
        + cached * price["cached_input"]
        + usage["completion_tokens"] * price["output"]
    )
    return int((per_million * 1000).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _completion(kind: str, usage: dict[str, Any], content: str = "yes") -> bytes:
    choices = [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]
    whole = {"id": "1", "choices": choices, "usage": usage, **COMPLETIONS[kind]}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def _http(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **(headers or {})}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _break(kind: str, completion: bytes, writer: asyncio.StreamWriter) -> bool:
    """Answers that are not whole, or not HTTP as it should be; whether the connection lives on."""
    whole = _http(200, completion)
    if kind == "slow":
        await asyncio.sleep(0.2)
        writer.write(whole)
        return True
    if kind in ("half_body", "reset_mid_body"):
        writer.write(whole[:-20])
    elif kind == "half_chunk":
        writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{")
    elif kind == "no_length":
        writer.write(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + completion)
    elif kind in ("closes_after", "reset_after_body"):
        writer.write(whole)
    elif kind == "hang":
        await asyncio.Event().wait()
    elif kind == "drip":
        for byte in whole:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)
    elif kind == "endless_head":
        writer.write(b"HTTP/1.1 200 X\r\n")
        while True:
            writer.write(b"X-More: of the same\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
    await writer.drain()
    if kind.startswith("reset"):
        linger = struct.pack("ii", 1, 0)  # closing then sends RST, and FIN without it
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    if kind == "reset_before":
        writer.transport.abort()
    return False


async def _large(kind: str, writer: asyncio.StreamWriter) -> None:
    """Far more than anybody asked for, plain or as a few hundred kB of gzip."""
    if kind == "huge":
        block = b"x" * 1_000_000
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % (300 * len(block)))
        for _ in range(300):
            writer.write(block)
            await writer.drain()
        return
    writer.write(_http(200, _bomb(), {"Content-Encoding": "gzip"}))


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1_000_000)
    return b"".join(packer.compress(block) for _ in range(BOMB_BYTES // len(block))) + packer.flush()
