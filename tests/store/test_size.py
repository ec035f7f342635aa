"""What status, report and the start of a resume ask of a database costs the same however many records it holds."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from batchrouter.assembly.session import recently_sent, with_a_rate
from batchrouter.core.settings import Settings
from batchrouter.reporting import figures
from batchrouter.store import runs
from batchrouter.store.opening import connect_writer
from batchrouter.store.queue import QUEUED_RECORDS
from batchrouter.store.reading import open_reader
from tests.store.filled import fill

SIZES = (1_000, 10_000)
OPEN_CALLS = 7
MODEL = "openai/gpt-4o-mini"
LATER = "2026-01-01T00:00:01.000Z"
A_MINUTE_LATER = "2026-01-01T00:01:01.000Z"


class Steps:
    """Tens of steps of SQLite's machine."""

    def __init__(self) -> None:
        self.taken = 0

    def __call__(self) -> int:
        self.taken += 1
        return 0


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run in its middle, small and large."""
    paths = [tmp_path_factory.mktemp("size") / f"{records}.db" for records in SIZES]
    for path, records in zip(paths, SIZES, strict=True):
        with closing(sqlite3.connect(path)) as connection:
            fill(connection, [100] * records, [50] * (records // 2), open_calls=OPEN_CALLS)
    return paths


@pytest.mark.parametrize("look", [figures.all_statuses, lambda connection: figures.summary(connection, 1)])
def test_who_looks_reads_no_more_of_a_larger_run(
    databases: list[Path], look: Callable[[sqlite3.Connection], object]
) -> None:
    taken = []
    for path in databases:
        steps = Steps()
        with open_reader(path) as reader:
            reader.set_progress_handler(steps, 10)
            look(reader)
        taken.append(steps.taken)
    assert 0 < taken[1] <= taken[0] * 1.1


async def begin(connection: aiosqlite.Connection) -> None:
    _, lost = await runs.begin(connection, 1, settings="", version="", max_failed=None, now=LATER)
    assert lost == OPEN_CALLS


async def spent(connection: aiosqlite.Connection) -> None:
    assert await runs.spent_nano(connection, 1) > 0


def limited(**limits: int) -> Settings:
    tiers = {"simple": {"models": [MODEL]}}
    model = {MODEL: {"input": 1, "output": 1, **limits}}
    return Settings.model_validate(
        {"tiers": ["simple"], "gateway": {"default": {"base_url": "http://x"}}, "tier": tiers, "model": model}
    )


async def last_minute(connection: aiosqlite.Connection) -> None:
    assert len(await recently_sent(connection, with_a_rate(limited(rpm=500), {}), A_MINUTE_LATER)) == OPEN_CALLS


async def first_page(connection: aiosqlite.Connection) -> None:
    assert len(list(await connection.execute_fetchall(QUEUED_RECORDS, ("answer", 1, "simple", 0, 2**62, 256)))) == 256


async def test_a_resume_reads_no_more_of_a_larger_run_before_its_first_call(databases: list[Path]) -> None:
    asked: tuple[Callable[[aiosqlite.Connection], Awaitable[None]], ...] = (begin, spent, last_minute, first_page)
    taken: dict[str, list[int]] = {}
    for path in databases:
        connection = await connect_writer(path)
        for ask in asked:
            steps = Steps()
            await connection.set_progress_handler(steps, 10)
            await ask(connection)
            taken.setdefault(ask.__name__, []).append(steps.taken)
        await connection.close()
    for name, (small, large) in taken.items():
        assert 0 < large <= small * 1.1, name


async def test_calls_of_the_last_minute_are_not_read_for_models_without_a_rate(databases: list[Path]) -> None:
    connection = await connect_writer(databases[0])
    steps = Steps()
    await connection.set_progress_handler(steps, 1)
    assert await recently_sent(connection, with_a_rate(limited(concurrency=500), {}), A_MINUTE_LATER) == []
    assert steps.taken == 0
    await connection.close()


def test_a_rate_that_was_found_counts_like_one_that_is_configured() -> None:
    assert with_a_rate(limited(concurrency=500), {MODEL: {"rpm": 600}}) == [MODEL]
    assert with_a_rate(limited(concurrency=500), {MODEL: {"concurrency": 40}}) == []
