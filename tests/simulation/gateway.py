"""A gateway in virtual time that does what its plan says, and keeps the only true account of what was paid."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batchrouter.core.outcome import Answer, ErrorClass, Outcome
from batchrouter.core.pricing import Prices, Usage, cost_nano
from batchrouter.ports import Call

FAULTS = {
    "server": Outcome("error", ErrorClass.SERVER, "500", 500),
    "overload": Outcome("error", ErrorClass.OVERLOAD, "429", 429),
    "overload_later": Outcome("error", ErrorClass.OVERLOAD, "429", 429, retry_after_s=20.0),
    "refused": Outcome("not_sent", ErrorClass.NOT_SENT, "connection refused"),
    "reset": Outcome("unknown", ErrorClass.RESET, "reset"),
    "bad_request": Outcome("error", ErrorClass.BAD_REQUEST, "400", 400),
}
"""Faults that cost nothing at the gateway."""
PAID_FAULTS = {
    "lost": Outcome("unknown", ErrorClass.LOST, "broke off"),
    "reset_paid": Outcome("unknown", ErrorClass.RESET, "reset"),
    "hang": Outcome("unknown", ErrorClass.LOST, "timeout"),
}
"""Faults where the gateway did the work and the answer never came."""


TIER_SAID = ("simple", "medium", "complex", "Simple.", "who knows")


def _is_question(call: Call) -> bool:
    """Whether it is asked for a tier, and for no answer."""
    return "line" not in json.loads(call.body)


def _line_of(body: dict[str, Any]) -> int:
    """A record says its line; a question of which tier a record needs shows the beginning of its text."""
    if "line" in body:
        return int(body["line"])
    return int(json.loads(body["messages"][1]["content"])["request"].split()[0])


@dataclass(frozen=True, slots=True)
class Phase:
    """What happens from a time on: shares of kinds, the rest is answered."""

    from_s: float
    shares: dict[str, float]


@dataclass
class Seen:
    """A call as the gateway saw it."""

    line: int
    model: str
    at_s: float
    kind: str
    paid_nano: int
    delivered: bool = False


@dataclass
class SimulatedGateway:
    """Implements ``ports.Gateway``. ``is_open(line)`` says whether a durable open attempt of the line exists."""

    phases: list[Phase]
    chance: random.Random
    prices: dict[str, Prices]
    is_open: Callable[[int], bool]
    timeout_s: float = 120.0
    latency_s: tuple[float, float] = (0.05, 3.0)
    bills_times: int = 1
    crash_on: frozenset[int] = frozenset()
    crash: Callable[[], None] = lambda: None
    seen: list[Seen] = field(default_factory=list)
    in_flight: Counter[str] = field(default_factory=Counter)
    most_in_flight: Counter[str] = field(default_factory=Counter)
    lines_in_flight: set[int] = field(default_factory=set)

    async def call(self, call: Call) -> Outcome:
        line = _line_of(json.loads(call.body))
        assert self.is_open(line), f"line {line} was sent before its attempt was durable"
        assert line not in self.lines_in_flight, f"line {line} is in flight twice"
        now_s = asyncio.get_running_loop().time()
        kind = self._kind(now_s)
        self.lines_in_flight.add(line)
        self.in_flight[call.model] += 1
        self.most_in_flight[call.model] = max(self.most_in_flight[call.model], self.in_flight[call.model])
        try:
            return await self._answered(call, Seen(line, call.model, now_s, kind, 0))
        finally:
            self.in_flight[call.model] -= 1
            self.lines_in_flight.discard(line)

    def _kind(self, now_s: float) -> str:
        phase = max((phase for phase in self.phases if phase.from_s <= now_s), key=lambda phase: phase.from_s)
        draw = self.chance.random()
        for kind, share in phase.shares.items():
            draw -= share
            if draw < 0:
                return kind
        return "answer"

    async def _answered(self, call: Call, seen: Seen) -> Outcome:
        if seen.kind != "refused":
            self.seen.append(seen)
        if seen.line in self.crash_on:
            self.crash()
            await asyncio.Event().wait()
        usage = Usage(
            input_tokens=len(call.body) // 4 * self.bills_times,
            output_tokens=self.chance.randint(1, call.output_cap) * self.bills_times,
        )
        latency_s = self.timeout_s if seen.kind == "hang" else self.chance.uniform(*self.latency_s)
        if seen.kind in FAULTS:
            await asyncio.sleep(latency_s / 10)
            return FAULTS[seen.kind]
        seen.paid_nano = cost_nano(usage, self.prices[call.model])
        await asyncio.sleep(latency_s)
        if seen.kind in PAID_FAULTS:
            return PAID_FAULTS[seen.kind]
        seen.delivered = True
        if seen.kind == "garbage":
            return Outcome("error", ErrorClass.UNUSABLE, "no completion", 200, usage=usage)
        if seen.kind == "refusal":
            answer = Answer(None, "stop", refusal="I cannot")
        elif seen.kind == "cut":
            answer = Answer("half", "length")
        else:
            answer = Answer(TIER_SAID[seen.line % len(TIER_SAID)] if _is_question(call) else "yes", "stop")
        return Outcome("ok", None, "", 200, answer, usage)
