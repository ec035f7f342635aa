"""A chat completions server that no Python client keeps busy: a raw asyncio protocol, no HTTP library, one fixed answer.

    python benchmarks/fast_server.py --latency-ms 50

Prints its port. ``GET /stats`` tells how many calls came, when the first did and when the last was answered (on the
system's monotonic clock, which all processes share), and the most that were in flight. It reads nothing of a request
but its length.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import running
from raw_server import RawConnection, http_answer, serve

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


class FixedAnswer(RawConnection):
    """One connection: waits for a whole request, answers it after the latency."""

    def __init__(self, counters: Counters, latency_s: float) -> None:
        super().__init__()
        self._counters = counters
        self._latency_s = latency_s
        self._answer = http_answer(_COMPLETION)

    def told(self) -> object:
        return vars(self._counters)

    def posted(self, _body: bytes) -> None:
        self._counters.came()
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._answered)
        else:
            self._answered()

    def _answered(self) -> None:
        self.send(self._answer)
        self._counters.answered()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    latency_s = parser.parse_args().latency_ms / 1000
    counters = Counters()
    running.tuned(serve(lambda: FixedAnswer(counters, latency_s)))


if __name__ == "__main__":
    main()
