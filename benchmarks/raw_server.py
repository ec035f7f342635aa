"""HTTP for gateways of benchmarks: a raw asyncio protocol, no HTTP library, one request at a time on a connection."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Protocol, cast


def http_answer(value: object, *, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer with this value as its body."""
    body = json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Writable(Protocol):
    """The end of a connection to which answers are written."""

    def is_closing(self) -> bool: ...

    def write(self, data: bytes) -> None: ...


class RawConnection(asyncio.Protocol):
    """One connection: reads whole requests; what they mean is a matter of ``told`` and ``posted``."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: Writable | None = None

    def told(self) -> object:
        """What any GET is answered with, as JSON."""
        raise NotImplementedError

    def posted(self, body: bytes) -> None:
        """A POST came; it is answered with ``send``, now or later."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport | Writable) -> None:
        """Called by asyncio."""
        self._transport = cast("Writable", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._buffer = self._buffer + data if self._buffer else data
        head_ends = self._buffer.find(b"\r\n\r\n")
        if head_ends < 0:
            return
        if self._buffer.startswith(b"GET"):
            self._buffer = b""
            self.send(http_answer(self.told()))
            return
        body_starts, length = head_ends + 4, _content_length(self._buffer[:head_ends])
        if len(self._buffer) < body_starts + length:
            return
        body, self._buffer = self._buffer[body_starts:], b""
        self.posted(body)

    def send(self, answer: bytes) -> None:
        """Answer the request, if the caller is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    head = head.lower()
    at = head.index(b"content-length:") + 15
    line_ends = head.find(b"\r", at)
    return int(head[at:line_ends] if line_ends > 0 else head[at:])


async def serve(connection: Callable[[], RawConnection]) -> None:
    """Listen on a free port, print it, and serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()
