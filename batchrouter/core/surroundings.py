"""Judgements on the machine and the settings that a run works with: numbers in, findings out."""

from __future__ import annotations

from datetime import datetime

from batchrouter.core.findings import Finding
from batchrouter.core.settings import Settings
from batchrouter.core.tables import FOUND_CONCURRENCY_MOST

DESCRIPTORS_BESIDE = 64
"""For the database, the input, the logs and the rest."""
CLOCKS_APART_MOST_S = 300
_CAPS = ("max_tokens", "max_completion_tokens")


def calls_in_flight_most(
    settings: Settings, concurrency: int | None = None, *, found_most: int = FOUND_CONCURRENCY_MOST
) -> int:
    """How many calls all models together let be in flight, and ``concurrency`` over them.

    ``found_most``: how many for each model whose concurrency is to be found.
    """
    calls = sum(model.concurrency or found_most for model in settings.model.values())
    return min(calls, concurrency) if concurrency else calls


def found_concurrency_most(settings: Settings, limit: int | None) -> int:
    """How far the calls in flight of each model that names no concurrency may grow; ``limit``: of open files."""
    if limit is None:
        return FOUND_CONCURRENCY_MOST
    searching = sum(model.concurrency is None for model in settings.model.values())
    left = limit - DESCRIPTORS_BESIDE - calls_in_flight_most(settings, found_most=0)
    return max(1, min(FOUND_CONCURRENCY_MOST, left // max(1, searching)))


def descriptors_finding(limit: int | None, calls: int) -> Finding:
    """Whether each call in flight can have its connection; ``limit`` None: there is none."""
    if limit is None or limit >= calls + DESCRIPTORS_BESIDE:
        files = "any number of" if limit is None else f"{limit:,}"
        return Finding("ok", f"{files} open files are allowed, for {calls:,} calls in flight")
    return Finding(
        "warning",
        f"only {limit:,} open files are allowed, too few for {calls:,} calls in flight",
        f"`ulimit -n {calls + DESCRIPTORS_BESIDE}` before the command (systemd: LimitNOFILE), or less concurrency.",
    )


def sqlite_finding(version: tuple[int, int, int]) -> Finding:
    """The SQLite that is used; those with the WAL-reset bug with what must not be done."""
    name = ".".join(str(part) for part in version)
    if (
        version < (3, 7, 0)
        or version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51)
        or (3, 44, 6) <= version < (3, 45)
    ):
        return Finding("ok", f"SQLite {name}")
    return Finding(
        "ok",
        f"SQLite {name} has the WAL-reset bug, which needs two writers; batchrouter is the only one",
        "Let no other program write to the database.",
    )


def clock_finding(here: datetime, there: datetime) -> Finding:
    """How far the clock of this machine is from a gateway's."""
    apart_s = round((here - there).total_seconds())
    if abs(apart_s) <= CLOCKS_APART_MOST_S:
        return Finding("ok", "this machine's clock agrees with the gateway's")
    way = "ahead of" if apart_s > 0 else "behind"
    return Finding(
        "warning",
        f"this machine's clock is {abs(apart_s) // 60:,} minutes {way} the gateway's",
        "Set it: times in logs and reports, and --until, will be off. Costs are not concerned.",
    )


def unbounded_findings(settings: Settings) -> list[Finding]:
    """A warning for each model whose answers nothing bounds."""
    return [
        Finding(
            "warning",
            f'model."{name}".drop takes {model.max_tokens_param} out: nothing bounds its answers, nor what they cost',
            "A budget's reservation cannot be held to; bound them at the gateway, or put a cap into set.",
        )
        for name, model in settings.model.items()
        if model.max_tokens_param in model.drop and not any(cap in model.set for cap in _CAPS)
    ]
