"""Estimates add up by hand, and say what they assume."""

from decimal import Decimal

import pytest

from batchrouter.core.records import Decision, Record, Rejection, Request, RequestText
from batchrouter.core.settings import Settings
from batchrouter.reporting.estimate import Estimate, Estimator

SETTINGS = Settings.model_validate(
    {
        "gateway": {"base_url": "http://localhost"},
        "tiers": ["simple", "complex"],
        "tier": {"simple": {"models": ["small"], "max_output_tokens": 100}, "complex": {"models": ["large", "small"]}},
        "model": {
            "small": {"input": 10, "output": 40, "rpm": 30, "tpm": 1_000_000},
            "large": {"input": 100, "output": 400, "tpm": 6_000},
            "bare": {},
        },
    }
)


def record(prompt_bytes: int = 368, cap: int | None = None, choices: int = 1, model: str | None = None) -> Record:
    """A prompt of 368 bytes is 8 + 92 = 100 tokens."""
    request = Request(b"{}", prompt_bytes, choices=choices, max_output_tokens=cap, requested_model=model)
    return Record(1, 0, b"", "id", request, RequestText("", ""))


def estimated(*lines: tuple[Record | Rejection, str | None], settings: Settings = SETTINGS) -> Estimate:
    estimator = Estimator(settings)
    for line, tier in lines:
        estimator.add(line, Decision(tier, "because", "rules") if isinstance(line, Record) else None)
    return estimator.estimate()


def test_the_configuration_is_named_where_it_was_read() -> None:
    assert estimated(settings=SETTINGS.read_from("night.toml")).assumptions[0] == "configuration: night.toml"
    assert not any("configuration: " in line for line in estimated().assumptions)


def test_tiers_and_total() -> None:
    estimate = estimated((record(), "complex"), (record(), "simple"), (record(cap=10, choices=2), "simple"))
    simple, large = estimate.tiers
    assert (simple.tier, simple.model, simple.records, simple.share) == ("simple", "small", 2, 66.7)
    assert (simple.input_tokens, simple.output_tokens) == (200, 100 + 2 * 10)
    assert simple.cost_nano == 1000 * (200 * 10 + 120 * 40)
    assert simple.baseline_nano == 1000 * (200 * 100 + 120 * 400)
    assert simple.saved_nano == simple.baseline_nano - simple.cost_nano
    assert (large.output_tokens, large.saved_nano) == (256, 0)
    assert estimate.total.cost_nano == simple.cost_nano + (large.cost_nano or 0)
    assert (estimate.total.records, estimate.total.share) == (3, 100.0)


def test_time_under_the_tighter_limit() -> None:
    simple, large = estimated((record(), "simple"), (record(), "simple"), (record(), "complex")).tiers
    assert simple.time_s == 4.0, "2 records at 30 a minute"
    assert large.time_s == round(60 * 356 / 6_000, 1), "356 tokens at 6,000 a minute"


def test_rejected_lines_are_counted_apart() -> None:
    estimate = estimated((Rejection(1, 0, b"", "not JSON"), None), (record(), "simple"))
    assert (estimate.rejected, estimate.total.records) == (1, 1)


@pytest.mark.parametrize("model", ["bare", "nobody", None])
def test_a_model_without_price_makes_the_cost_unknown(model: str | None) -> None:
    estimate = estimated((record(model=model), None), (record(), "simple"))
    bare = estimate.tiers[-1]
    assert (bare.tier, bare.cost_nano, bare.saved_nano, bare.time_s) == ("", None, None, None)
    assert (estimate.total.cost_nano, estimate.total.saved_nano) == (None, None)


@pytest.mark.parametrize(
    ("budget", "time_most_s", "notes"),
    [
        (None, None, []),
        ("0.005", 3.9, ["the budget of ₹0.0050:", "the 4 s that"]),
        ("0.005", 4.0, ["the budget of ₹0.0050:"]),
        ("0.01", 0.0, ["the 0 s that"]),
    ],
)
def test_a_run_that_would_stop_is_said_to(budget: str | None, time_most_s: float | None, notes: list[str]) -> None:
    settings = SETTINGS.model_copy(
        update={"run": SETTINGS.run.model_copy(update={"budget": budget and Decimal(budget)})}
    )
    estimator = Estimator(settings)
    for _ in range(2):
        estimator.add(record(), Decision("simple", "because", "rules"))
    said = [line for line in estimator.estimate(time_most_s).assumptions if "a run would stop" in line]
    assert [note in line for note, line in zip(notes, said, strict=True)] == [True] * len(notes)


def test_nothing_at_all() -> None:
    estimate = estimated()
    assert (estimate.tiers, estimate.total.records, estimate.total.share) == ((), 0, 0.0)


def test_json() -> None:
    value = estimated((record(), "simple")).as_dict()
    assert list(value) == ["tiers", "total", "assumptions"]
    assert value["total"]["currency"] == "INR"
    assert any("large" in assumption for assumption in value["assumptions"]), "the baseline is named"
