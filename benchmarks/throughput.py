"""The whole program against a tuned bare aiohttp client: the same bodies from the same file to the same fast server.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --records 5000 --pairs 1 --cases 0:500 50:500

The program runs as a user starts it, with every promise on (``synchronous=FULL``, an attempt's row on disk before its
call). Runs are paired: both programs one after the other, the first one changing, and the ratio is taken in each pair.
``in the work`` counts from the first request at the server to the last answer, ``whole`` from start to exit.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measuring import HERE, Ended, Gateway, gateway, run_command, run_to_end, spread, write_configuration, write_input
from results import table, write_section

CASES = ("0:100", "0:500", "0:1000", "50:100", "50:500", "50:1000")

WHERE = """CPU of one record in microseconds, each part measured alone, the least of many runs: the call 45
(aiohttp's session, as the bare client uses it, takes 130: requests are written here without it, answers are read by the
same parser), taking the answer apart 4, the engine 48 (choosing, budget, pacing, settling, rows), reading, checking and
routing a line 22, fetching it from the queue 8; all this holds the interpreter's lock. SQLite takes 50 to 60 in a thread
beside it: ten rows and their sums. So the whole comes to some 1.3 times the bare client's work, spread over two threads;
what is lost beyond that is the interpreter's lock going to and fro, and two threads and a server on two processors that
other work shares: the ratio of the same two programs came to anything from 0.43 to 0.96 in single pairs. While all places
are taken the rows of the calls that follow are committed: without that a place would not be used for 5 to 25 ms.
Engine and calls alone, without a database and an input, come to what the bare client takes (0.14 to 0.18 ms). Tried: the
input and SQLite each in a process of its own gave 1.1 to 1.2 times as much each, and 1.2 to 1.45 times together, at 0 ms,
and 1.0 to 1.2 times together at 50 ms; engine, client and ledger compiled to C gave 1.15 to 1.25 times as
much. An input that was taken in beforehand gave 1.12 to 1.27 times as much at 0 ms and 1.13 to 1.19 at 50 ms. No garbage
collection, other intervals of switching threads and larger groups of rows to a commit gave nothing."""


@dataclass(frozen=True, slots=True)
class Speed:
    """One run: requests a second from the first request to the last answer, and of the whole process."""

    working: float
    whole: float
    cpu_ms_per_record: float
    start_s: float


def speed(ended: Ended, server: Gateway, records: int) -> Speed:
    stats = server.stats()
    if stats["calls"] != records:
        raise SystemExit(f"{stats['calls']} calls for {records} records")
    return Speed(
        working=records / (stats["last_s"] - stats["first_s"]),
        whole=records / ended.seconds,
        cpu_ms_per_record=ended.cpu_s * 1000 / records,
        start_s=stats["first_s"] - ended.started_s,
    )


def program(latency_ms: str, in_flight: int, source: Path, records: int) -> Speed:
    with gateway("fast_server.py", "--latency-ms", latency_ms) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").symlink_to(source)
        write_configuration(folder, server.base_url, {"concurrency": in_flight})
        return speed(run_to_end(run_command(), folder), server, records)


def bare(latency_ms: str, in_flight: int, source: Path, records: int) -> Speed:
    with gateway("fast_server.py", "--latency-ms", latency_ms) as server, tempfile.TemporaryDirectory() as name:
        command = [sys.executable, str(HERE / "bare_client.py"), server.base_url, str(source)]
        return speed(run_to_end([*command, "--in-flight", str(in_flight)], Path(name)), server, records)


def measured(case: str, source: Path, records: int, pairs: int) -> list[str]:
    latency_ms, in_flight = case.split(":")
    ours, theirs = [], []
    for pair in range(pairs):
        for measure, speeds in ((program, ours), (bare, theirs))[:: 1 if pair % 2 else -1]:
            speeds.append(measure(latency_ms, int(in_flight), source, records))
    both = list(zip(ours, theirs, strict=True))
    return [
        f"{latency_ms} ms",
        in_flight,
        f"{statistics.median(one.working for one in ours):,.0f}",
        f"{statistics.median(one.working for one in theirs):,.0f}",
        f"**{spread([one.working / other.working for one, other in both])}**",
        spread([one.whole / other.whole for one, other in both]),
        f"{statistics.median(one.cpu_ms_per_record for one in ours):.2f}",
        f"{statistics.median(one.cpu_ms_per_record for one in theirs):.2f}",
        f"{statistics.median(one.start_s for one in ours):.2f}",
    ]


def ceiling(clients: int, *, calls: int = 50_000, in_flight: int = 250) -> float:
    """Requests a second of the server itself."""
    with gateway("fast_server.py") as server:
        command = [sys.executable, str(HERE / "raw_client.py"), server.base_url]
        command += ["--calls", str(calls), "--in-flight", str(in_flight)]
        processes = [subprocess.Popen(command) for _ in range(clients)]
        for process in processes:
            process.wait()
        stats = server.stats()
    return float(stats["calls"] / (stats["last_s"] - stats["first_s"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="MS:IN_FLIGHT")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = write_input(Path(name) / "in.jsonl", options.records)
        rows = []
        for case in options.cases:
            rows.append(measured(case, source, options.records, options.pairs))
            print(" | ".join(rows[-1]), flush=True)
    head = ["latency", "in flight", "batchrouter/s", "bare aiohttp/s", "ratio in the work", "ratio whole"]
    head += ["CPU ms a record", "bare", "start to first request s"]
    text = (
        f"{options.records:,} records, {options.pairs} pairs a case; the server alone answers {ceiling(1):,.0f} requests/s"
        f" to one raw client and {ceiling(2):,.0f} to two.\n\n{table(head, rows)}\n\n{WHERE}"
    )
    write_section("Throughput against tuned bare aiohttp", "python benchmarks/throughput.py", text)


if __name__ == "__main__":
    main()
