"""Two thousand records against a gateway in trouble: it is not hammered, and no record fails for its trouble."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from batchrouter.core.errors import ExitCode
from tests.simulation.gateway import Phase
from tests.simulation.loop import in_virtual_time
from tests.simulation.world import PRICES, TIERS, Plan, World

RECORDS = 2_000
CALLS_MOST = 1.2 * RECORDS
AT_THE_EDGE = {"server": 0.17}
"""All is done or not by luck, and each record takes 1 / 0.83 = 1.205 calls; see the test of the quota."""
LUCKY_CALLS_MOST = 1.23 * RECORDS


def world(folder: Path, template: Path, phases: list[Phase], **gateway: Any) -> World:
    lines = [
        json.dumps({"line": n, "prompt": "word", "tier": ("simple", "medium", "complex")[n % 3]})
        for n in range(1, RECORDS + 1)
    ]
    settings = {
        "gateway": {"base_url": "http://simulated", "auth": "none", **gateway},
        "tier": {tier: {"models": names, "max_output_tokens": 100} for tier, names in TIERS.items()},
        "model": {name: {"input": price_in, "output": price_out} for name, (price_in, price_out) in PRICES.items()},
    }
    return World(Plan(1, lines, settings, phases), folder, template)


@pytest.mark.parametrize(
    "shares",
    [
        {"server": 1.0},
        {"overload": 1.0},
        {"overload_later": 1.0},
        {"reset": 0.5},
        {"hang": 1.0},
        {"lost": 1.0},
        AT_THE_EDGE,
        {"server": 0.3},
        {"overload": 0.3},
    ],
    ids=json.dumps,
)
def test_no_trouble_makes_more_than_a_fifth_more_calls(
    shares: dict[str, float], tmp_path: Path, template: Path
) -> None:
    one = world(tmp_path, template, [Phase(0.0, shares)])
    code = in_virtual_time(one._invocation(None))
    calls = len(one.gateway.seen)
    states = {row["state"]: row["n"] for row in one.rows("SELECT state, count(*) AS n FROM records GROUP BY 1")}
    sys.stdout.write(f"{shares}: {calls / RECORDS:.3f} calls a record, exit code {code}, {states}\n")
    assert calls <= (CALLS_MOST if shares != AT_THE_EDGE else LUCKY_CALLS_MOST)
    assert code in (ExitCode.OK, ExitCode.UNAVAILABLE)
    if 1.0 in shares.values():
        assert code == ExitCode.UNAVAILABLE
    assert "failed" not in states
    one.close()


@pytest.mark.parametrize("trouble", ["refused", "server", "reset", "hang"])
def test_an_outage_of_an_hour_costs_no_record(trouble: str, tmp_path: Path, template: Path) -> None:
    phases = [Phase(0.0, {}), Phase(1003.0, {trouble: 1.0}), Phase(1003.0 + 3600.0, {})]
    one = world(tmp_path, template, phases, patience_s=7200)
    code = in_virtual_time(one._invocation(None))
    assert code == ExitCode.OK, [tuple(row) for row in one.rows("SELECT stop_reason FROM runs")]
    calls = len(one.gateway.seen)
    sys.stdout.write(f"{trouble}: {calls / RECORDS:.3f} calls a record\n")
    assert [row["n"] for row in one.rows("SELECT count(*) AS n FROM records WHERE state = 'done'")] == [RECORDS]
    assert calls <= CALLS_MOST
    assert max(one.gateway.most_in_flight.values()) > 20
    one.close()


def test_an_outage_beyond_its_patience_ends_the_run_and_the_next_start_goes_on(tmp_path: Path, template: Path) -> None:
    phases = [Phase(0.0, {}), Phase(1003.0, {"refused": 1.0}), Phase(1003.0 + 3600.0, {})]
    one = world(tmp_path, template, phases)
    assert in_virtual_time(one.live()) == ExitCode.OK
    assert one.codes[0] == ExitCode.UNAVAILABLE
    assert set(one.codes[1:-1]) <= {ExitCode.UNAVAILABLE}
    one.close()
