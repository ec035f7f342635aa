"""Answers that break off: each may have been paid, so each is told apart, at its worst case, and made again."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from batchrouter import api
from batchrouter.core import retry
from tests.faults.conftest import run_in, settings_for
from tests.faults.gateway import FaultGateway
from tests.faults.invariants import check_database, rows

RECORDS = 60
BROKEN_OFF = ["reset_before", "lost", "reset_mid_body", "reset_after_body", "half_body", "half_chunk"]


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it waits between tries is tested elsewhere."""
    monkeypatch.setattr(retry, "BACKOFF_BASE_S", 0.001)


class OnceBroken:
    """A schedule that breaks off the first answer to every twelfth key."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._met: set[str] = set()

    def __call__(self, _n: int, key: str) -> str:
        is_first = key not in self._met
        self._met.add(key)
        return self._kind if is_first and int(key.rpartition(" ")[2]) % 12 == 0 else "ok"


def write_records(folder: Path, records: int) -> None:
    (folder / "in.jsonl").write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(records)))


@pytest.mark.parametrize("kind", BROKEN_OFF)
async def test_what_breaks_off_is_made_again_and_charged_at_its_worst_case_apart(kind: str, tmp_path: Path) -> None:
    write_records(tmp_path, RECORDS)
    async with FaultGateway(tmp_path / "ledger", OnceBroken(kind)) as gateway:
        report = await run_in(tmp_path, settings_for(gateway.base_url))
    check_database(tmp_path)
    run = report.summary.run
    assert (report.exit_code, run.done) == (0, RECORDS)
    assert run.unknown_calls == gateway.requests - RECORDS
    if kind != "reset_after_body":  # whether the whole answer is read before the reset is the kernel's affair
        assert run.unknown_calls == RECORDS / 12
    told, unknown = rows(
        tmp_path,
        "SELECT sum(cost_nano) FILTER (WHERE state = 'ok'), coalesce(sum(cost_nano) FILTER (WHERE state = 'unknown'), 0) FROM attempts",
    )[0]
    noted = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    last_paid = {one["key"]: one["paid_nano"] for one in noted}
    assert told == sum(last_paid.values())
    assert gateway.paid_nano - told <= unknown
    assert run.unknown_cost == pytest.approx(unknown / 1e9)
    assert rows(tmp_path, "SELECT count(*) FROM attempts WHERE state = 'unknown' AND cost_source <> 'reserved'") == [
        (0,)
    ]


@pytest.mark.parametrize("kind", ["hang", "drip", "endless_head"])
async def test_no_call_outlives_its_deadline(kind: str, tmp_path: Path) -> None:
    write_records(tmp_path, 8)
    asked: Counter[str] = Counter()

    def first_time(_n: int, key: str) -> str:
        asked[key] += 1
        return kind if asked[key] == 1 else "ok"

    async with FaultGateway(tmp_path / "ledger", first_time) as gateway:
        async with asyncio.timeout(60):
            report = await run_in(tmp_path, settings_for(gateway.base_url, timeout_s=0.3))
    check_database(tmp_path)
    assert (report.exit_code, gateway.requests) == (0, 16)
    assert rows(
        tmp_path, "SELECT state, error_class, count(*) FROM attempts WHERE latency_ms >= 300 GROUP BY 1, 2"
    ) == [("unknown", "lost", 8)]


async def test_a_gateway_that_echoes_the_key_puts_it_into_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "sk-canary-echoed-1234567890"
    monkeypatch.setenv("ECHOED_KEY", key)
    write_records(tmp_path, 3)
    async with FaultGateway(tmp_path / "ledger", lambda _n, _key: "key_echo") as gateway:
        settings = settings_for(gateway.base_url, auth="bearer", api_key_env="ECHOED_KEY")
        report = await run_in(tmp_path, settings)
    assert gateway.keys == {f"bearer {key}"}
    assert report.exit_code == 77
    assert "[redacted]" in report.stop_reason
    said = "".join(capfd.readouterr()) + repr(report) + repr(api.report(db=tmp_path / "runs.db"))
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key not in said
    assert key.encode() not in written
