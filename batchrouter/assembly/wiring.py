"""One invocation's objects: models, lanes, dispatcher, pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from batchrouter.assembly.clock import guard_for
from batchrouter.assembly.machine import found_concurrency_most
from batchrouter.core.concurrency_search import ConcurrencySearch
from batchrouter.core.errors import ConfigurationError
from batchrouter.core.options import InputOptions
from batchrouter.core.rate_search import RateSearch
from batchrouter.core.settings import ModelSettings, Settings
from batchrouter.engine.calling import Calling
from batchrouter.engine.context import RunContext
from batchrouter.engine.deciding import Deciding
from batchrouter.engine.dispatcher import InProcessDispatcher
from batchrouter.engine.lane import TierLane
from batchrouter.engine.limit_search import LimitSearch
from batchrouter.engine.model import ModelState
from batchrouter.engine.pacing import Pacing
from batchrouter.engine.pipeline import IntakePlan, Pipeline
from batchrouter.engine.retrying import RetryGate
from batchrouter.engine.settling import Settling
from batchrouter.engine.watching import GatewayWatch
from batchrouter.ports import Sent
from batchrouter.routing.rules import RuleRouter


def pipeline(
    context: RunContext,
    intake: IntakePlan,
    *,
    routed: bool,
    concurrency: int | None,
    up_to_line: int | None,
    duration_s: float | None,
    sent: Sequence[Sent] = (),
) -> Pipeline:
    """The pipeline of one invocation. ``routed`` False: one lane for records that keep their own model.

    ``sent``: the calls of the last minute, the oldest first.
    """
    tiers: tuple[str | None, ...] = context.settings.tiers if routed else (None,)
    gate = RetryGate(context.stop)
    lanes = {
        tier: TierLane(tier, context.ledger, gate=gate, clock=context.clock, stop=context.stop, up_to_line=up_to_line)
        for tier in tiers
    }
    watch = GatewayWatch(context)
    settling = Settling(context, lanes, gate, watch)
    models = _models(context)
    for call in sent:
        if call.model in models:
            models[call.model].pacing.recall(call.age_s, call.tokens)
    calling = Calling(context, concurrency=concurrency)
    dispatcher = InProcessDispatcher(context, models, calling, settling, concurrency=concurrency)
    return Pipeline(context, intake, lanes, dispatcher, settling, gate, duration_s=duration_s)


def deciding(settings: Settings, options: InputOptions) -> Deciding:
    """How the tiers of an input's records are decided."""
    return Deciding(None if options.no_routing else RuleRouter(settings))


def _models(context: RunContext) -> dict[str, ModelState]:
    settings = context.settings
    most = found_concurrency_most(settings)
    return {name: _model(context, name, model, most) for name, model in settings.model.items()}


def _model(context: RunContext, name: str, model: ModelSettings, concurrency_most: int) -> ModelState:
    settings = context.settings
    concurrency = None if model.concurrency else ConcurrencySearch(concurrency_most)
    pacing = Pacing(
        rpm=model.rpm,
        tpm=model.tpm,
        concurrency=concurrency.size if concurrency else model.concurrency or 1,
        guard=guard_for(model.rpm),
        clock=context.clock,
        stop=context.stop,
    )
    limits = LimitSearch(
        pacing,
        context.clock,
        rate=None if model.rpm else RateSearch(),
        concurrency=concurrency,
        tokens_are_configured=model.tpm is not None,
    )
    patience_s = settings.gateway[model.gateway].patience_s
    return ModelState(
        name, model, settings.prices[name], pacing=pacing, limits=limits, patience_s=patience_s, clock=context.clock
    )


def check_prices(settings: Settings) -> None:
    """ConfigurationError (78) naming every model whose cost nobody would know."""
    without = [
        f'model."{name}": no price'
        for name in settings.model
        if settings.prices[name] is None and settings.gateway[settings.model[name].gateway].trust_reported_cost is None
    ]
    if without:
        raise ConfigurationError(
            "\n".join(without),
            "Give input and output per million tokens (an explicit 0 for a free model), or trust_reported_cost.",
        )
