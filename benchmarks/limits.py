"""Configured limits at their edge: how much of them is used, and whether they are ever passed, counted at the gateway.

    python benchmarks/limits.py
    python benchmarks/limits.py --quick
    python benchmarks/limits.py --cases "600 requests/min" "three tiers" --waiting

The gateway (``limited_server.py``, a process of its own) enforces what it announces over sliding windows: requests over
1 s and over 60 s, tokens over 60 s. Answers take 50 to 800 ms with a heavy tail. ``used`` is the share of the limit in
the steady state, without the first tenth of the time; ``most in a window`` counts every call that came, refused ones
too, in the worst window of the run; ``against the bound`` is the time from the first call to the last answer over the
most that the limits of one model take: calls / rpm or tokens / tpm. ``--quick`` makes a third of the calls.

Then the CPU of the whole program while 1,000 calls wait on a slow gateway: for their turn, or for their answer.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from measuring import PROMPTS, gateway, run_command, run_to_end, write_tiers
from results import table, write_section

WAITING = ((60, 20), (1_200, 50), (6_000, 10))
"""Requests/min, and the latency (s) of each answer."""
WAITING_CALLS = 1_000
WATCHED_S = 20
SKIPPED = 0.1
"""The share of the time that is not the steady state yet."""
Arrivals = list[tuple[float, int, str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may be asked, and how many records there are for it."""

    records: int
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int = 50

    def announced(self) -> dict[str, int]:
        """Requests and tokens a minute."""
        named = {"rpm": self.rpm, "tpm": self.tpm}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class Case:
    """One run. Cases of the same ``group`` run side by side: together they leave the machine nearly idle."""

    name: str
    group: int
    tiers: Mapping[str, Limits]

    def shortened(self, factor: int) -> Case:
        """The same with fewer records."""
        tiers = {tier: replace(limits, records=limits.records // factor) for tier, limits in self.tiers.items()}
        return replace(self, tiers=tiers)


CASES = (
    Case("60 requests/min", 1, {"simple": Limits(180, rpm=60)}),
    Case("600 requests/min", 1, {"simple": Limits(1_800, rpm=600)}),
    Case("36,000 tokens/min", 1, {"simple": Limits(300, tpm=36_000)}),
    Case("360,000 tokens/min", 1, {"simple": Limits(3_000, tpm=360_000)}),
    Case(
        "three tiers",
        1,
        {
            "simple": Limits(1_800, rpm=600, tpm=1_000_000),
            "medium": Limits(600, rpm=300, tpm=72_000),
            "complex": Limits(150, rpm=60, tpm=30_000),
        },
    ),
    Case("6,000 requests/min", 2, {"simple": Limits(6_000, rpm=6_000, concurrency=200)}),
    Case("3,600,000 tokens/min", 3, {"simple": Limits(12_000, tpm=3_600_000, concurrency=400)}),
    Case("60,000 requests/min", 4, {"simple": Limits(40_000, rpm=60_000, concurrency=1_000)}),
)


def write_input(path: Path, tiers: Mapping[str, Limits]) -> None:
    """The records of all tiers, mixed; each is pinned to its tier."""
    names = [(tier, n) for tier, limits in tiers.items() for n in range(limits.records)]
    names.sort(key=lambda name: name[1] / tiers[name[0]].records)
    with path.open("w", encoding="utf-8") as file:
        for tier, n in names:
            prompt = PROMPTS[n % len(PROMPTS)].format(n=n)
            file.write(json.dumps({"id": f"{tier}-{n}", "tier": tier, "prompt": prompt, "max_tokens": 800}) + "\n")


def arrivals_of(case: Case) -> tuple[dict[str, Arrivals], float]:
    """Run a case; what came to each model, and the slowest answer (s)."""
    announced = {tier: limits.announced() for tier, limits in case.tiers.items()}
    with (
        gateway("limited_server.py", "--limits", json.dumps(announced)) as server,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        write_input(folder / "in.jsonl", case.tiers)
        settings = {
            tier: (tier, limits.announced() | {"concurrency": limits.concurrency})
            for tier, limits in case.tiers.items()
        }
        write_tiers(folder, server.base_url, settings)
        ended = run_to_end(run_command(), folder)
        arrivals = {model: sorted(calls) for model, calls in server.stats().items()}
        return arrivals, ended.started_s + ended.seconds


def most_in_a_window(arrivals: Arrivals, span_s: float, *, tokens: bool = False) -> int:
    """Calls (or their tokens) in the fullest window of this length."""
    most = held = first = 0
    for at_s, count, _ in arrivals:
        held += count if tokens else 1
        while arrivals[first][0] + span_s <= at_s:
            held -= arrivals[first][1] if tokens else 1
            first += 1
        most = max(most, held)
    return most


def used(arrivals: Arrivals, limit: int, *, tokens: bool = False) -> float:
    """The share of a minute's limit in the steady state."""
    start_s, end_s = arrivals[0][0], arrivals[-1][0]
    start_s += SKIPPED * (end_s - start_s)
    steady = [each for each in arrivals if each[0] >= start_s and each[2] == "admitted"]
    amount = sum(each[1] if tokens else 1 for each in steady[:-1])
    return amount / (steady[-1][0] - steady[0][0]) * 60 / limit


def bound_s(arrivals: Arrivals, limits: Limits) -> float:
    """The time that the limits of a model leave for what it was asked."""
    admitted = [each for each in arrivals if each[2] == "admitted"]
    by_requests = len(admitted) / limits.rpm * 60 if limits.rpm else 0.0
    by_tokens = sum(tokens for _, tokens, _ in admitted) / limits.tpm * 60 if limits.tpm else 0.0
    return max(by_requests, by_tokens)


def fullest(arrivals: Arrivals, limits: Limits) -> str:
    """The fullest windows, of what is allowed in them."""
    parts = []
    if limits.rpm:
        parts += [f"{most_in_a_window(arrivals, 1.0):,} / {max(1, limits.rpm // 60):,} in 1 s"]
        parts += [f"{most_in_a_window(arrivals, 60.0):,} / {limits.rpm:,} in 60 s"]
    if limits.tpm:
        parts += [f"{most_in_a_window(arrivals, 60.0, tokens=True):,} / {limits.tpm:,} tokens in 60 s"]
    return ", ".join(parts)


def rows(case: Case) -> list[list[str]]:
    """A row for each model of the case."""
    by_model, ended_s = arrivals_of(case)
    first_s = min(arrivals[0][0] for arrivals in by_model.values())
    bound = max(bound_s(by_model[tier], limits) for tier, limits in case.tiers.items())
    lines = []
    for tier, limits in case.tiers.items():
        arrivals = by_model[tier]
        refused = sum(state != "admitted" for _, _, state in arrivals)
        shares = [f"{used(arrivals, limits.rpm):.3f} of requests"] if limits.rpm else []
        shares += [f"{used(arrivals, limits.tpm, tokens=True):.3f} of tokens"] if limits.tpm else []
        lines.append(
            [
                case.name if len(case.tiers) == 1 else f"{case.name}: {tier}",
                f"{len(arrivals):,}",
                f"{bound_s(arrivals, limits):.0f}",
                ", ".join(shares),
                f"{refused:,} ({refused / len(arrivals):.2%})",
                fullest(arrivals, limits),
                f"{(ended_s - first_s) / bound:.3f}",
            ]
        )
    print("\n".join(" | ".join(line) for line in lines), flush=True)
    return lines


def all_rows(cases: Sequence[Case]) -> list[list[str]]:
    """Group after group."""
    lines = []
    for _, group in itertools.groupby(cases, key=lambda case: case.group):
        with ThreadPoolExecutor() as side_by_side:
            lines += [line for some in side_by_side.map(rows, group) for line in some]
    return lines


def cpu_share(pid: int, seconds: float) -> float:
    """The share of a core that a process takes from now on."""

    def used_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before_s, start_s = used_s(), time.monotonic()
    time.sleep(seconds)
    return (used_s() - before_s) / (time.monotonic() - start_s)


def waiting_row(rpm: int, latency_s: int) -> list[str]:
    """The CPU of a run with ``WAITING_CALLS`` workers, once as many calls are in flight as will be."""
    limits = Limits(10_000, rpm=rpm, concurrency=WAITING_CALLS)
    arguments = ["--limits", json.dumps({"simple": limits.announced()}), "--latency-ms", *[str(latency_s * 1000)] * 2]
    with gateway("limited_server.py", *arguments) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_input(folder / "in.jsonl", {"simple": limits})
        settings = limits.announced() | {"concurrency": WAITING_CALLS}
        write_tiers(folder, server.base_url, {"simple": ("simple", settings)})
        with (folder / "run.log").open("wb") as log:
            process = subprocess.Popen(run_command(), cwd=folder, stdout=log, stderr=log)
        time.sleep(latency_s + 5)
        share = cpu_share(process.pid, WATCHED_S)
        process.kill()
        process.wait()
        now_s = time.monotonic()
        arrivals = server.stats()["simple"]
    calls = [at_s for at_s, _, state in arrivals if state == "admitted"]
    in_flight = sum(at_s > now_s - latency_s for at_s in calls)
    a_second = sum(at_s > now_s - WATCHED_S for at_s in calls) / WATCHED_S
    return [
        f"{rpm:,}",
        f"{latency_s} s",
        f"{in_flight:,}",
        f"{a_second:.1f}",
        f"{len(arrivals) - len(calls):,}",
        f"**{share:.1%}**",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", metavar="NAME", choices=[case.name for case in CASES])
    parser.add_argument("--waiting", action="store_true", help="the CPU of waiting calls too, where cases are named")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    chosen = [case for case in CASES if case.name in (options.cases or [case.name])]
    lines = all_rows([case.shortened(3) for case in chosen] if options.quick else chosen)
    head = ["limit", "calls", "bound s", "used", "refused", "most in a window", "against the bound"]
    text = table(head, lines)
    if options.waiting or not options.cases:
        head = ["requests/min", "latency", "in flight", "sent a second", "refused", "CPU of a core"]
        text += f"\n\n{WAITING_CALLS:,} workers, watched for {WATCHED_S} s:\n\n"
        text += table(head, [waiting_row(*case) for case in WAITING])
    write_section("Limits", "python benchmarks/limits.py", text)


if __name__ == "__main__":
    main()
