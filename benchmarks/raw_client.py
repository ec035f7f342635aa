"""The floor of Python: the same bytes over and over on a raw asyncio protocol. It tells how fast the server is.

python benchmarks/raw_client.py http://127.0.0.1:8000/v1 --in-flight 500 --calls 50000
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast
from urllib.parse import urlsplit

import running


class Caller(asyncio.Protocol):
    """One connection with one call in flight, as long as calls are left."""

    def __init__(self, request: bytes, left: list[int], over: asyncio.Event) -> None:
        self._request = request
        self._left = left
        self._over = over
        self._missing = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._call()

    def _call(self) -> None:
        if self._left[0] <= 0 or self._transport is None:
            self._over.set()
            return
        self._left[0] -= 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            head_ends = data.index(b"\r\n\r\n")
            at = data.index(b"Content-Length: ") + 16
            self._missing = head_ends + 4 + int(data[at : data.index(b"\r", at)])
        self._missing -= len(data)
        if self._missing == 0:
            self._call()


async def call_all(address: str, calls: int, in_flight: int) -> None:
    parts = urlsplit(address)
    body = (
        b'{"model":"benchmark-model","messages":[{"role":"user","content":"' + b"A note for the lead. " * 20 + b'"}]}'
    )
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    request, left, over = head.encode() + body, [calls], asyncio.Event()
    loop = asyncio.get_running_loop()
    for _ in range(in_flight):
        await loop.create_connection(lambda: Caller(request, left, over), parts.hostname, parts.port)
    await over.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--calls", type=int, default=50_000)
    options = parser.parse_args()
    running.tuned(call_all(options.base_url, options.calls, options.in_flight))


if __name__ == "__main__":
    main()
