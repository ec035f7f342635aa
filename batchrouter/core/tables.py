"""What each table of a configuration may say, and what in it is a mistake by itself. Unknown keys are errors."""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from batchrouter.core.checks import Expectation
from batchrouter.core.money import micro_of, nano_of
from batchrouter.core.pricing import Prices

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
