"""One invocation's objects: models, lanes, dispatcher, pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from batchrouter.assembly.clock import guard_for
from batchrouter.assembly.machine import found_concurrency_most
from batchrouter.core.concurrency_search import ConcurrencySearch
from batchrouter.core.errors import ConfigurationError
from batchrouter.core.options import InputOptions
from batchrouter.core.rate_search import RateSearch
from batchrouter.core.records import Decision, RequestText
from batchrouter.core.settings import Settings
from batchrouter.core.tables import ModelSettings
from batchrouter.engine.account import Account
from batchrouter.engine.asking import Asking
from batchrouter.engine.calling import Calling
from batchrouter.engine.classifying import Classifying
from batchrouter.engine.context import RunContext
from batchrouter.engine.deciding import Deciding
from batchrouter.engine.dispatcher import InProcessDispatcher
from batchrouter.engine.lane import TierLane
from batchrouter.engine.limit_search import LimitSearch
from batchrouter.engine.model import ModelState
from batchrouter.engine.pacing import Pacing
from batchrouter.engine.pipeline import IntakePlan, Pipeline
from batchrouter.engine.retry_gate import RetryGate
from batchrouter.engine.reusing import Reuse
from batchrouter.engine.settling import Settling
from batchrouter.engine.watching import GatewayWatch
from batchrouter.intake.parser import read_again
from batchrouter.ports import Job, Router, Sent
from batchrouter.routing.cached import DecisionCache
from batchrouter.routing.chain import RouterChain
from batchrouter.routing.llm import LlmRouter
from batchrouter.routing.rules import RuleRouter

Found = Mapping[str, Mapping[str, int]]
"""Limits that nobody configured: model -> rpm, tpm, concurrency."""


def pipeline(
    context: RunContext,
    run: int,
    intake: IntakePlan,
    *,
    routed: bool,
    classifier: LlmRouter | None,
    concurrency: int | None,
    up_to_line: int | None,
    duration_s: float | None,
    sent: Sequence[Sent] = (),
    found: Found = MappingProxyType({}),
) -> Pipeline:
    """The pipeline of one invocation. ``routed`` False: one lane for records that keep their own model.

    ``sent``: the calls of the last minute, the oldest first. ``found``: what earlier starts found of limits.
    """
    gate = RetryGate(context.stop)
    scope = context.settings.run.reuse
    reuse = None if scope == "off" else Reuse(context, run, across_runs=scope == "db")
    lanes = {
        tier: TierLane(
            tier,
            context.ledger,
            gate=gate,
            clock=context.clock,
            stop=context.stop,
            up_to_line=up_to_line,
            purpose="classify" if tier is None and classifier else "answer",
            let_go=reuse.released if reuse else None,
        )
        for tier in _tiers(context.settings, routed=routed, classifier=classifier)
    }
    watch = GatewayWatch(context)
    settling = Settling(context, lanes, gate, watch, reuse)
    models = _models(context, sent, found)
    if concurrency:
        for model in models.values():
            model.pacing.spare_others()
    calling = Calling(context, concurrency=concurrency)
    dispatcher = InProcessDispatcher(context, models, calling, settling, reuse, concurrency=concurrency)
    classifying = None
    if classifier:
        classifying = Classifying(
            context,
            classifier,
            Asking(context, models, calling, watch),
            lanes,
            text_of=_text_of,
        )
    return Pipeline(
        context, intake, lanes, dispatcher, models, settling, gate, classifying=classifying, duration_s=duration_s
    )


def asking(context: RunContext, *, sent: Sequence[Sent] = (), found: Found = MappingProxyType({})) -> Asking:
    """For questions of our own beside a run."""
    calling = Calling(context, concurrency=None)
    return Asking(context, _models(context, sent, found), calling, GatewayWatch(context))


def _tiers(settings: Settings, *, routed: bool, classifier: LlmRouter | None) -> tuple[str | None, ...]:
    if not routed:
        return (None,)
    return (None, *settings.tiers) if classifier else settings.tiers


def _text_of(job: Job) -> RequestText:
    return read_again(job.body, job.task)[1]


@dataclass(frozen=True, slots=True)
class Routing:
    """How the tiers of an input's records are decided; ``classifier`` asks a model where ``deciding`` leaves it open."""

    deciding: Deciding
    classifier: LlmRouter | None = None


def routing(settings: Settings, options: InputOptions, remembered: Mapping[bytes, str] | None = None) -> Routing:
    """The routers of the configuration. ``remembered``: key -> tier of earlier decisions of a model."""
    if options.no_routing:
        return Routing(Deciding(None))
    chain = settings.routing.routers
    routers: list[Router] = [RuleRouter(settings, only_if_sure=chain[-1] != "rules")] if "rules" in chain else []
    if not settings.routing.asks_a_model:
        return Routing(Deciding(RouterChain(routers)))
    classifier = LlmRouter(settings, options.template, DecisionCache(remembered))
    return Routing(Deciding(RouterChain([*routers, classifier])), classifier)


def left_open(settings: Settings) -> Decision:
    """What is said of a record while no call may be made."""
    return Decision(None, f"{settings.classifier_model} would be asked", "llm")


def _models(context: RunContext, sent: Sequence[Sent], found: Found) -> dict[str, ModelState]:
    settings = context.settings
    most = found_concurrency_most(settings)
    accounts = {name: Account(context.clock) for name in settings.gateway}
    models = {
        name: _model(context, name, model, most, accounts[model.gateway], found.get(name, {}))
        for name, model in settings.model.items()
    }
    for call in sent:
        if call.model in models:
            models[call.model].limits.recall(call.age_s, call.tokens)
    return models


def _model(
    context: RunContext,
    name: str,
    model: ModelSettings,
    concurrency_most: int,
    account: Account,
    found: Mapping[str, int],
) -> ModelState:
    settings = context.settings
    is_searched = model.rpm is None and model.tpm is None
    rate = None if model.rpm else _rate_search(found, context.clock.monotonic_s())
    concurrency = None if model.concurrency else _concurrency_search(found, concurrency_most)
    pacing = Pacing(
        rpm=rate.rpm if rate else model.rpm,
        tpm=model.tpm or found.get("tpm"),
        concurrency=concurrency.size if concurrency else model.concurrency or 1,
        guard=guard_for(model.rpm),
        clock=context.clock,
        stop=context.stop,
    )
    limits = LimitSearch(
        pacing,
        context.clock,
        rate=rate,
        concurrency=concurrency,
        tokens_are_configured=model.tpm is not None,
        model=name,
        account=account if is_searched else None,
        found=found,
    )
    patience_s = settings.gateway[model.gateway].patience_s
    return ModelState(
        name, model, settings.prices[name], pacing=pacing, limits=limits, patience_s=patience_s, clock=context.clock
    )


def _rate_search(found: Mapping[str, int], now_s: float) -> RateSearch:
    return RateSearch.from_found(found["rpm"], now_s) if "rpm" in found else RateSearch()


def _concurrency_search(found: Mapping[str, int], most: int) -> ConcurrencySearch:
    return (
        ConcurrencySearch.from_found(found["concurrency"], most) if "concurrency" in found else ConcurrencySearch(most)
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
