"""A gateway that enforces limits over sliding windows, per model, and keeps when each call came.

    python benchmarks/limited_server.py --limits '{"small": {"rpm": 6000, "tpm": 400000}}'
    python benchmarks/limited_server.py --limits '{"": {"rpm": 1200}}' --change-at-s 40 --change-factor 0.5 --noise 0.01
    python benchmarks/limited_server.py --limits '{"": {"rpm": 1200}}' --one-account --announce headers

Prints its port. When a call came is told by the kernel (Linux): it is the moment at which it was sent, however busy the
machine keeps this process. The model ``""`` stands for every name that is not listed, with ``--one-account`` for all names together. Requests are counted over each of
``--window-s``, tokens over ``--token-window-s``, both when the call comes (the gateway knows how long its answer will
be, the caller does not); a call that is refused uses up nothing. The limits change by ``--change-factor`` so long after
the first call. A GET tells of every call: seconds on the system's monotonic clock, tokens, and whether it
was admitted, refused, or refused as noise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

import running
from raw_server import RawConnection, http_answer

TAIL = 1.2
"""The exponent of a Pareto distribution: a few answers in a hundred take as long as is allowed."""
BYTES_A_TOKEN = 4
SO_TIMESTAMPNS = 35


@dataclass(slots=True)
class Window:
    """What was used of one limit within the last ``span_s`` seconds."""

    kind: str
    limit: float
    span_s: float
    used: int = 0
    entries: deque[tuple[float, int]] = field(default_factory=deque)

    def wait_s(self, now_s: float, amount: int) -> float:
        """Seconds until the amount fits, 0: now. What is larger than the limit fits into an empty window."""
        while self.entries and self.entries[0][0] + self.span_s <= now_s:
            self.used -= self.entries.popleft()[1]
        if not self.entries or self.used + amount <= self.limit:
            return 0.0
        excess = self.used + amount - self.limit
        for at_s, used in self.entries:
            excess -= used
            if excess <= 0:
                return at_s + self.span_s - now_s
        return self.entries[-1][0] + self.span_s - now_s

    def use(self, now_s: float, amount: int) -> None:
        self.entries.append((now_s, amount))
        self.used += amount


def windows(limits: dict[str, float], options: argparse.Namespace) -> list[Window]:
    """The windows of one model: the share of a minute's limit that falls into each span, one at least."""
    spans = {"rpm": ("requests", options.window_s), "tpm": ("tokens", options.token_window_s)}
    return [
        Window(spans[name][0], max(1.0, limit * span_s / 60), span_s)
        for name, limit in limits.items()
        for span_s in spans[name][1]
    ]


class LimitedGateway:
    """What all connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.chance = random.Random(options.seed)
        self.arrivals: dict[str, list[tuple[float, int, str]]] = {}
        self.first_s: float | None = None
        self._came: list[tuple[float, LimitedConnection, bytes]] = []
        self._limits: dict[str, dict[str, float]] = json.loads(options.limits)
        self._windows: dict[str, list[Window]] = {}
        self._is_changed = False

    def windows(self, model: str, now_s: float) -> list[Window]:
        """A model's windows, with the limits of now."""
        self.first_s = now_s if self.first_s is None else self.first_s
        model = "" if self.options.one_account else model
        if model not in self._windows:
            self._windows[model] = windows(self._limits.get(model, self._limits.get("", {})), self.options)
        change_at_s = self.options.change_at_s
        if change_at_s is not None and not self._is_changed and now_s >= self.first_s + change_at_s:
            self._is_changed = True
            for window in (each for some in self._windows.values() for each in some):
                window.limit = max(1.0, window.limit * self.options.change_factor)
        return self._windows[model]

    def came(self, at_s: float, connection: LimitedConnection, body: bytes) -> None:
        """A call; those that are read in the same turn of the event loop are answered in the order in which they came."""
        if not self._came:
            asyncio.get_running_loop().call_soon(self._answer_all)
        self._came.append((at_s, connection, body))

    def _answer_all(self) -> None:
        came, self._came = self._came, []
        for at_s, connection, body in sorted(came, key=lambda call: call[0]):
            connection.answer(at_s, body)

    def admit(self, model: str, tokens: int, now_s: float) -> tuple[Window | None, float]:
        """Book a call that fits (no window); otherwise the window that it does not fit into, and for how long."""
        amounts = {"requests": 1, "tokens": tokens}
        of_model = self.windows(model, now_s)
        arrivals = self.arrivals.setdefault(model, [])
        if self.options.noise and self.chance.random() < self.options.noise:
            arrivals.append((now_s, tokens, "noise"))
            return Window("noise", 0, 0), 1.0
        for window in of_model:
            if (wait_s := window.wait_s(now_s, amounts[window.kind])) > 0:
                arrivals.append((now_s, tokens, "refused"))
                return window, wait_s
        for window in of_model:
            window.use(now_s, amounts[window.kind])
        arrivals.append((now_s, tokens, "admitted"))
        return None, 0.0

    def headers(self, model: str) -> dict[str, str]:
        """The limits of a minute, as OpenAI announces them, if they are announced."""
        if self.options.announce == "nothing":
            return {}
        told = {}
        for window in self.windows(model, time.monotonic()):
            full_s = window.entries[-1][0] + window.span_s - time.monotonic() if window.entries else 0.0
            told[f"x-ratelimit-limit-{window.kind}"] = f"{window.limit * 60 / window.span_s:.0f}"
            told[f"x-ratelimit-remaining-{window.kind}"] = f"{max(0, window.limit - window.used):.0f}"
            told[f"x-ratelimit-reset-{window.kind}"] = f"{max(0, math.ceil(full_s * 1000))}ms"
        return told

    def is_unavailable(self) -> bool:
        """Whether this call, which counts, is not answered."""
        return self.chance.random() < self.options.unavailable

    def latency_s(self) -> float:
        """From the least up to the most, with a heavy tail."""
        least, most = self.options.latency_ms
        return float(min(most, least * self.chance.paretovariate(TAIL)) / 1000)

    def answer_tokens(self) -> int:
        """Between the least and the most, short answers as often as long ones on a logarithmic scale."""
        least, most = self.options.answer_tokens
        return int(least * (most / least) ** self.chance.random())


class LimitedConnection(RawConnection):
    """One connection to the gateway."""

    def __init__(self, gateway: LimitedGateway) -> None:
        super().__init__()
        self._gateway = gateway
        self._came_s = 0.0

    def readable(self, caller: socket.socket) -> None:
        """Read what came, with the time at which it did."""
        try:
            data, ancillary, *_ = caller.recvmsg(1 << 16, 64)
        except BlockingIOError:
            return
        except ConnectionError:
            data, ancillary = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(caller)
            caller.close()
            return
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
        self._came_s = seconds + nanoseconds / 1e9 + time.monotonic() - time.time()
        self.data_received(data)

    def told(self) -> object:
        return self._gateway.arrivals

    def posted(self, body: bytes) -> None:
        self._gateway.came(self._came_s, self, body)

    def answer(self, came_s: float, body: bytes) -> None:
        """Answer a call that came at this time."""
        model = json.loads(body)["model"]
        prompt, answer = len(body) // BYTES_A_TOKEN, self._gateway.answer_tokens()
        window, wait_s = self._gateway.admit(model, prompt + answer, came_s)
        headers = self._gateway.headers(model)
        if window:
            if not self._gateway.options.no_retry_after:
                headers |= {"retry-after": f"{math.ceil(wait_s)}", "retry-after-ms": f"{math.ceil(wait_s * 1000)}"}
            self.send(refusal(window, headers))
            return
        if self._gateway.is_unavailable():
            completion = http_answer({"error": {"message": "overloaded"}}, status="503 Service Unavailable")
        else:
            completion = http_answer(completed(model, prompt, answer), headers=headers)
        asyncio.get_running_loop().call_later(self._gateway.latency_s(), self.send, completion)


def refusal(window: Window, headers: dict[str, str]) -> bytes:
    message = f"Rate limit reached on {window.kind}: at most {window.limit:g} in {window.span_s:g} s"
    error = {"message": message, "type": window.kind, "param": None, "code": "rate_limit_exceeded"}
    return http_answer({"error": error}, status="429 Too Many Requests", headers=headers)


def completed(model: str, prompt: int, answer: int) -> dict[str, object]:
    message = {"role": "assistant", "content": "The parcel came late and its box was wet."}
    return {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
    }


class Writing:
    """What a connection needs of a transport, over a plain socket."""

    def __init__(self, caller: socket.socket) -> None:
        self._caller = caller

    def is_closing(self) -> bool:
        return self._caller.fileno() < 0

    def write(self, data: bytes) -> None:
        with suppress(ConnectionError):
            self._caller.setblocking(True)  # only the list of all calls is larger than the buffer of a socket
            self._caller.sendall(data)
            self._caller.setblocking(False)


async def serve(gateway: LimitedGateway) -> None:
    """Listen on a free port, print it, and serve until the process is ended."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        listener.setblocking(False)
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            caller, _ = await loop.sock_accept(listener)
            caller.setblocking(False)
            connection = LimitedConnection(gateway)
            connection.connection_made(Writing(caller))
            loop.add_reader(caller, connection.readable, caller)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", default="{}", help="JSON: model -> rpm, tpm")
    parser.add_argument("--window-s", type=float, nargs="*", default=[1, 60])
    parser.add_argument("--token-window-s", type=float, nargs="*", default=[60])
    parser.add_argument("--announce", choices=["nothing", "headers"], default="nothing")
    parser.add_argument(
        "--one-account", action="store_true", help="all models count against the limits of the model ''"
    )
    parser.add_argument("--no-retry-after", action="store_true")
    parser.add_argument("--change-at-s", type=float)
    parser.add_argument("--change-factor", type=float, default=1.0)
    parser.add_argument("--noise", type=float, default=0.0, help="the share of calls that is refused at any pace")
    parser.add_argument("--unavailable", type=float, default=0.0, help="the share of calls that gets a 503, late")
    parser.add_argument("--latency-ms", type=float, nargs=2, default=[50, 800], metavar=("LEAST", "MOST"))
    parser.add_argument("--answer-tokens", type=float, nargs=2, default=[20, 800], metavar=("LEAST", "MOST"))
    parser.add_argument("--seed", type=int, default=0)
    gateway = LimitedGateway(parser.parse_args())
    running.tuned(serve(gateway))


if __name__ == "__main__":
    main()
