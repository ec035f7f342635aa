"""The configuration as values: what a ``batchrouter.toml`` says, validated whole, with prices already in integers.

Amounts and prices stay ``Decimal`` until they are turned into integers here, so no price is ever rounded by a float.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, model_validator

from batchrouter.core.checks import Expectation
from batchrouter.core.money import nano_of
from batchrouter.core.pricing import Prices
from batchrouter.core.tables import (
    DEFAULT_GATEWAY,
    Currency,
    GatewaySettings,
    ModelSettings,
    RoutingSettings,
    RunSettings,
    Section,
    TaskSettings,
    TierSettings,
)

_ESCAPED = {ord(character): repr(character)[1:-1] for character in map(chr, range(32))}
"""A mistake is one line, whatever a name in the file has in it."""


class Settings(Section):
    """The whole configuration. ``batchrouter.load_settings(path)`` reads a file."""

    currency: Currency = "INR"
    tiers: tuple[str, ...] = ("simple", "medium", "complex")
    gateway: dict[str, GatewaySettings]
    tier: dict[str, TierSettings]
    model: dict[str, ModelSettings]
    routing: RoutingSettings = RoutingSettings()
    request: dict[str, Any] = Field(default_factory=dict)
    task: dict[str, TaskSettings] = Field(default_factory=dict)
    expect: Expectation | None = None
    run: RunSettings = RunSettings()
    exchange: dict[str, Annotated[Decimal, Field(gt=0, le=10**9)]] = Field(default_factory=dict)
    _origin: str = PrivateAttr("")

    @property
    def origin(self) -> str:
        """Where they were read, for people; '' where no file was looked for."""
        return self._origin

    def read_from(self, origin: str) -> Self:
        """The same, of this origin."""
        copy = self.model_copy()
        copy._origin = origin  # noqa: SLF001 - its own
        return copy

    @model_validator(mode="before")
    @classmethod
    def _name_the_default_gateway(cls, data: Any) -> Any:
        """``[gateway]`` holds the default gateway's own keys beside the tables of named ones; give it a name too."""
        gateways = data.get("gateway") if isinstance(data, dict) else None
        if not isinstance(gateways, dict):
            return data
        known = GatewaySettings.model_fields
        own = {key: value for key, value in gateways.items() if key in known or not _is_gateway(value)}
        named = {key: value for key, value in gateways.items() if key not in own}
        return {**data, "gateway": {DEFAULT_GATEWAY: own, **named} if own else named}

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        problems = [*self._tier_problems(), *self._model_problems(), *self._rule_problems()]
        if problems:
            raise ValueError("\n".join(problem.translate(_ESCAPED) for problem in problems))
        return self

    def _tier_problems(self) -> list[str]:
        problems = []
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            problems.append("tiers: needs at least one name, each once")
        problems += [
            f"tier.{name}: tiers names it, but there is no such table" for name in self.tiers if name not in self.tier
        ]
        problems += [f"tier.{name}: not in tiers {list(self.tiers)}" for name in self.tier if name not in self.tiers]
        for name, tier in self.tier.items():
            problems += [
                f'tier.{name}.models: no table [model."{model}"] with its prices'
                for model in tier.models
                if model not in self.model
            ]
        return problems

    def _model_problems(self) -> list[str]:
        problems = []
        for name, model in self.model.items():
            where = f'model."{name}"'
            if model.gateway not in self.gateway:
                problems.append(f"{where}.gateway: no table [gateway.{model.gateway}]")
            if model.currency and model.currency != self.currency and model.currency not in self.exchange:
                problems.append(f"{where}.currency: no rate for {model.currency} in [exchange]")
        for name, gateway in self.gateway.items():
            reported = gateway.trust_reported_cost
            if reported and reported != self.currency and reported not in self.exchange:
                where = "gateway" if name == DEFAULT_GATEWAY else f"gateway.{name}"
                problems.append(f"{where}.trust_reported_cost: no rate for {reported} in [exchange]")
        if self.run.baseline not in ("top", "requested") and self.run.baseline not in self.model:
            problems.append(f'run.baseline: "top", "requested" or a model; {self.run.baseline!r} has no [model] table')
        return problems

    def _rule_problems(self) -> list[str]:
        pins = [(f"routing.rule.{n}.tier", rule.tier) for n, rule in enumerate(self.routing.rule, start=1)]
        pins += [(f'task."{name}".tier', task.tier) for name, task in self.task.items() if task.tier]
        pins += [("routing.fallback", self.routing.fallback)] if self.routing.fallback else []
        problems = [
            f"{where}: {tier!r} is not one of {list(self.tiers)}" for where, tier in pins if tier not in self.tiers
        ]
        if self.routing.llm_model is not None and self.routing.llm_model not in self.model:
            problems.append(f'routing.llm_model: no table [model."{self.routing.llm_model}"] with its prices')
        return problems

    def rate(self, currency: str | None) -> Decimal:
        """Units of the run's currency for one unit of ``currency``."""
        if currency is None or currency == self.currency:
            return Decimal(1)
        return self.exchange[currency]

    @cached_property
    def prices(self) -> dict[str, Prices | None]:
        """Prices by model name; None where the configuration has none."""
        return {name: model.prices(self.rate(model.currency)) for name, model in self.model.items()}

    @property
    def budget_nano(self) -> int | None:
        """The run's budget in nano-units; None: no budget."""
        return None if self.run.budget is None else nano_of(self.run.budget)

    @property
    def gateways_used(self) -> list[str]:
        """The names of the gateways that a model is asked at."""
        return list(dict.fromkeys(model.gateway for model in self.model.values()))

    @property
    def top_tier(self) -> str:
        """The dearest tier."""
        return self.tiers[-1]

    @property
    def classifier_model(self) -> str:
        """The model that the LLM router asks: the cheapest tier's first, unless another one is named."""
        return self.routing.llm_model or self.tier[self.tiers[0]].models[0]

    @property
    def fallback_tier(self) -> str:
        """The tier of a record that the LLM router could not decide: the middle one, unless another one is named."""
        return self.routing.fallback or self.tiers[len(self.tiers) // 2]

    def tier_above(self, tier: str) -> str | None:
        """The next tier up, or None at the top."""
        index = self.tiers.index(tier)
        return self.tiers[index + 1] if index + 1 < len(self.tiers) else None

    def baseline_prices(self, requested_model: str | None) -> Prices | None:
        """The prices that ``saved`` is measured against, for a record whose body named ``requested_model``."""
        if self.run.baseline == "top":
            return self.prices[self.tier[self.top_tier].models[0]]
        if self.run.baseline == "requested":
            return self.prices.get(requested_model or "")
        return self.prices[self.run.baseline]

    def fixed_at_intake(self) -> dict[str, Any]:
        """The settings that a record carries from intake on; a change of them on an unfinished run is refused."""
        dumped = self.model_dump(mode="json", by_alias=True, include={"tiers", "routing", "request", "task", "expect"})
        mutable = {"escalate", "cache_ttl_days"}
        if not self.routing.asks_a_model:
            mutable |= {"llm_model", "fallback"}
        dumped["routing"] = {key: value for key, value in dumped["routing"].items() if key not in mutable}
        return dumped


def _is_gateway(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.keys() & GatewaySettings.model_fields.keys())
