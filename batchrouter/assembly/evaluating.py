"""An evaluation of a run: drawn once, asked for and judged as far as the budget goes, and gone on with by the same command."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial

from batchrouter.assembly import wiring
from batchrouter.assembly.carried import settings_of, stored_settings
from batchrouter.assembly.desk import Desk
from batchrouter.assembly.finishing import gateway_of
from batchrouter.assembly.session import cause_of, found_recently, recently_sent, with_a_rate
from batchrouter.assembly.workplace import Workplace
from batchrouter.core.counting import counted
from batchrouter.core.errors import ConfigurationError, ExitCode, InputUnfit
from batchrouter.core.options import EvaluationOptions
from batchrouter.core.settings import Settings
from batchrouter.core.version import VERSION
from batchrouter.engine.stopping import Stop
from batchrouter.ports import Comparison, RunEnd
from batchrouter.quality.comparing import Comparing
from batchrouter.quality.judging import JUDGE_PROMPT_VERSION
from batchrouter.quality.sampling import Stratum, allocate, draw
from batchrouter.store import evaluations, runs
from batchrouter.store.evaluations import EvaluationKey
from batchrouter.store.lock import name_run
from batchrouter.store.reading import open_reader
from batchrouter.store.runs import RunRow

EXACT = "exact"
AT_ONCE = 200
"""Comparisons that are worked on at the same time; how many calls that makes is for the models' pacing to say."""


class Evaluator:
    """Works on one evaluation over an open database."""

    def __init__(self, desk: Desk, options: EvaluationOptions) -> None:
        self._desk = desk
        self._options = options

    async def work(self, run: int) -> tuple[int, RunEnd]:
        """Go as far as it goes: (the evaluation's number, how it ended)."""
        stored = await runs.run_by_number(self._desk.connection, run)
        settings, _ = settings_of(stored, self._desk.settings)
        judge = self._judge(settings)
        evaluation = await self._begun(stored, settings, judge)
        if purged := await evaluations.give_up_purged(self._desk.connection, evaluation, self._desk.clock.utc()):
            self._desk.observer.notice(f"purged before they were judged: {counted(purged, 'record')} of the sample")
        with open_reader(self._desk.path) as reader:
            left = evaluations.unjudged(reader, evaluation)
        if not left:
            await evaluations.finish(self._desk.connection, evaluation, self._desk.clock.utc())
            return evaluation, RunEnd(ExitCode.OK)
        end = await self._compare_all(evaluation, stored, settings, None if judge == EXACT else judge, left)
        await evaluations.finish(self._desk.connection, evaluation, self._desk.clock.utc())
        return evaluation, end

    def _judge(self, settings: Settings) -> str:
        judge = self._options.judge or settings.tier[settings.top_tier].models[0]
        if judge != EXACT and judge not in settings.model:
            raise ConfigurationError(
                f'--judge {judge}: no table [model."{judge}"] with its prices', f"Or --judge {EXACT}: without a model."
            )
        return judge

    async def _begun(self, stored: RunRow, settings: Settings, judge: str) -> int:
        options = self._options
        stratify = ",".join(sorted(options.stratify, reverse=True))
        key = EvaluationKey(
            stored.run, options.seed, options.sample, options.against, judge, stratify, JUDGE_PROMPT_VERSION
        )
        with open_reader(self._desk.path) as reader:
            found = evaluations.find(reader, key)
            if found is not None:
                return found
            population = evaluations.population(reader, stored.run, settings.top_tier)
            if not population.drawable:
                raise InputUnfit(
                    f"run {stored.run} has no answer to compare: {counted(population.at_top, 'record')} done on the top"
                    f" tier, the texts of {population.without_text} purged",
                    "An evaluation compares done records with a dearer tier.",
                )
            rows = partial(evaluations.drawable, reader, stored.run, settings.top_tier)
            counts = Counter(self._stratum(tier, task) for _, _, tier, task in rows())
            allocation = allocate(counts, options.sample)
            lines = set(
                draw(((line, self._stratum(tier, task)) for line, _, tier, task in rows()), allocation, options.seed)
            )
            drawn = [
                (line, generation, tier, self._against(settings, tier))
                for line, generation, tier, _ in rows()
                if line in lines
            ]
        return await evaluations.create(self._desk.connection, key, population, drawn, self._desk.clock.utc())

    def _stratum(self, tier: str, task: str) -> Stratum:
        parts = {"tier": tier, "task": task}
        return tuple(parts[name] for name in self._options.stratify)

    def _against(self, settings: Settings, tier: str) -> str:
        above = settings.tier_above(tier) if self._options.against == "next" else None
        return above or settings.top_tier

    async def _compare_all(
        self, evaluation: int, stored: RunRow, settings: Settings, judge: str | None, left: Sequence[Comparison]
    ) -> RunEnd:
        desk = self._desk
        async with gateway_of(desk, settings, demo=stored.demo) as (asked_settings, gateway):
            name_run(desk.path, stored.run)
            invocation, lost = await runs.begin_beside(
                desk.connection,
                stored.run,
                evaluation,
                settings=stored_settings(asked_settings),
                version=VERSION,
                now=desk.clock.utc(),
            )
            if lost:
                desk.observer.notice(f"the last process ended with {counted(lost, 'call')} open, made again now")
            workplace = Workplace(
                desk.connection, desk.path, asked_settings, gateway, desk.observer, desk.clock, self._options.grace_s
            )
            async with workplace.open(stored.run, invocation, calls_most=AT_ONCE, clear_requests=False) as context:
                found = await found_recently(desk.connection, stored.run, asked_settings, desk.clock.utc())
                limited = with_a_rate(asked_settings, found)
                sent = await recently_sent(desk.connection, limited, desk.clock.utc())
                comparing = Comparing(context, wiring.asking(context, sent=sent, found=found), judge=judge)
                try:
                    await _work(comparing, left, context.stop)
                except BaseExceptionGroup as group:
                    raise cause_of(group) from group
        return _end(context.stop, comparing)


async def _work(comparing: Comparing, left: Sequence[Comparison], stop: Stop) -> None:
    """Compare all, until the run stops; calls in flight then have the grace to end in."""
    waiting = iter(left)

    async def work() -> None:
        for one in waiting:
            if stop.is_requested or comparing.has_no_room:
                return
            await comparing.compare(one)

    async with asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(work()) for _ in range(min(AT_ONCE, len(left)))]
        ending = tasks.create_task(_end_after_grace(stop, workers))
        await asyncio.wait(workers)
        ending.cancel()


async def _end_after_grace(stop: Stop, workers: Sequence[asyncio.Task[None]]) -> None:
    await stop.requested.wait()
    at_once = asyncio.create_task(stop.at_once.wait())
    try:
        await asyncio.wait([at_once], timeout=stop.grace_s)
    finally:
        at_once.cancel()
    for worker in workers:
        worker.cancel()


def _end(stop: Stop, comparing: Comparing) -> RunEnd:
    if stop.end:
        return stop.end
    if comparing.has_no_room:
        return RunEnd(
            ExitCode.BUDGET,
            "the budget is reached: no further call of the evaluation fits into what is left of it",
            "Raise [run] budget or --budget and start the same command again; what was judged is kept.",
        )
    return RunEnd(ExitCode.OK)
