"""What a hostile or broken gateway can do, case by case: the record's outcome, the exit code, the requests it saw."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from batchrouter.core import retry
from batchrouter.engine import gate, model
from tests.faults import child
from tests.faults.conftest import mixed, run_in, settings_for
from tests.faults.gateway import SOAK, FaultGateway, Schedule
from tests.faults.invariants import check_database, rows

RESPONSE_CAP_MB = 8


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it waits between tries is tested elsewhere."""
    monkeypatch.setattr(retry, "BACKOFF_BASE_S", 0.001)
    monkeypatch.setattr(model, "PAUSE_FIRST_S", 0.01)
    monkeypatch.setattr(gate, "TRIAL_EVERY_S", 0.01)


def write_records(folder: Path, records: int) -> None:
    (folder / "in.jsonl").write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(records)))


async def ran(folder: Path, schedule: Schedule, *, records: int = 1, **gateway: Any) -> tuple[int, FaultGateway]:
    """The exit code of a run of so many records, and the gateway it met."""
    write_records(folder, records)
    async with FaultGateway(folder / "ledger", schedule) as server:
        report = await run_in(folder, settings_for(server.base_url, **gateway))
    check_database(folder)
    return int(report.exit_code), server


@pytest.mark.parametrize(
    ("kind", "status", "code", "requests", "cost_source"),
    [
        ("ok", "done", 0, 1, "table"),
        ("no_length", "done", 0, 1, "table"),
        ("cookie", "done", 0, 1, "table"),
        ("slow", "done", 0, 1, "table"),
        ("400", "failed", 3, 1, "none"),
        ("422", "failed", 3, 1, "none"),
        ("401", "pending", 77, 1, "none"),
        ("403", "pending", 77, 1, "none"),
        ("402", "pending", 77, 1, "none"),
        ("quota", "pending", 77, 1, "none"),
        ("404", "pending", 78, 1, "none"),
        ("redirect_302", "pending", 78, 1, "none"),
        ("redirect_307", "pending", 78, 1, "none"),
        ("redirect_308", "pending", 78, 1, "none"),
        ("413", "failed", 3, 3, "none"),  # each tier is asked: one may take it
        ("context", "failed", 3, 3, "none"),
        ("filter", "failed", 3, 3, "none"),
        ("500", "failed", 3, 5, "none"),
        ("502", "failed", 3, 5, "none"),
        ("503", "failed", 3, 5, "none"),
        ("504", "failed", 3, 5, "none"),
        ("429_far", "pending", 69, 1, "none"),
        ("html", "failed", 3, 6, "reserved"),
        ("wrong_shape", "failed", 3, 6, "table"),
        ("no_choices", "failed", 3, 6, "table"),
        ("error_object", "failed", 3, 6, "table"),
        ("null", "failed", 3, 6, "table"),
        ("usage_missing", "done", 0, 1, "reserved"),
        ("usage_negative", "done", 0, 1, "reserved"),
        ("usage_absurd", "done", 0, 1, "reserved"),
        ("half_body", "failed", 3, 2, "reserved"),
        ("half_chunk", "failed", 3, 2, "reserved"),
        ("reset_before", "failed", 3, 5, "reserved"),
        ("lost", "failed", 3, 5, "reserved"),
        ("hang", "failed", 3, 2, "reserved"),
        ("drip", "failed", 3, 2, "reserved"),
        ("endless_head", "failed", 3, 2, "reserved"),
    ],
)
async def test_one_record_against_one_fault(
    kind: str, status: str, code: int, requests: int, cost_source: str, tmp_path: Path
) -> None:
    ended, gateway = await ran(tmp_path, lambda _n, _key: kind, timeout_s=0.5, max_response_mb=RESPONSE_CAP_MB)
    assert rows(tmp_path, "SELECT status FROM answers") == [(status,)]
    assert (ended, gateway.requests) == (code, requests)
    assert rows(tmp_path, "SELECT DISTINCT cost_source FROM attempts") == [(cost_source,)]


@pytest.mark.parametrize("kind", ["429", "429_soon", "429_minus", "429_nan", "529"])
async def test_a_gateway_that_says_later_is_asked_again_and_fails_no_record(kind: str, tmp_path: Path) -> None:
    code, gateway = await ran(tmp_path, lambda n, _key: kind if n < 3 else "ok")
    assert (code, gateway.requests) == (0, 4)


@pytest.mark.parametrize("kind", ["huge", "bomb"])
async def test_an_answer_without_end_costs_the_cap_and_not_its_size(kind: str, tmp_path: Path, processes: Any) -> None:
    peaks_mb = {}
    for name in ("ok", kind):
        folder = tmp_path / name
        folder.mkdir()
        write_records(folder, 4)
        async with FaultGateway(folder / "ledger", lambda _n, _key, name=name: name) as gateway:
            process = processes.Process(target=child.measured, args=(folder, settings_for(gateway.base_url)))
            process.start()
            await asyncio.to_thread(process.join)
        peaks_mb[name] = int((folder / "peak_kb").read_text()) / 1024
        check_database(folder)
    sys.stdout.write(f"peak memory: {peaks_mb}\n")
    assert rows(tmp_path / kind, "SELECT DISTINCT status FROM answers") == [("failed",)]
    assert (
        peaks_mb[kind] - peaks_mb["ok"] <= 4 * 3 * RESPONSE_CAP_MB
    )  # four calls at once: chunks, their sum, the block ahead


async def test_connections_that_die_after_each_answer_cost_no_record(tmp_path: Path) -> None:
    code, gateway = await ran(tmp_path, lambda _n, _key: "closes_after", records=150)
    assert code == 0
    assert rows(tmp_path, "SELECT count(*) FROM answers WHERE status = 'done'") == [(150,)]
    assert set(gateway.paid.values()) == {1}


async def test_no_cookie_is_sent_back_and_no_proxy_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    code, gateway = await ran(tmp_path, lambda _n, _key: "cookie", records=20)
    assert (code, gateway.requests, gateway.cookies) == (0, 20, [])


@pytest.mark.parametrize("kind", ["401", "quota"])
async def test_a_key_that_is_refused_in_the_middle_stops_within_the_calls_in_flight(kind: str, tmp_path: Path) -> None:
    code, gateway = await ran(tmp_path, lambda n, _key: kind if n >= 50 else "ok", records=200)
    assert code == 77
    assert gateway.requests <= 50 + 8
    assert rows(tmp_path, "SELECT status, count(*) FROM answers GROUP BY 1 ORDER BY 1") == [
        ("done", 50),
        ("pending", 150),
    ]


async def test_on_a_bad_day_both_ledgers_agree_to_the_last_nano_unit(tmp_path: Path) -> None:
    sys.stdout.write("seed 7\n")
    code, gateway = await ran(tmp_path, mixed(SOAK, seed=7), records=2_000)
    done, failed = (
        rows(tmp_path, f"SELECT count(*) FROM answers WHERE status = '{status}'")[0][0] for status in ("done", "failed")
    )
    sys.stdout.write(f"{gateway.requests} requests, {done} done, {failed} failed, exit code {code}\n")
    assert done + failed == 2_000
    assert failed <= 20
    noted = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    answered = sum(one["paid_nano"] for one in noted if one["kind"] in ("ok", "slow", "wrong_shape"))
    lost = sum(one["paid_nano"] for one in noted if one["kind"] in ("lost", "half_body"))
    assert rows(tmp_path, "SELECT sum(cost_nano) FROM attempts WHERE state IN ('ok', 'error')") == [(answered,)]
    told = rows(tmp_path, "SELECT sum(cost_nano), count(*) FROM attempts WHERE state = 'unknown'")[0]
    assert told[0] >= lost
    assert told[1] == sum(one["kind"] in ("lost", "half_body", "reset_before") for one in noted)
