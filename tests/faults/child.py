"""What a killed process does: a run like the command's; for the kit's own test, with a bug planted in it."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path
from typing import Any

import batchrouter.assembly.desk
import batchrouter.assembly.evaluating  # noqa: F401 - loaded once, for all
from batchrouter import api
from batchrouter.cli.exits import interrupt_on_signals
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import EvaluationOptions
from batchrouter.core.settings import Settings
from batchrouter.store.changes import Changes
from batchrouter.store.ledger import RunLedger
from tests.faults.conftest import run_in

PAUSE_S = 0.02


def main(folder: Path, settings: dict[str, Any], bug: str = "", options: dict[str, Any] | None = None) -> None:
    """Run the folder's job and leave with its exit code."""
    if bug:
        _BUGS[bug]()
    interrupt_on_signals()
    try:
        report = asyncio.run(run_in(folder, settings, **(options or {})))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(int(report.exit_code))


def evaluate(folder: Path, settings: dict[str, Any], sample: int, bug: str = "") -> None:
    """Evaluate the folder's run and leave with its exit code."""
    if bug:
        _BUGS[bug]()
    options = EvaluationOptions(sample=sample)
    _, end = asyncio.run(
        api.evaluate(db=folder / "runs.db", settings=Settings.model_validate(settings), options=options)
    )
    sys.exit(int(end.exit_code))


def measured(folder: Path, settings: dict[str, Any]) -> None:
    """``main``, which leaves its peak memory in kB in a file."""
    try:
        main(folder, settings)
    finally:
        (folder / "peak_kb").write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def _plant_two_transactions() -> None:
    """The attempt's end is committed, and the record's result and state only in a second transaction."""
    whole = RunLedger._commit

    async def commit(self: RunLedger, changes: Changes) -> None:
        results, changes.results = changes.results, []
        finished, changes.finished = changes.finished, []
        await whole(self, changes)
        if finished:
            await asyncio.sleep(PAUSE_S)
            second = Changes(changes.run, changes.config)
            second.results, second.finished = results, finished
            await whole(self, second)

    RunLedger._commit = commit  # type: ignore[method-assign]


def _plant_sent_before_its_row() -> None:
    """The request leaves while its attempt row still waits to be committed."""
    whole = RunLedger._commit

    async def commit(self: RunLedger, changes: Changes) -> None:
        await asyncio.sleep(PAUSE_S)
        await whole(self, changes)

    async def open_(self: RunLedger, attempt: Any) -> None:
        self._open_group().changes.open(attempt)

    RunLedger._commit = commit  # type: ignore[method-assign]
    RunLedger.open = open_  # type: ignore[method-assign]


def _plant_verdict_in_a_second_transaction() -> None:
    """The end of a judge's call is committed, and what it said of the pair only in a second transaction."""
    whole = RunLedger._commit

    async def commit(self: RunLedger, changes: Changes) -> None:
        judged, changes.judged = changes.judged, {}
        await whole(self, changes)
        if judged:
            await asyncio.sleep(PAUSE_S)
            second = Changes(changes.run, changes.config)
            second.judged = judged
            await whole(self, second)

    RunLedger._commit = commit  # type: ignore[method-assign]


_BUGS = {
    "two transactions": _plant_two_transactions,
    "sent before its row": _plant_sent_before_its_row,
    "verdict in a second transaction": _plant_verdict_in_a_second_transaction,
}
