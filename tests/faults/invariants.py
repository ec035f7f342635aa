"""What must hold when a job is done, however often its processes were killed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from batchrouter import api
from batchrouter.core.commit_lead import lead_most
from tests.faults.conftest import CALLS_IN_FLIGHT
from tests.faults.gateway import FaultGateway


class Broken(AssertionError):
    """An invariant does not hold."""


def check_done(folder: Path, gateway: FaultGateway, *, records: int, kills: int, code: int) -> int:
    """Raise ``Broken`` unless every line ended once and all that was paid for nothing is told; the poisoned records."""
    run = api.report(db=folder / "runs.db").run
    poisoned = int(rows(folder, "SELECT count(*) FROM results WHERE error_class = 'poison'")[0][0])
    _holds(code == (3 if poisoned else 0), f"exit code {code}")
    _holds(run.done + poisoned == records == run.records, f"{run.done} of {records} records done")
    results = rows(folder, "SELECT count(*), count(DISTINCT line) FROM results")
    _holds(results == [(records, records)], f"{results} results and lines of them")
    good = rows(folder, "SELECT count(*) FROM attempts WHERE state = 'ok'")[0][0]
    _holds(good == run.done, f"{good} good answers for {run.done} records")
    twice = sum(gateway.paid.values()) - run.done
    _holds(twice <= run.unknown_calls, f"{twice} calls paid for nothing, {run.unknown_calls} told")
    _holds(twice <= kills * CALLS_IN_FLIGHT, f"{twice} calls paid for nothing in {kills} kills")
    told_most = kills * (CALLS_IN_FLIGHT + lead_most(CALLS_IN_FLIGHT))
    _holds(run.unknown_calls <= told_most, f"{run.unknown_calls} calls told for {kills} kills")
    check_database(folder)
    return poisoned


def check_database(folder: Path) -> None:
    """Raise ``Broken`` unless ``verify`` finds nothing."""
    broken = [finding.what for finding in api.verify(folder / "runs.db") if finding.level != "ok"]
    _holds(not broken, f"verify: {broken}")


def rows(folder: Path, sql: str) -> list[Any]:
    """What a person with a shell sees."""
    connection = sqlite3.connect(f"file:{folder / 'runs.db'}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def durable_answers(folder: Path) -> int:
    """Good answers whose rows outlived the process."""
    try:
        return int(rows(folder, "SELECT count(*) FROM attempts WHERE state = 'ok'")[0][0])
    except sqlite3.OperationalError:  # killed before there was a database
        return 0


def _holds(condition: bool, what: str) -> None:
    if not condition:
        raise Broken(what)
