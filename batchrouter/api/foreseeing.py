"""Verbs that look ahead without a call: estimate, route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from batchrouter.assembly import wiring
from batchrouter.core.options import InputOptions, RunOptions
from batchrouter.core.records import Decision, Record, Rejection, RequestText
from batchrouter.core.settings import Settings
from batchrouter.intake.source import FileSource
from batchrouter.reporting import estimate as estimating


async def estimate(
    source: str | Path,
    *,
    settings: Settings,
    input_options: InputOptions = InputOptions(),
    options: RunOptions = RunOptions(),
) -> estimating.Estimate:
    """What a run of this input would cost and how long it would take; no call is made."""
    estimator = estimating.Estimator(settings)
    classifier = wiring.routing(settings, input_options).classifier
    lines = route_lines(source, settings=settings, input_options=input_options, most=options.limit)
    async for line, decision in lines:
        estimator.add(line, decision)
        if isinstance(line, Record) and decision and decision.tier is None and classifier:
            estimator.add_question(classifier.question(line.text))
    return estimator.estimate(options.seconds_left(datetime.now(UTC)))


def route(text: str, *, settings: Settings) -> Decision:
    """The tier of a request with this text, and why; ``tier`` None: a model would be asked."""
    deciding = wiring.routing(settings, InputOptions()).deciding
    return deciding.of_text(RequestText(last_user=text, all_user=text)) or wiring.left_open(settings)


async def route_lines(
    source: str | Path, *, settings: Settings, input_options: InputOptions = InputOptions(), most: int | None = None
) -> AsyncIterator[tuple[Record | Rejection, Decision | None]]:
    """Every line of an input with its decision (None: rejected); its ``tier`` is None where a model would be asked."""
    deciding = wiring.routing(settings, input_options).deciding
    opened = FileSource(str(source), settings, input_options)
    try:
        async for batch in opened.batches(records_most=most):
            for line in batch.lines:
                yield line, (deciding.of(line) or wiring.left_open(settings)) if isinstance(line, Record) else None
    finally:
        await opened.aclose()
