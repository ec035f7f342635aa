"""A world made from a seed: an input, a configuration, a gateway with its troubles, and a process that may die."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batchrouter.assembly.finding import RunFinder
from batchrouter.assembly.session import Session
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import InputOptions, RunOptions
from batchrouter.core.settings import Settings
from tests.simulation.gateway import Phase, SimulatedGateway
from tests.simulation.store import LoopConnection

PRICES = {"small": (10, 40), "spare": (20, 80), "middle": (100, 400), "large": (300, 1500)}
TIERS = {"simple": ["small", "spare"], "medium": ["middle"], "complex": ["large"]}
INVOCATIONS_MOST = 60


@dataclass
class Plan:
    """What one seed decides."""

    seed: int
    lines: list[str]
    settings: dict[str, Any]
    phases: list[Phase]
    crashes_at_s: list[float] = field(default_factory=list)
    bills_times: int = 1
    crash_on: frozenset[int] = frozenset()
    latency_s: tuple[float, float] = (0.05, 3.0)

    @property
    def wall_clock_jumps(self) -> bool:
        return self.seed % 5 == 0

    @property
    def records(self) -> int:
        return sum('"prompt"' in line for line in self.lines)


class VirtualClock:
    """Implements ``ports.Clock``; the wall clock jumps now and then, the other never does."""

    def __init__(self, chance: random.Random, *, jumps: bool) -> None:
        self._chance = chance
        self._jumps = jumps
        self._offset_s = 0.0

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> str:
        if self._jumps and self._chance.random() < 0.01:
            self._offset_s += self._chance.choice((-7200.0, -61.0, 61.0, 7200.0))
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic_s() + self._offset_s)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class World:
    """One seed's run from the first start to the last, over all crashes. Coroutines run on a ``VirtualLoop``."""

    def __init__(self, plan: Plan, folder: Path, template: Path) -> None:
        self.plan = plan
        self.db = folder / "runs.db"
        self.input = folder / "in.jsonl"
        self.chance = random.Random(plan.seed)
        self.settings = Settings.model_validate(plan.settings)
        self.codes: list[int | str] = []
        shutil.copy(template, self.db)
        self.input.write_text("".join(line + "\n" for line in plan.lines))
        self._reader = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, isolation_level=None)
        self._reader.row_factory = sqlite3.Row
        self.gateway = SimulatedGateway(
            phases=plan.phases,
            chance=self.chance,
            prices={name: prices for name, prices in self.settings.prices.items() if prices},
            is_open=self._is_open,
            latency_s=plan.latency_s,
            bills_times=plan.bills_times,
            crash_on=plan.crash_on,
        )

    def rows(self, sql: str, *values: Any) -> list[Any]:
        return self._reader.execute(sql, values).fetchall()

    def close(self) -> None:
        self._reader.close()

    @property
    def reader(self) -> sqlite3.Connection:
        return self._reader

    def _is_open(self, line: int) -> bool:
        return bool(self.rows("SELECT 1 FROM attempts WHERE line = ? AND state = 'open'", line))

    async def live(self) -> int:
        """Start again until the run is finished, or no start gets it any further; the last exit code."""
        crashes = sorted(self.plan.crashes_at_s)
        for _ in range(INVOCATIONS_MOST):
            code = await self._invocation(crashes.pop(0) if crashes else None)
            self.codes.append("crash" if code is None else int(code))
            if code in (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.BUDGET):
                return int(code)
            await asyncio.sleep(self.chance.choice((0.1, 30.0, 600.0)))
        raise AssertionError(f"not finished after {INVOCATIONS_MOST} starts: {self.codes}")

    async def _invocation(self, crash_after_s: float | None) -> ExitCode | None:
        """One process; None: it died. A record that kills the program does so whatever else is planned."""
        connection = LoopConnection(self.db, self.chance)
        task = asyncio.create_task(self._run(connection))
        died = asyncio.Event()
        self.gateway.crash = died.set
        if crash_after_s is not None:
            asyncio.get_running_loop().call_later(crash_after_s, died.set)
        death = asyncio.create_task(died.wait())
        await asyncio.wait((task, death), return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if task.done():
            return task.result()
        connection.die()
        task.cancel()
        with suppress(BaseException):
            await task
        return None

    async def _run(self, connection: Any) -> ExitCode:
        clock = VirtualClock(self.chance, jumps=self.plan.wall_clock_jumps)
        options = RunOptions()
        finder = RunFinder(connection, self.db, self.settings, Silent(), clock)
        plan = await finder.by_input(str(self.input), InputOptions(), options)
        try:
            session = Session(
                connection, self.db, self.settings, options, gateway=self.gateway, observer=Silent(), clock=clock
            )
            code, _ = await session.work(plan)
        finally:
            if plan.source:
                await plan.source.aclose()
        return code


ROUTED_BY_A_MODEL = 0.3


def plan_of(seed: int) -> Plan:
    """The world of a seed."""
    chance = random.Random(seed)
    records = chance.choice((1, 5, 20, 40))
    lines, settings = _lines(chance, records), _settings(chance)
    routing = random.Random(f"routing {seed}")
    if routing.random() < ROUTED_BY_A_MODEL:
        settings["routing"]["router"] = routing.choice(("llm", ("rules", "llm")))
        lines = [_left_open(line) if routing.random() < 0.7 else line for line in lines]
    return Plan(
        seed=seed,
        lines=lines,
        settings=settings,
        phases=_phases(chance),
        crashes_at_s=[
            chance.choice((0.0, 0.2, 5.0, 120.0)) * chance.random() for _ in range(chance.choice((0, 0, 1, 2, 5)))
        ],
        bills_times=chance.choice((1,) * 9 + (3,)),
        crash_on=frozenset({chance.randint(1, records)}) if chance.random() < 0.05 else frozenset(),
    )


def _left_open(line: str) -> str:
    """The line without its tier, and with its number in the text by which a model is asked for one."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    del record["tier"]
    return json.dumps({**record, "prompt": f"{record['line']} {record['prompt']}"})


def _lines(chance: random.Random, records: int) -> list[str]:
    lines = []
    for number in range(1, records + 1):
        tier = chance.choice(("simple", "simple", "medium", "complex"))
        prompt = "word " * chance.randint(1, 60)
        good = json.dumps({"line": number, "prompt": prompt, "tier": tier})
        lines.append(chance.choice((good,) * 30 + ("", "not JSON")))
    return lines


def _settings(chance: random.Random) -> dict[str, Any]:
    models = {}
    for name, (price_in, price_out) in PRICES.items():
        models[name] = {"input": price_in, "output": price_out, "concurrency": chance.choice((1, 2, 8))}
        if chance.random() < 0.3:
            models[name]["rpm"] = chance.choice((6, 30, 120, 600))
        if chance.random() < 0.2:
            models[name]["tpm"] = chance.choice((2_000, 50_000))
    settings: dict[str, Any] = {
        "gateway": {"base_url": "http://simulated", "auth": "none", "patience_s": chance.choice((60, 900))},
        "tier": {tier: {"models": names, "max_output_tokens": 100} for tier, names in TIERS.items()},
        "model": models,
        "routing": {"escalate": chance.random() < 0.7},
        "run": {"max_attempts": chance.choice((1, 3, 5))},
    }
    if chance.random() < 0.3:
        settings["run"]["budget"] = str(chance.choice((0.01, 0.05, 0.5, 5)))
    return settings


def _phases(chance: random.Random) -> list[Phase]:
    kinds = (
        "server",
        "overload",
        "overload_later",
        "refused",
        "reset",
        "reset_paid",
        "lost",
        "hang",
        "garbage",
        "refusal",
        "cut",
        "bad_request",
    )
    usual = {kind: chance.choice((0.0, 0.0, 0.01, 0.05)) for kind in kinds}
    phases, at_s = [Phase(0.0, usual)], 1000.0
    for _ in range(chance.choice((0, 0, 1, 3))):
        at_s += chance.choice((1.0, 20.0, 200.0)) * chance.random()
        trouble = chance.choice(("refused", "server", "reset", "overload", "overload_later", "hang", "lost"))
        phases.append(Phase(at_s, {trouble: chance.choice((0.5, 1.0))}))
        at_s += chance.choice((5.0, 60.0, 3600.0)) * chance.random()
        phases.append(Phase(at_s, usual))
    return phases
