"""A gateway that is faster than any client: a bare protocol on uvloop, one fixed answer, in a process of its own.

    python benchmarks/fast_gateway.py --latency-ms 50

Prints its port. ``GET /stats`` tells when the first and the last request came, and how many there were; it then begins
to count anew. It speaks only as much HTTP as clients of this folder need: keep-alive, ``Content-Length``, POST and GET.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "fast",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "positive"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 60, "completion_tokens": 2, "total_tokens": 62},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
RESPONSE = HEAD % len(ANSWER) + ANSWER


class Stats:
    """What was seen since somebody asked the last time."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.requests = 0
        self.first_s = self.last_s = 0.0
        self.most_in_flight = 0

    def response(self) -> bytes:
        values = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        body = json.dumps(values).encode()
        self.clear()
        return HEAD % len(body) + body


class Connection(asyncio.Protocol):
    """One request after the other."""

    in_flight = 0

    def __init__(self, stats: Stats, latency_s: float) -> None:
        self._stats = stats
        self._latency_s = latency_s
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"get"):
            self._transport.write(self._stats.response())
            return
        stats = self._stats
        stats.last_s = time.monotonic()
        stats.first_s = stats.first_s or stats.last_s
        stats.requests += 1
        Connection.in_flight += 1
        stats.most_in_flight = max(stats.most_in_flight, Connection.in_flight)
        if self._latency_s:
            self._loop.call_later(self._latency_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        Connection.in_flight -= 1
        self._transport.write(RESPONSE)


async def serve(latency_s: float) -> None:
    stats = Stats()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(stats, latency_s), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(arguments.latency_ms / 1000))
    else:
        uvloop.run(serve(arguments.latency_ms / 1000))


if __name__ == "__main__":
    main()
