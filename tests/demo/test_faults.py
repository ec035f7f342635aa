"""Faults come as often as they were asked for, in an order that the seed decides."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from batchrouter.demo import DemoModel, Faults
from batchrouter.demo.draw import Draw
from batchrouter.demo.faults import Fault, FaultSchedule


def schedule(seed: int, count: int, **shares: float) -> list[Fault | None]:
    faults = FaultSchedule(Faults(**shares), seed)
    return [faults.next() for _ in range(count)]


def test_shares_are_met_and_the_order_repeats() -> None:
    drawn = schedule(3, 4000, server_error=0.25, reset=0.05)
    assert drawn == schedule(3, 4000, server_error=0.25, reset=0.05)
    assert drawn != schedule(4, 4000, server_error=0.25, reset=0.05)
    counts = Counter(drawn)
    assert 900 < counts[Fault.SERVER_ERROR] < 1100
    assert 140 < counts[Fault.RESET] < 260
    assert counts.keys() == {None, Fault.SERVER_ERROR, Fault.RESET}


def test_all_or_nothing() -> None:
    assert set(schedule(0, 50)) == {None}
    assert set(schedule(0, 50, garbage=1.0)) == {Fault.GARBAGE}


@pytest.mark.parametrize("shares", [{"reset": -0.1}, {"reset": 1.1}, {"reset": 0.6, "empty": 0.6}, {"slow_s": -1}])
def test_impossible_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|slow_s"):
        Faults(**shares)


@pytest.mark.parametrize("parts", [{"rpm": 0}, {"tpm": 0.5}, {"latency_ms": -1}, {"cached_share": 2}])
def test_impossible_models_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no model"):
        DemoModel("m", **parts)


def test_latency_has_its_mean_and_a_bounded_tail() -> None:
    model = DemoModel("m", latency_ms=100)
    drawn = [model.latency_s(Draw(seed)) for seed in range(4000)]
    assert 0.095 < sum(drawn) / len(drawn) < 0.105
    assert min(drawn) >= 0.05
    assert max(drawn) <= 0.4
    assert DemoModel("m").latency_s(Draw(0)) == 0
