"""How long commands take before they do anything, against an interpreter that does nothing.

    python benchmarks/startup.py

Each command is run in turn, and again and again, so that the machine's moods hit all alike; compiled files are kept, as
they are for a user. ``against the bare interpreter`` is the median over the rounds of the difference in CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import (
    Ended,
    batchrouter,
    gateway,
    keep_bytecode,
    run_command,
    run_to_end,
    write_configuration,
    write_input,
)
from results import table, write_section

BARE = "python -c pass"
COMMANDS: Mapping[str, Sequence[str]] = {
    BARE: [sys.executable, "-c", "pass"],
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "python -c 'import batchrouter'": [sys.executable, "-c", "import batchrouter"],
    "batchrouter --help": batchrouter("--help"),
    "batchrouter run --help": batchrouter("run", "--help"),
    "batchrouter status": batchrouter("status", "--db", "runs.db"),
    "batchrouter report": batchrouter("report", "--db", "runs.db"),
}
RECORDS = 200


def rounds(folder: Path, count: int) -> dict[str, list[Ended]]:
    """Every command so many times, in turn; one round before that is not counted."""
    ended: dict[str, list[Ended]] = {name: [] for name in COMMANDS}
    for number in range(count + 1):
        for name, command in COMMANDS.items():
            one = run_to_end(command, folder, log="said.log")
            if number:
                ended[name].append(one)
    return ended


def first_requests_s(folder: Path, count: int) -> list[float]:
    """From the start of a run's process to its first request."""
    times = []
    for number in range(count):
        with gateway("fast_server.py") as server:
            write_configuration(folder, server.base_url, {"concurrency": 50})
            command = [*run_command(), "--new"] if number else run_command()
            ended = run_to_end(command, folder)
            times.append(server.stats()["first_s"] - ended.started_s)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    keep_bytecode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_input(folder / "in.jsonl", RECORDS)
        started_s = first_requests_s(folder, options.rounds)
        ended = rounds(folder, options.rounds)
    bare_s = [one.cpu_s for one in ended[BARE]]
    rows = []
    for what, all_of_it in ended.items():
        beyond = [one.cpu_s - none_s for one, none_s in zip(all_of_it, bare_s, strict=True)]
        seconds = [one.seconds for one in all_of_it]
        cells = (statistics.median(seconds), min(seconds), statistics.median(one.cpu_s for one in all_of_it))
        rows.append([f"`{what}`", *(f"{cell:.2f}" for cell in cells), f"{statistics.median(beyond):.2f}"])
    first = (statistics.median(started_s), min(started_s))
    rows.append(["`batchrouter run` to its first request", *(f"{cell:.2f}" for cell in first), "", ""])
    head = ["command", "seconds", "least", "CPU s", "against the bare interpreter, CPU s"]
    text = f"{options.rounds} rounds; a database of {RECORDS} records a run.\n\n{table(head, rows)}"
    write_section("Start-up", "python benchmarks/startup.py", text)


if __name__ == "__main__":
    main()
