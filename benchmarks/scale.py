"""Speed, memory, disk and waiting over the size of the input; every run is killed in its middle and goes on.

    python benchmarks/scale.py
    python benchmarks/scale.py --sizes 10000 100000 1000000

The program runs as a user starts it against the fast server. ``kill -9`` comes when half of the records are done; the
resume has a server of its own, which notes when its first request came. ``status`` and ``report`` are whole processes.
"""

from __future__ import annotations

import argparse
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from measuring import (
    Ended,
    batchrouter,
    gateway,
    run_command,
    run_to_end,
    wait_for,
    write_configuration,
    write_input,
)
from results import table, write_section

SIZES = (10_000, 100_000)
LOOKS = 3


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the run: when its first call came, and how long it worked from there on."""

    ended: Ended
    first_call_s: float
    working_s: float


def done(database: Path) -> int:
    """Records that are done, as any reader sees them."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT sum(records) FROM counters WHERE state = 'done'").fetchone()
    except sqlite3.Error:
        return 0
    return row[0] or 0


def killed_in_the_middle(folder: Path, records: int, in_flight: int) -> Part:
    with gateway("fast_server.py") as server:
        write_configuration(folder, server.base_url, {"concurrency": in_flight})
        started_s = time.monotonic()
        with (folder / "killed.log").open("wb") as log:
            process = subprocess.Popen(run_command(), cwd=folder, stdout=log, stderr=log)
        while done(folder / "runs.db") < records // 2 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        ended = wait_for(process, started_s)
        stats = server.stats()
    if ended.code != -signal.SIGKILL:
        raise SystemExit(f"ended with {ended.code}:\n{(folder / 'killed.log').read_text()}")
    return Part(ended, stats["first_s"] - started_s, stats["last_s"] - stats["first_s"])


def resumed(folder: Path, in_flight: int) -> Part:
    with gateway("fast_server.py") as server:
        write_configuration(folder, server.base_url, {"concurrency": in_flight})
        ended = run_to_end(run_command(), folder)
        stats = server.stats()
    return Part(ended, stats["first_s"] - ended.started_s, stats["last_s"] - stats["first_s"])


def seconds_of(command: str, folder: Path) -> float:
    looks = [run_to_end(batchrouter(command, "--db", "runs.db"), folder, log="look.log") for _ in range(LOOKS)]
    return statistics.median(look.seconds for look in looks)


def measured(records: int, in_flight: int) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_input(folder / "in.jsonl", records)
        first = killed_in_the_middle(folder, records, in_flight)
        second = resumed(folder, in_flight)
        with closing(sqlite3.connect(folder / "runs.db")) as connection:
            ended, twice = connection.execute("SELECT done, unknown_calls FROM run_summary").fetchone()
        size = (folder / "runs.db").stat().st_size
        return [
            f"{records:,}",
            f"{records / (first.working_s + second.working_s):,.0f}",
            f"{first.ended.peak_mb:.0f}",
            f"{second.ended.peak_mb:.0f}",
            f"{size / records:,.0f}",
            f"{first.first_call_s:.2f}",
            f"**{second.first_call_s:.2f}**",
            f"{seconds_of('status', folder):.2f}",
            f"{seconds_of('report', folder):.2f}",
            f"{records - ended}",
            f"{twice}",
            f"clean, {run_to_end(batchrouter('verify', '--db', 'runs.db'), folder).seconds:,.0f} s",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--in-flight", type=int, default=500)
    options = parser.parse_args()
    rows = []
    for records in options.sizes:
        rows.append(measured(records, options.in_flight))
        print(" | ".join(rows[-1]), flush=True)
    head = ["records", "records/s", "peak MB to the kill", "peak MB of the resume", "bytes/record on disk"]
    head += ["start to first request s", "resume to first request s", "`status` s", "`report` s"]
    head += ["lost", "possibly paid twice", "`verify`"]
    text = (
        f"{options.in_flight} in flight, answers at once, `kill -9` at half; memory is the high-water mark of the whole"
        f" process.\n\n{table(head, rows)}"
    )
    sizes = " ".join(str(size) for size in options.sizes)
    write_section("Scale", f"python benchmarks/scale.py --sizes {sizes}", text)


if __name__ == "__main__":
    main()
