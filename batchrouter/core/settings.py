"""The configuration as values: what a ``batchrouter.toml`` says, validated whole, with prices already in integers.

Unknown keys are errors. Amounts and prices stay ``Decimal`` until they are turned into integers here, so no price is
ever rounded by a float.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from batchrouter.core.checks import Expectation
from batchrouter.core.money import micro_of, nano_of
from batchrouter.core.pricing import Prices

_ESCAPED = {ord(character): repr(character)[1:-1] for character in map(chr, range(32))}
"""A mistake is one line, whatever a name in the file has in it."""

Amount = Annotated[Decimal, Field(ge=0, le=10**9, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=10**9)]
Currency = Annotated[str, Field(min_length=3, max_length=8, pattern="^[A-Za-z]+$")]
RouterName = Literal["rules", "llm"]
Feature = Literal["tools", "vision", "json_schema"]

DEFAULT_GATEWAY = "default"
ROUTER_CHAINS: tuple[tuple[RouterName, ...], ...] = (("rules",), ("llm",), ("rules", "llm"))
FOUND_CONCURRENCY_MOST = 1_000
"""Where ``concurrency`` is not configured it is found, up to this bound for each model."""


class Section(BaseModel):
    """Base of all tables: frozen, and a key that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class GatewaySettings(Section):
    """One OpenAI-compatible HTTP API."""

    base_url: str
    api_key_env: str | None = None
    api_key_file: str | None = None
    auth: Literal["bearer", "api-key", "none"] = "bearer"
    timeout_s: float = Field(default=120, gt=0, allow_inf_nan=False)
    patience_s: float = Field(default=900, gt=0, allow_inf_nan=False)
    max_response_mb: float = Field(default=8, gt=0, allow_inf_nan=False)
    headers: dict[str, str] = {}
    proxy: str | None = None
    ca_file: str | None = None
    trust_reported_cost: Currency | None = None

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value and not (value.isidentifier() and value.isascii()):
            raise ValueError("needs the name of an environment variable; the key itself does not belong into this file")
        return value

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key_env and self.api_key_file:
            raise ValueError("api_key_env and api_key_file exclude one another")
        return self


class TierSettings(Section):
    """The models of one tier: the first is preferred, the rest are fallbacks."""

    models: tuple[str, ...] = Field(min_length=1)
    max_output_tokens: Count = 4096


OUTPUT_CAPS = ("max_tokens", "max_completion_tokens")
"""What an output cap is called in a request: the old name, and the new one."""


class ModelSettings(Section):
    """Prices (per million tokens, in ``currency``), limits and dialect of one model."""

    input: Amount | None = None
    output: Amount | None = None
    cached_input: Amount | None = None
    cache_write: Amount | None = None
    request: Amount = Decimal(0)
    currency: Currency | None = None
    rpm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tpm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    concurrency: Count | None = None
    gateway: str = DEFAULT_GATEWAY
    name: str | None = None
    max_tokens_param: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    drop: tuple[str, ...] = ()
    set: dict[str, Any] = {}
    context: Count | None = None
    supports: tuple[Feature, ...] | None = None

    @model_validator(mode="after")
    def _input_and_output_together(self) -> Self:
        if (self.input is None) != (self.output is None):
            raise ValueError("input and output prices are given together or not at all")
        return self

    def really_sent(self, output_cap: int, choices: int) -> tuple[int, int]:
        """The output cap and the number of choices, after ``set`` has had its say."""
        if not self.set:
            return output_cap, choices
        caps = [cap for name in OUTPUT_CAPS if type(cap := self.set.get(name)) is int]
        if self.max_tokens_param not in self.set:
            caps.append(output_cap)
        set_choices = self.set.get("n")
        return max(caps, default=output_cap), set_choices if type(set_choices) is int else choices

    def prices(self, rate: Decimal) -> Prices | None:
        """The prices in micro-units of the run's currency (``rate`` units of it for one of the model's); None: unknown."""
        if self.input is None or self.output is None:
            return None
        cached = self.input if self.cached_input is None else self.cached_input
        written = self.input if self.cache_write is None else self.cache_write
        return Prices(
            input_micro=micro_of(self.input * rate),
            output_micro=micro_of(self.output * rate),
            cached_input_micro=micro_of(cached * rate),
            cache_write_micro=micro_of(written * rate),
            request_nano=nano_of(self.request * rate),
        )


class RuleSettings(Section):
    """One rule of the user's own; every condition that it names must hold."""

    tier: str
    task: str | None = None
    contains: tuple[str, ...] = ()
    regex: str | None = None
    min_words: int | None = Field(default=None, ge=0)
    max_words: int | None = Field(default=None, ge=0)
    has: str | None = None

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        conditions = (self.task, self.regex, self.min_words, self.max_words, self.has)
        if not self.contains and all(condition is None for condition in conditions):
            raise ValueError("a rule needs a condition: task, contains, regex, min_words, max_words or has")
        return self


class RoutingSettings(Section):
    """How a record's tier is decided."""

    router: RouterName | tuple[RouterName, ...] = "rules"
    llm_model: str | None = None
    fallback: str | None = None
    cache_ttl_days: float = Field(default=30, gt=0, le=36_500, allow_inf_nan=False)
    escalate: bool = True
    rule: tuple[RuleSettings, ...] = ()

    @field_validator("router", mode="before")
    @classmethod
    def _is_a_chain(cls, value: Any) -> Any:
        """A list of one is the same setting as that one."""
        chain = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
        if chain not in ROUTER_CHAINS:
            raise ValueError('must be "rules", "llm" or ["rules", "llm"]')
        return chain[0] if len(chain) == 1 else chain

    @property
    def routers(self) -> tuple[RouterName, ...]:
        """The routers in the order in which they are asked."""
        return (self.router,) if isinstance(self.router, str) else self.router

    @property
    def asks_a_model(self) -> bool:
        """Whether a model is asked where nothing before it decides."""
        return "llm" in self.routers


class TaskSettings(Section):
    """Everything that belongs to one type of request."""

    tier: str | None = None
    request: dict[str, Any] = {}
    expect: Expectation | None = None


class RunSettings(Section):
    """Limits of one run."""

    budget: Amount | None = None
    max_attempts: int = Field(default=5, ge=1, le=50)
    reuse: Literal["off", "run", "db"] = "off"
    keep_requests: Literal["always", "until_done"] = "always"
    baseline: str = "top"


class Settings(Section):
    """The whole configuration. ``batchrouter.load_settings(path)`` reads a file."""

    currency: Currency = "INR"
    tiers: tuple[str, ...] = ("simple", "medium", "complex")
    gateway: dict[str, GatewaySettings]
    tier: dict[str, TierSettings]
    model: dict[str, ModelSettings]
    routing: RoutingSettings = RoutingSettings()
    request: dict[str, Any] = {}
    task: dict[str, TaskSettings] = {}
    expect: Expectation | None = None
    run: RunSettings = RunSettings()
    exchange: dict[str, Annotated[Decimal, Field(gt=0, le=10**9)]] = {}
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
