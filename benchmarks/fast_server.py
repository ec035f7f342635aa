"""A chat completions server that no Python client keeps busy: a raw asyncio protocol, no HTTP library, one fixed answer.

    python benchmarks/fast_server.py --latency-ms 50

Prints its port. ``GET /stats`` tells how many calls came, when the first did and when the last was answered (on the
system's monotonic clock, which all processes share), and the most that were in flight. It reads nothing of a request
but its length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import cast

import running

_COMPLETION = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "benchmark-model",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The parcel came late and its box was wet. " * 6},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 120, "completion_tokens": 60, "total_tokens": 180},
}


def http_answer(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Counters:
    """What ``/stats`` tells."""

    def __init__(self) -> None:
        self.calls = 0
        self.first_s = 0.0
        self.last_s = 0.0
        self.in_flight = 0
        self.in_flight_most = 0

    def came(self) -> None:
        if not self.calls:
            self.first_s = time.monotonic()
        self.calls += 1
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight, self.in_flight_most)

    def answered(self) -> None:
        self.in_flight -= 1
        self.last_s = time.monotonic()


class FixedAnswer(asyncio.Protocol):
    """One connection: waits for a whole request, answers it after the latency."""

    def __init__(self, counters: Counters, latency_s: float) -> None:
        self._counters = counters
        self._latency_s = latency_s
        self._answer = http_answer(_COMPLETION)
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head_ends = self._buffer.find(b"\r\n\r\n")
        if head_ends < 0 or self._transport is None:
            return
        if self._buffer.startswith(b"GET"):
            self._buffer = b""
            self._transport.write(http_answer(vars(self._counters)))
            return
        head = self._buffer[:head_ends].lower()
        at = head.index(b"content-length:") + 15
        line_ends = head.find(b"\r", at)
        length = int(head[at:line_ends] if line_ends > 0 else head[at:])
        if len(self._buffer) < head_ends + 4 + length:
            return
        self._buffer = b""
        self._counters.came()
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._transport is not None:
            self._transport.write(self._answer)
        self._counters.answered()


async def serve(latency_s: float) -> None:
    counters = Counters()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FixedAnswer(counters, latency_s), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    running.tuned(serve(parser.parse_args().latency_ms / 1000))


if __name__ == "__main__":
    main()
