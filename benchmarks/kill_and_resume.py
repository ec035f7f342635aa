"""Peak memory over the size of the input, and what two ``kill -9`` in the middle of a run cost.

    python benchmarks/kill_and_resume.py --records 5000 20000 50000

Every run goes through the whole program against the demo gateway with zero latency. The gateway runs in the same
process (``--demo``), so its memory is inside the peak. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROMPTS = (
    "Classify this review as positive, negative or neutral: it arrived on time, number {n}",
    "Summarise the following note for the shift lead. " + "The courier came late and the box was wet. " * 8 + "{n}",
    "Compare the two carriers for order {n} and say which one to keep.",
)


@dataclass
class Ending:
    """How one process ended: its code, its peak resident memory, and how long it ran."""

    code: int
    peak_mb: float
    seconds: float


def write_input(path: Path, records: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for n in range(records):
            file.write(json.dumps({"id": f"r{n}", "prompt": PROMPTS[n % 3].format(n=n)}) + "\n")


def run(folder: Path, *, kill_at: int | None = None) -> Ending:
    """Run the job; with ``kill_at``, kill -9 once so many records are done."""
    started = time.monotonic()
    command = [sys.executable, "-m", "batchrouter", "run", "in.jsonl", "--demo", "--db", "runs.db", "-q"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while kill_at is not None and done(folder) < kill_at and process.poll() is None:
        time.sleep(0.05)
    if kill_at is not None:
        process.send_signal(signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ending(process.returncode, usage.ru_maxrss / 1024, time.monotonic() - started)


def done(folder: Path) -> int:
    path = folder / "runs.db"
    if not path.exists():
        return 0
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        row = connection.execute("SELECT sum(records) FROM counters WHERE state = 'done'").fetchone()
        connection.close()
    except sqlite3.Error:
        return 0
    return row[0] or 0


def measure(records: int) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_input(folder / "in.jsonl", records)
        endings = [run(folder, kill_at=records // 4), run(folder, kill_at=records // 2), run(folder)]
        connection = sqlite3.connect(folder / "runs.db")
        row = connection.execute("SELECT done, pending, unknown_calls FROM run_summary").fetchone()
        rows = connection.execute("SELECT count(*), count(DISTINCT line) FROM results").fetchone()
        connection.close()
        verified = subprocess.run(
            [sys.executable, "-m", "batchrouter", "verify", "--db", "runs.db"],
            cwd=folder,
            capture_output=True,
            check=False,
        )
    peak = max(ending.peak_mb for ending in endings)
    seconds = sum(ending.seconds for ending in endings)
    codes = ", ".join(str(ending.code) for ending in endings)
    lost = records - row[0]
    repeated = rows[0] - rows[1]
    return (
        f"| {records:,} | {codes} | {lost} | {repeated} | {row[2]} | {peak:.0f} | {records / seconds:,.0f} "
        f"| {'clean' if verified.returncode == 0 else 'NOT CLEAN'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[5_000, 20_000, 50_000])
    print("| records | exit codes | lost | answered twice | possibly paid twice | peak MB | records/s | verify |")
    print("|---|---|---|---|---|---|---|---|")
    for records in parser.parse_args().records:
        print(measure(records), flush=True)


if __name__ == "__main__":
    main()
