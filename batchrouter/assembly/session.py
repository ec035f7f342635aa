"""One invocation of a run against an open database: everything is put together, set going, and its end is noted."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batchrouter.assembly import wiring
from batchrouter.assembly.carried import settings_of, stored_settings
from batchrouter.assembly.finding import STDIN, Plan
from batchrouter.assembly.workplace import Workplace
from batchrouter.core.counting import counted
from batchrouter.core.errors import BatchRouterError, ExitCode, InputMissing, Interrupted, StorageFailed
from batchrouter.core.limits import WINDOW_S
from batchrouter.core.options import InputOptions, RunOptions
from batchrouter.core.run_end import exit_code
from batchrouter.core.settings import Settings
from batchrouter.core.version import VERSION
from batchrouter.engine.context import RunContext
from batchrouter.engine.pipeline import LIMIT_REACHED, IntakePlan, Pipeline
from batchrouter.ports import Clock, Gateway, Observer, RunEnd, Sent
from batchrouter.routing.cached import DECISIONS_MOST
from batchrouter.store import runs
from batchrouter.store.decisions import remembered
from batchrouter.store.lock import name_run
from batchrouter.store.opening import WritingConnection
from batchrouter.store.purging import forget_done
from batchrouter.store.runs import Invocation

SECONDS_A_DAY = 86_400
FOUND_FOR_DAYS = 7
"""So long what was found of limits is what the next start begins with."""
BY_PLAN = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.PLANNED_STOP)
"""Ends that nobody waits for: there is time to write the file anew."""


class Session:
    """Works on runs of one database."""

    def __init__(
        self,
        connection: WritingConnection,
        path: Path,
        settings: Settings,
        options: RunOptions,
        *,
        gateway: Gateway,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._path = path
        self._settings = settings
        self._options = options
        self._pipeline: Pipeline | None = None
        self._gateway = gateway
        self._observer = observer
        self._clock = clock

    async def work(self, plan: Plan) -> tuple[ExitCode, RunEnd]:
        """Work on the run until it ends; its row says how when this returns or raises."""
        run = plan.run.run
        settings, input_options = settings_of(plan.run, self._settings)
        invocation = await self._begin(run, settings)
        workplace = Workplace(
            self._connection,
            self._path,
            settings,
            self._gateway,
            self._observer,
            self._clock,
            grace_s=self._options.grace_s,
            force_after_s=self._options.force_after_s,
        )
        until_done = settings.run.keep_requests == "until_done"
        try:
            async with workplace.open(
                run, invocation, calls_most=self._options.concurrency, clear_requests=until_done
            ) as context:
                end = await self._execute(context, plan, input_options)
        except BaseException as error:
            cause = cause_of(error)
            await self._note_failure(run, cause)
            if cause is error:
                raise
            raise cause from error
        code, end = await self._note_end(plan, end)
        if until_done and code in BY_PLAN:
            await self._leave_no_trace(run)
        return code, end

    async def _leave_no_trace(self, run: int) -> None:
        """The run is at its end whether there is room for a new file or not."""
        try:
            await forget_done(self._connection, self._path, run)
        except (StorageFailed, Interrupted) as error:
            self._observer.notice(f"{error.message}: `batchrouter purge --requests` does it again")

    async def _begin(self, run: int, settings: Settings) -> Invocation:
        name_run(self._path, run)
        max_failed = self._options.max_failed
        invocation, lost = await runs.begin(
            self._connection,
            run,
            settings=stored_settings(settings),
            version=VERSION,
            max_failed=str(max_failed) if max_failed else None,
            now=self._clock.utc(),
        )
        if lost:
            self._observer.notice(
                f"the last process ended with {counted(lost, 'call')} open, possibly paid, and made again now"
            )
        for tier, state, records in await runs.counts(self._connection, run):
            self._observer.resumed(tier or None, state, records)
        return invocation

    async def _execute(self, context: RunContext, plan: Plan, input_options: InputOptions) -> RunEnd:
        up_to_line, records_most = await self._limits(plan.run.run)
        routing = wiring.routing(context.settings, input_options, await self._remembered(context.settings))
        intake = IntakePlan(
            source=plan.source,
            deciding=routing.deciding,
            records_most=records_most,
            before_calls=plan.run.input == STDIN,
        )
        found = await found_recently(self._connection, plan.run.run, context.settings, self._clock.utc())
        self._pipeline = wiring.pipeline(
            context,
            plan.run.run,
            intake,
            routed=not input_options.no_routing,
            classifier=routing.classifier,
            concurrency=self._options.concurrency,
            up_to_line=up_to_line,
            duration_s=self._options.seconds_left(datetime.now(UTC)),
            sent=await recently_sent(self._connection, with_a_rate(context.settings, found), self._clock.utc()),
            found=found,
        )
        return await self._pipeline.execute()

    async def _remembered(self, settings: Settings) -> dict[bytes, str]:
        """What a model decided before, as far as it is not too old."""
        if not settings.routing.asks_a_model:
            return {}
        since = _ago(self._clock.utc(), settings.routing.cache_ttl_days * SECONDS_A_DAY)
        return await remembered(self._connection, since=since, most=DECISIONS_MOST)

    async def _limits(self, run: int) -> tuple[int | None, int | None]:
        """(the last line that --limit lets through, if it is taken in; how many records may still be taken in)."""
        limit = self._options.limit
        if limit is None:
            return None, None
        last = await runs.line_of_record(self._connection, run, limit)
        if last is not None:
            return last, 0
        taken = sum(n for _, state, n in await runs.counts(self._connection, run) if state != "rejected")
        return None, limit - taken

    async def _note_end(self, plan: Plan, end: RunEnd) -> tuple[ExitCode, RunEnd]:
        by_state: dict[str, int] = {}
        for _, state, records in await runs.counts(self._connection, plan.run.run):
            by_state[state] = by_state.get(state, 0) + records
        if plan.source:
            await self._warn_of_repeated_ids(plan.run.run)
        if self._options.limit is not None and end.exit_code is ExitCode.OK and by_state.get("queued"):
            end = LIMIT_REACHED
        if plan.missing and end.exit_code is ExitCode.OK:
            end = _rest_is_missing(plan.missing)
        code = exit_code(end.exit_code, by_state, self._options.max_failed)
        finished = code in (ExitCode.OK, ExitCode.SOME_FAILED)
        await self._write_end(plan.run.run, code, end.reason, cut=plan.cut and finished)
        return code, end

    async def _write_end(self, run: int, code: ExitCode, reason: str, *, cut: bool = False) -> None:
        found, shared = (self._pipeline.found_limits, self._pipeline.shared_limits) if self._pipeline else ({}, [])
        await runs.end(
            self._connection,
            run,
            code,
            reason,
            now=self._clock.utc(),
            cut=cut,
            found_limits=found,
            shared_limits=shared,
        )

    async def _warn_of_repeated_ids(self, run: int) -> None:
        repeated, first = await runs.repeated_ids(self._connection, run)
        if repeated:
            self._observer.notice(
                f"{counted(repeated, 'id')} on more than one line, the first: {first!r}; each line is a record of its own"
            )

    async def _note_failure(self, run: int, error: BaseException) -> None:
        """After a failed write, or when the run is another process's, nothing more is written here."""
        if not isinstance(error, StorageFailed | Interrupted):
            code = error.exit_code if isinstance(error, BatchRouterError) else ExitCode.FAULT
            await self._write_end(run, code, str(error)[:500])


def _rest_is_missing(missing: InputMissing) -> RunEnd:
    return RunEnd(
        missing.exit_code,
        f"{missing.message}: only what was taken in of it is done",
        "Put the file back and start the same command again.",
    )


def with_a_rate(settings: Settings, found: wiring.Found) -> list[str]:
    """The models for which calls of an earlier process count: others may have had hundreds of thousands."""
    return [
        name
        for name, model in settings.model.items()
        if model.rpm or model.tpm or not {"rpm", "tpm"}.isdisjoint(found.get(name, ()))
    ]


async def recently_sent(connection: WritingConnection, models: Collection[str], now: str) -> list[Sent]:
    """The calls of these models in the last minute before ``now`` (UTC), which count against their limits still."""
    if not models:
        return []
    then = datetime.fromisoformat(now)
    return [
        Sent(model, max(0.0, (then - datetime.fromisoformat(at)).total_seconds()), tokens)
        for model, at, tokens in await runs.recently_sent(connection, _ago(now, WINDOW_S), models)
    ]


async def found_recently(
    connection: WritingConnection, run: int, settings: Settings, now: str
) -> dict[str, Mapping[str, int]]:
    """What earlier starts found of the limits of these models behind these gateways: model -> rpm, tpm, concurrency."""
    found: dict[str, Mapping[str, int]] = {}
    for limits, then in await runs.found_earlier(connection, run, _ago(now, FOUND_FOR_DAYS * SECONDS_A_DAY)):
        for model, its in limits.items():
            if model in settings.model and _is_asked_as_then(model, settings, then):
                found.setdefault(model, its)
    return found


def _is_asked_as_then(model: str, settings: Settings, then: Mapping[str, Any]) -> bool:
    """Whether a model has the same name behind the same address as under an earlier configuration."""
    now = json.loads(stored_settings(settings))
    return _address(model, now) == _address(model, then)


def _address(model: str, settings: Mapping[str, Any]) -> tuple[str | None, str] | None:
    its = settings["model"].get(model)
    return (its["name"], settings["gateway"][its["gateway"]]["base_url"]) if its else None


def _ago(now: str, seconds: float) -> str:
    """So long before ``now``, as times stand in rows."""
    then = datetime.fromisoformat(now) - timedelta(seconds=seconds)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cause_of(error: BaseException) -> BaseException:
    """What really happened, out of the groups that tasks wrap around it: first of all what a person can act on."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [cause_of(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, BatchRouterError)), leaves[0])
