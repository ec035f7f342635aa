"""Verbs that look after a database and its surroundings: purge, verify, doctor, demo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from batchrouter.assembly import demo_room, examination
from batchrouter.assembly.clock import SystemClock
from batchrouter.core.findings import Finding
from batchrouter.core.settings import Settings
from batchrouter.reporting import figures
from batchrouter.reporting.decisions import RememberedDecision, remembered_decisions
from batchrouter.store import decisions, purging
from batchrouter.store.opening import open_writer
from batchrouter.store.reading import open_reader


async def purge(
    run: str | int | None = None,
    *,
    db: str | Path,
    requests: bool = False,
    answers: bool = False,
    older_than_s: float | None = None,
) -> purging.Purged:
    """Delete stored texts of a run for good (None: of all runs), if it ended so long ago; figures and costs stay.

    ``requests``: bodies, metadata and checks of ended records. ``answers``: answers, responses, texts of errors.
    """
    with open_reader(Path(db)) as reader:
        number = None if run is None else figures.find_run(reader, run)
    clock = SystemClock()
    before = None if older_than_s is None else clock.utc_ago(older_than_s)
    async with open_writer(Path(db), clock.utc()) as connection:
        return await purging.purge(
            connection, Path(db), run=number, ended_before=before, requests=requests, answers=answers
        )


def cached_decisions(db: str | Path) -> list[RememberedDecision]:
    """What a model decided for types of requests, the newest first."""
    with open_reader(Path(db)) as reader:
        return remembered_decisions(reader)


async def clear_cache(db: str | Path) -> int:
    """Forget what a model decided; how many decisions that were."""
    with open_reader(Path(db)):
        pass
    async with open_writer(Path(db), SystemClock().utc()) as connection:
        return await decisions.forget_all(connection)


def verify(db: str | Path) -> list[Finding]:
    """Re-derive every invariant of the database; findings of level ``error`` are violations."""
    with open_reader(Path(db)) as reader:
        return examination.verify(reader)


async def doctor(
    *,
    settings: Settings | None = None,
    config: str | Path | None = None,
    db: str | Path,
    source: str | Path | None = None,
) -> list[Finding]:
    """Configuration, keys, gateways, database and machine, before any money is spent.

    ``settings`` None: those of the file ``config``, whose mistakes are findings like all others.
    """
    return await examination.doctor(
        settings, Path(config) if config else None, Path(db), None if source is None else str(source)
    )


async def demo(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 0,
    latency_ms: float = 0.0,
    rpm: float | None = None,
    tpm: float | None = None,
    key: str | None = None,
    ledger: str | Path | None = None,
    faults: Mapping[str, float],
    ready: Callable[[str], None],
) -> None:
    """Serve the demo gateway until cancelled; ``ready`` is given its first line."""
    await demo_room.serve(
        host=host,
        port=port,
        seed=seed,
        latency_ms=latency_ms,
        rpm=rpm,
        tpm=tpm,
        key=key,
        ledger=Path(ledger) if ledger else None,
        faults=faults,
        ready=ready,
    )
