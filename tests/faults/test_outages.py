"""A gateway that is away for twenty real seconds in the middle of a run: no record pays for it."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from batchrouter import api
from tests.faults import child
from tests.faults.conftest import CALLS_IN_FLIGHT, settings_for
from tests.faults.gateway import FaultGateway
from tests.faults.invariants import check_done
from tests.faults.test_hostile import write_records

RECORDS = 2_000
OUTAGE_S = 20.0


async def test_an_outage_of_twenty_seconds_costs_no_record(tmp_path: Path, processes: Any) -> None:
    async with asyncio.TaskGroup() as both:
        for kind in ("nobody listens", "503"):
            both.create_task(survives(kind, tmp_path / kind.replace(" ", "_"), processes))


async def survives(kind: str, folder: Path, processes: Any) -> None:
    folder.mkdir()
    write_records(folder, RECORDS)
    is_away = False
    async with FaultGateway(folder / "ledger", lambda _n, _key: "503" if is_away else "ok", latency_s=0.005) as gateway:
        process = processes.Process(target=child.main, args=(folder, settings_for(gateway.base_url)))
        process.start()
        await gateway.has_seen(RECORDS // 2)
        if kind == "503":
            is_away = True
            await asyncio.sleep(OUTAGE_S)  # the passing of time is what is tested
            is_away = False
        else:
            await gateway.away(OUTAGE_S)
        back_s = time.monotonic()
        await asyncio.to_thread(process.join)
        check_done(folder, gateway, records=RECORDS, kills=1, code=process.exitcode)
        run = api.report(db=folder / "runs.db").run
        sys.stdout.write(
            f"{kind}: {gateway.requests} requests for {RECORDS} records, {run.unknown_calls} calls perhaps paid "
            f"for nothing, done {time.monotonic() - back_s:.0f} s after the gateway was back\n"
        )
        assert run.done == RECORDS
        assert run.unknown_calls <= CALLS_IN_FLIGHT
        assert gateway.requests <= RECORDS * 1.2
