"""Raw servers that misbehave exactly as told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from batchrouter.core.settings import Settings

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """A server that reads each request whole, notes it, and does what ``behave`` says."""

    behave: Behaviour
    requests: list[bytes] = field(default_factory=list)
    port: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                await self.behave(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(behave: Behaviour, ssl: object = None) -> AsyncIterator[RawServer]:
    """Run a raw server on a free port."""
    raw = RawServer(behave)
    server = await asyncio.start_server(raw._serve, "127.0.0.1", 0, ssl=ssl)  # type: ignore[arg-type]
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()


def answer(status: int, body: bytes, *headers: str) -> bytes:
    """A complete HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(*pieces: bytes) -> Behaviour:
    """Answer each request with these bytes."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)

    return behave


def settings_for(port: int, *, model: dict[str, object] | None = None, **gateway: object) -> Settings:
    """One tier, one model, one gateway on this port."""
    return Settings.model_validate(
        {
            "tiers": ["only"],
            "gateway": {"base_url": f"http://127.0.0.1:{port}/v1", "api_key_env": "KEY", **gateway},
            "tier": {"only": {"models": ["m"]}},
            "model": {"m": {"input": 1, "output": 2, **(model or {})}},
        }
    )


@pytest.fixture
def good_body() -> bytes:
    return b'{"id":"1","model":"m","choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1}}'
