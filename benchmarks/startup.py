"""How long commands take to begin, against an interpreter that does nothing and one that only loads click.

    python benchmarks/startup.py
    python benchmarks/startup.py --rounds 5

Each round times every command once, the next round in the opposite order, and ratios are taken within a round. Modules
are compiled before the first round, as those of an installed package are. The first request of a run is timed at the
server, from the start of the process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import (
    batchrouter,
    gateway,
    keep_bytecode,
    run_command,
    run_to_end,
    spread,
    write_configuration,
    write_input,
)
from results import table, write_section

NOTHING = "python -c pass"
CLICK = "python -c 'import click'"
FIRST_REQUEST = "batchrouter run: to its first request"
RECORDS = 100


@dataclass(frozen=True, slots=True)
class Took:
    """Of one process; ``cpu_s`` is of the whole process, also where ``seconds`` ends before it does."""

    seconds: float
    cpu_s: float


def commands() -> dict[str, Sequence[str]]:
    python = (sys.executable, "-c")
    return {
        NOTHING: (*python, "pass"),
        CLICK: (*python, "import click"),
        "python -c 'import batchrouter'": (*python, "import batchrouter"),
        "batchrouter --help": batchrouter("--help"),
        "batchrouter run --help": batchrouter("run", "--help"),
        "batchrouter status": batchrouter("status", "--db", "runs.db"),
        "batchrouter report": batchrouter("report", "--db", "runs.db"),
        "batchrouter report --json": batchrouter("report", "--json", "--db", "runs.db"),
    }


def timed(command: Sequence[str], folder: Path) -> Took:
    ended = run_to_end(command, folder)
    return Took(ended.seconds, ended.cpu_s)


def to_first_request(records: int = 1) -> Took:
    with gateway("fast_server.py") as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_run(folder, server.base_url, records)
        ended = run_to_end(run_command(), folder)
        return Took(server.stats()["first_s"] - ended.started_s, ended.cpu_s)


def make_run(folder: Path, base_url: str, records: int) -> None:
    """What ``run_command`` needs."""
    write_input(folder / "in.jsonl", records)
    write_configuration(folder, base_url, {"concurrency": 50})


def rounds_of(rounds: int) -> dict[str, list[Took]]:
    """What each command took in each round, in a folder with a small database."""
    took: dict[str, list[Took]] = {name: [] for name in (*commands(), FIRST_REQUEST)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with gateway("fast_server.py") as server:
            make_run(folder, server.base_url, RECORDS)
            run_to_end(run_command(), folder)
        for number in range(rounds + 1):
            for each in list(took)[:: 1 if number % 2 else -1]:
                once = to_first_request() if each == FIRST_REQUEST else timed(commands()[each], folder)
                if number:  # the first compiles
                    took[each].append(once)
    return took


def row(name: str, took: dict[str, list[Took]]) -> list[str]:
    seconds = [one.seconds for one in took[name]]
    ratios = ([one / base.seconds for one, base in zip(seconds, took[each], strict=True)] for each in (NOTHING, CLICK))
    middle, cpu = statistics.median(seconds), statistics.median(one.cpu_s for one in took[name])
    return [name, f"**{middle:.3f}**", f"{min(seconds):.3f}", *(spread(each, ".1f") for each in ratios), f"{cpu:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    keep_bytecode()
    took = rounds_of(rounds)
    head = ["command", "median s", "fastest s", f"against `{NOTHING}`", f"against `{CLICK}`", "CPU s"]
    text = f"{rounds} rounds; the database holds one run of {RECORDS} records.\n\n"
    write_section("Start-up", "python benchmarks/startup.py", text + table(head, [row(name, took) for name in took]))


if __name__ == "__main__":
    main()
