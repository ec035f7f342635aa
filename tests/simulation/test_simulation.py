"""The real engine over the real SQL in thousands of small worlds: whatever happens, the promises hold."""

import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from batchrouter.core.errors import ExitCode
from batchrouter.store.verification import violations
from tests.simulation.loop import in_virtual_time
from tests.simulation.world import World, plan_of

pytestmark = [  # a process that dies closes nothing
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SEEDS = 2_000
SEEDS_A_TEST = 50
TABLES = ("counters", "records", "attempts", "results", "requests")
REGRESSIONS = (48,)
"""Seeds that once failed: 48: the limit of a minute was forgotten with the process."""


def check(world: World, code: int) -> None:
    """Every promise that can be seen from the rows and from the gateway's own account."""
    harmless = ("ok", "warning") if world.plan.wall_clock_jumps else ("ok",)
    broken = [finding.what for finding in violations(world.reader) if finding.level not in harmless]
    assert broken == []
    _check_records(world, code)
    _check_money(world)
    _check_limits(world)


def _check_records(world: World, code: int) -> None:
    states = Counter(row["state"] for row in world.rows("SELECT state FROM records"))
    results = world.rows("SELECT line, count(*) AS n FROM results GROUP BY line")
    assert all(row["n"] == 1 for row in results)
    assert len(results) == sum(states.values()) - states["queued"]
    if code in (ExitCode.OK, ExitCode.SOME_FAILED):
        assert states["queued"] == 0
        assert sum(states.values()) == sum(line != "" for line in world.plan.lines)
        assert (code == ExitCode.OK) == (states["failed"] + states["rejected"] == 0)
    answered = {seen.line for seen in world.gateway.seen if seen.delivered}
    done = {row["line"] for row in world.rows("SELECT line FROM records WHERE state = 'done'")}
    assert done <= answered
    poisoned = {row["line"] for row in world.rows("SELECT line FROM results WHERE error_class = 'poison'")}
    assert poisoned <= world.plan.crash_on or world.codes.count("crash") >= 3


def _check_money(world: World) -> None:
    rows = world.rows("SELECT line, state, cost_nano, reserved_nano FROM attempts")
    told = Counter(row["line"] for row in rows if row["state"] == "unknown")
    paid_for_nothing = Counter(seen.line for seen in world.gateway.seen if seen.paid_nano and not seen.delivered)
    assert paid_for_nothing <= told, "a paid call without an answer is not told"
    known = sum(row["cost_nano"] for row in rows if row["state"] in ("ok", "error"))
    reserved = sum(row["cost_nano"] for row in rows if row["state"] == "unknown")
    truth = sum(seen.paid_nano for seen in world.gateway.seen)
    more_than_reserved = (world.plan.bills_times - 1) * reserved
    assert known <= truth <= known + reserved + more_than_reserved
    if limit := world.settings.budget_nano:
        in_flight = sum(model.concurrency or 32 for model in world.settings.model.values())
        dearest = max((row["reserved_nano"] for row in rows), default=0)
        assert truth <= limit + more_than_reserved + (world.plan.bills_times - 1) * in_flight * dearest


def _check_limits(world: World) -> None:
    for name, model in world.settings.model.items():
        assert world.gateway.most_in_flight[name] <= (model.concurrency or 32)
        if model.rpm is None or world.plan.wall_clock_jumps:
            continue
        times = [seen.at_s for seen in world.gateway.seen if seen.model == name]
        for first, start_s in enumerate(times):
            within = sum(start_s <= at_s < start_s + 60.0 for at_s in times[first:])
            assert within <= model.rpm, f"{within} calls of {name} in a minute, {model.rpm} allowed"


def live(seed: int, folder: Path, template: Path) -> World:
    sys.stdout.write(f"seed {seed}\n")
    folder.mkdir()
    world = World(plan_of(seed), folder, template)
    try:
        code = in_virtual_time(world.live())
        check(world, code)
    finally:
        world.close()
    return world


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_in_every_world_the_promises_hold(first: int, tmp_path: Path, template: Path) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        live(seed, tmp_path / str(seed), template)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_worlds_that_once_broke_a_promise(seed: int, tmp_path: Path, template: Path) -> None:
    live(seed, tmp_path / "world", template)


def test_the_same_seed_gives_the_same_rows(tmp_path: Path, template: Path) -> None:
    for seed in range(0, SEEDS, 100):
        stories = []
        for name in ("first", "second"):
            world = live(seed, tmp_path / f"{name}-{seed}", template)
            stories.append((world.codes, world.gateway.seen, *(_rows(world.db, table) for table in TABLES)))
        assert stories[0] == stories[1]


def _rows(db: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()
