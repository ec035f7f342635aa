"""What a run would cost and how long it would take, from its records alone. Pure; every assumption is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from batchrouter.core.counting import counted
from batchrouter.core.money import format_amount
from batchrouter.core.pricing import Usage, cost_nano
from batchrouter.core.records import Decision, Record, Rejection
from batchrouter.core.settings import Settings
from batchrouter.core.tables import TierSettings
from batchrouter.core.tokens import TIER_NAME_TOKENS, TYPICAL_OUTPUT_TOKENS, typical_input_tokens
from batchrouter.ports import Classification
from batchrouter.reporting.terminal import duration

TYPES_MOST = 100_000
"""So many types of request are told apart; beyond them each record counts as one."""


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """One tier (or the total): tokens, amounts in nano-units (None: no price), ``share`` of the records in percent.

    ``time_s``: seconds under the models' requests/min and tokens/min; None where no limit is configured.
    """

    tier: str
    model: str
    records: int
    input_tokens: int
    output_tokens: int
    cost_nano: int | None
    share: float
    time_s: float | None
    baseline_nano: int | None
    saved_nano: int | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """All tiers, their total, and what was assumed."""

    tiers: tuple[EstimateRow, ...]
    total: EstimateRow
    rejected: int
    currency: str
    assumptions: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            "tiers": [dataclasses.asdict(row) for row in self.tiers],
            "total": {**dataclasses.asdict(self.total), "rejected": self.rejected, "currency": self.currency},
            "assumptions": list(self.assumptions),
        }


@dataclass(slots=True)
class _Sum:
    model: str
    records: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = 0
    baseline_nano: int | None = 0


@dataclass(slots=True)
class Estimator:
    """Adds up records as they are read; holds one sum a tier and model, whatever the size of the input."""

    settings: Settings
    _sums: dict[tuple[str, str], _Sum] = field(default_factory=dict)
    _rejected: int = 0
    _left_open: int = 0
    _asked_about: set[bytes] = field(default_factory=set)
    _asking: _Sum | None = None

    def add(self, line: Record | Rejection, decision: Decision | None) -> None:
        """One line of the input with its decision."""
        if isinstance(line, Rejection):
            self._rejected += 1
            return
        request = line.request
        tier = decision.tier if decision else None
        if decision and decision.router == "llm":
            self._left_open += 1
            tier = self.settings.fallback_tier
        settings = self.settings.tier[tier] if tier else TierSettings(models=(request.requested_model or "",))
        model = settings.models[0]
        cap = request.max_output_tokens or settings.max_output_tokens
        usage = Usage(typical_input_tokens(request.prompt_bytes), min(cap, TYPICAL_OUTPUT_TOKENS) * request.choices)
        prices, baseline = self.settings.prices.get(model), self.settings.baseline_prices(request.requested_model)
        total = self._sums.setdefault((tier or "", model), _Sum(model))
        total.records += 1
        total.input_tokens += usage.input_tokens
        total.output_tokens += usage.output_tokens
        total.cost_nano = _plus(total.cost_nano, cost_nano(usage, prices) if prices else None)
        total.baseline_nano = _plus(total.baseline_nano, cost_nano(usage, baseline) if baseline else None)

    def add_question(self, about: Classification) -> None:
        """A record whose tier a model is asked for, once for each type of request."""
        if about.key in self._asked_about:
            return
        if len(self._asked_about) < TYPES_MOST:
            self._asked_about.add(about.key)
        model = self.settings.classifier_model
        self._asking = total = self._asking or _Sum(model)
        usage = Usage(typical_input_tokens(about.prompt_bytes), TIER_NAME_TOKENS)
        prices = self.settings.prices[model]
        total.input_tokens += usage.input_tokens
        total.output_tokens += usage.output_tokens
        total.cost_nano = _plus(total.cost_nano, cost_nano(usage, prices) if prices else None)

    def estimate(self, time_most_s: float | None = None) -> Estimate:
        """The figures of everything added so far. ``time_most_s``: so long a run may start calls (None: to its end)."""
        records = sum(one.records for one in self._sums.values())
        order = {tier: place for place, tier in enumerate(self.settings.tiers)}
        keys = sorted(self._sums, key=lambda key: (order.get(key[0], len(order)), key[1]))
        rows = tuple(self._row(tier, self._sums[tier, model], records) for tier, model in keys)
        if self._asking:
            rows += (self._row("routing", self._asking, records),)
        total = self._total(rows, records)
        notes = (*self._assumptions(), *self._stops(total, time_most_s))
        return Estimate(rows, total, self._rejected, self.settings.currency, notes)

    def _row(self, tier: str, one: _Sum, records: int) -> EstimateRow:
        return EstimateRow(
            tier=tier,
            model=one.model,
            records=one.records,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            cost_nano=one.cost_nano,
            share=round(100 * one.records / records, 1) if records else 0.0,
            time_s=self._time_s(one),
            baseline_nano=one.baseline_nano,
            saved_nano=_minus(one.baseline_nano, one.cost_nano),
        )

    def _time_s(self, one: _Sum) -> float | None:
        """A model's own time; a model that serves two tiers needs the time of both."""
        model = self.settings.model.get(one.model)
        sums = [other for other in self._sums.values() if other.model == one.model]
        times = []
        if model and model.rpm:
            times.append(60 * sum(other.records for other in sums) / model.rpm)
        if model and model.tpm:
            times.append(60 * sum(other.input_tokens + other.output_tokens for other in sums) / model.tpm)
        return round(max(times), 1) if times else None

    def _total(self, rows: tuple[EstimateRow, ...], records: int) -> EstimateRow:
        cost: int | None = 0
        baseline: int | None = 0
        for row in rows:
            cost, baseline = _plus(cost, row.cost_nano), _plus(baseline, row.baseline_nano)
        times = [row.time_s for row in rows if row.time_s is not None]
        return EstimateRow(
            tier="total",
            model="",
            records=records,
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cost_nano=cost,
            share=100.0 if records else 0.0,
            time_s=max(times) if times else None,
            baseline_nano=baseline,
            saved_nano=_minus(baseline, cost),
        )

    def _assumptions(self) -> tuple[str, ...]:
        settings = self.settings
        baseline = settings.run.baseline
        if baseline == "top":
            baseline = f"all on {settings.tier[settings.top_tier].models[0]}"
        unlimited = sorted({one.model for one in self._sums.values() if not self._has_limit(one.model)})
        lines = [
            "input tokens: one for 4 bytes of text",
            f"output tokens: {TYPICAL_OUTPUT_TOKENS} an answer, or the record's max_tokens if that is less",
            "each record is answered once, by the first model of its tier; nothing cached, retried or escalated",
            f"baseline: {baseline}, with the same tokens",
        ]
        if settings.origin:
            lines.insert(0, f"configuration: {settings.origin}")
        if self._left_open:
            lines.append(
                f"as {settings.fallback_tier}: {counted(self._left_open, 'record')} whose tier {settings.classifier_model}"
                " decides; it is asked once a type of request, nothing remembered from earlier runs"
            )
        if unlimited:
            lines.append(f"no rpm or tpm configured, so no time for: {', '.join(unlimited)}")
        return tuple(lines)

    def _stops(self, total: EstimateRow, time_most_s: float | None) -> Iterator[str]:
        """Where a run would not get to its end."""
        budget = self.settings.budget_nano
        if budget is not None and total.cost_nano is not None and total.cost_nano > budget:
            amount = format_amount(budget, self.settings.currency)
            yield f"the cost is over the budget of {amount}: a run would stop there, with records pending (76)"
        if time_most_s is not None and total.time_s is not None and total.time_s > time_most_s:
            most = f"the {duration(time_most_s)} that --until or --max-duration leave"
            yield f"the time is over {most}: a run would stop then, with records pending (4)"

    def _has_limit(self, name: str) -> bool:
        model = self.settings.model.get(name)
        return bool(model and (model.rpm or model.tpm))


def _plus(total: int | None, amount: int | None) -> int | None:
    return None if total is None or amount is None else total + amount


def _minus(total: int | None, amount: int | None) -> int | None:
    return None if total is None or amount is None else total - amount
