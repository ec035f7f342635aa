"""Which run an invocation works on, and what of its input is left to take in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite

from batchrouter.assembly.carried import fixed_settings, settings_of
from batchrouter.core.errors import InputMissing
from batchrouter.core.options import InputOptions, RunOptions
from batchrouter.core.records import Position
from batchrouter.core.run_choice import Choice, Comparison, choose, first_difference
from batchrouter.core.settings import Settings
from batchrouter.intake.source import FileSource
from batchrouter.ports import Clock, Observer
from batchrouter.store import runs
from batchrouter.store.reading import open_reader
from batchrouter.store.runs import RunRow

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, and its input where lines may be left.

    ``cut``: the rest of the input is not to be had any more. ``missing``: it may come back, but is not there now.
    """

    run: RunRow
    source: FileSource | None
    is_finished: bool = False
    cut: bool = False
    missing: InputMissing | None = None


class RunFinder:
    """Finds or makes the run that a command means; ``observer`` is told what a person should know."""

    def __init__(
        self, connection: aiosqlite.Connection, path: Path, settings: Settings, observer: Observer, clock: Clock
    ) -> None:
        self._connection = connection
        self._path = path
        self._settings = settings
        self._observer = observer
        self._clock = clock

    async def by_input(self, source: str, input_options: InputOptions, options: RunOptions) -> Plan:
        """The run that ``run`` means: newest of the name or of the input, or a new one."""
        identity = source if source == STDIN else str(Path(source).resolve())
        fixed = fixed_settings(self._settings, input_options)
        stored = None
        if not options.new:
            stored = await runs.newest_run(self._connection, name=options.name, source=identity, demo=options.demo)
        opened = self._open(source, input_options, stored)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(opened.aclose)
            if stored is None:
                run = await self._create(identity, options, fixed)
                stack.pop_all()
                return Plan(run, opened)
            compared = await opened.compare(self._digests_of(stored))
            if not stored.is_finished and stored.position == Position():
                currency = self._settings.currency
                stored = await runs.begin_anew(self._connection, stored, currency=currency, fixed=fixed)
            choice = await self._choose(stored, compared, fixed)
            if choice.notice:
                self._observer.notice(choice.notice)
            if choice.action == "go_on":
                if compared.content == "grown" and (stored.is_finished or stored.intake_state != "reading"):
                    await runs.reopen_intake(self._connection, stored.run)
                stack.pop_all()
                return Plan(stored, opened)
            if choice.action == "repeat":
                return Plan(stored, None, is_finished=True)
            await opened.rewind()
            run = await self._create(identity, options, fixed)
            stack.pop_all()
            return Plan(run, opened)

    async def _choose(self, stored: RunRow, compared: Comparison, fixed: Mapping[str, Any]) -> Choice:
        counts = await runs.counts(self._connection, stored.run) if stored.is_finished else []
        return choose(
            run=stored.run,
            finished=stored.is_finished,
            comparison=compared,
            settings_differ=first_difference(stored.fixed, fixed),
            failed=sum(records for _, state, records in counts if state == "failed"),
        )

    def _open(self, source: str, input_options: InputOptions, stored: RunRow | None) -> FileSource:
        try:
            return FileSource(source, self._settings, input_options, stored.position if stored else None)
        except InputMissing as error:
            if stored is None or stored.is_finished:
                raise
            hint = f"`batchrouter resume {stored.run}` goes on with what was taken in of it."
            raise InputMissing(error.message, hint) from error

    async def _create(self, identity: str, options: RunOptions, fixed: Mapping[str, Any]) -> RunRow:
        return await runs.create_run(
            self._connection,
            name=options.name,
            source=identity,
            demo=options.demo,
            currency=self._settings.currency,
            fixed=fixed,
            now=self._clock.utc(),
        )

    async def by_number(self, run: int) -> Plan:
        """The run that ``resume`` means: pending records, and new lines if the input is still what it was."""
        stored = await runs.run_by_number(self._connection, run)
        if stored.intake_state == "complete":
            return Plan(stored, None, is_finished=stored.is_finished)
        settings, input_options = settings_of(stored, self._settings)
        why, missing = "it cannot be read a second time", None
        if stored.input != STDIN:
            try:
                source = FileSource(stored.input, settings, input_options, stored.position)
            except InputMissing as error:
                why, missing = error.message, error
            else:
                compared = await source.compare(self._digests_of(stored))
                if compared.content != "different":
                    return Plan(stored, source)
                await source.aclose()
                why = compared.what
        self._observer.notice(f"run {run}: only what was taken in of {stored.input}: {why}")
        return Plan(stored, None, cut=missing is None, missing=missing)

    def _digests_of(self, stored: RunRow) -> Any:
        def digests(first: int, last: int) -> Iterable[tuple[int, bytes]]:
            with open_reader(self._path) as reader:
                return runs.line_digests(reader, stored.run, first, last)

        return digests
