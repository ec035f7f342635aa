"""Limits that nobody configured: how much of a hidden limit is used, how many calls it refuses, and whether it is followed.

    python benchmarks/hidden.py
    python benchmarks/hidden.py --cases "1,200/min over a second"

The configuration names neither rpm, tpm nor concurrency; the gateway (``limited_server.py``) enforces its limit without
a word of it, or with headers where the case says so. ``used`` counts from 30 s after the first call on (from 90 s where
the limit is of a minute only: the burst that begins it tells nothing until it is over; and where answers take seconds, so
that the calls in flight grow slowly), and after a change from 60 s
after it (150 s). No record may fail.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from limits import Arrivals, Limits, write_input
from measuring import gateway, run_command, run_to_end, write_tiers
from results import table, write_section

CHANGE_AT_S = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    """A gateway and the work for it."""

    name: str
    rpm: int
    records: int
    spans_s: Sequence[int] = (1,)
    change_factor: float | None = None
    noise: float = 0.0
    unavailable: float = 0.0
    is_slow: bool = False
    announces: bool = False
    models: int = 1
    one_account: bool = False

    @property
    def tiers(self) -> dict[str, str]:
        """Tier -> its model."""
        return {tier: f"hidden-{tier}" for tier in ("simple", "medium", "complex")[: self.models]}

    @property
    def limit(self) -> int:
        """What may be sent a minute to all models together."""
        return self.rpm if self.one_account else self.rpm * self.models

    @property
    def settles_s(self) -> float:
        """How long the search is given."""
        return 30 if (1 in self.spans_s or self.announces) and not self.is_slow else 90

    @property
    def follows_s(self) -> float:
        """How long it is given after a change."""
        return 60 if 1 in self.spans_s else 150

    def arguments(self) -> list[str]:
        """The gateway's command line."""
        arguments = ["--limits", json.dumps({"": {"rpm": self.rpm}}), "--window-s", *map(str, self.spans_s)]
        arguments += ["--announce", "headers" if self.announces else "nothing", "--noise", str(self.noise)]
        arguments += ["--unavailable", str(self.unavailable)]
        arguments += ["--latency-ms", "1000", "8000"] if self.is_slow else []
        if self.change_factor:
            arguments += ["--change-at-s", str(CHANGE_AT_S), "--change-factor", str(self.change_factor)]
        if self.one_account:
            arguments.append("--one-account")
        return arguments if self.announces else [*arguments, "--no-retry-after"]


CASES = (
    Case("600/min over a second", 600, 1_800),
    Case("1,200/min over a second", 1_200, 3_600),
    Case("1,200/min over a minute", 1_200, 4_000, (60,)),
    Case("1,200/min, in headers", 1_200, 3_000, (1, 60), announces=True),
    Case(
        "1,200/min of one account, three tiers, in headers",
        1_200,
        3_000,
        (1, 60),
        announces=True,
        models=3,
        one_account=True,
    ),
    Case("1,200/min of each of three tiers, in headers", 1_200, 9_000, (1, 60), announces=True, models=3),
    Case("1,200/min, then half of it", 1_200, 4_000, change_factor=0.5),
    Case("1,200/min, then twice as much", 1_200, 6_000, change_factor=2.0),
    Case("1,200/min and 2 % refused at any pace", 1_200, 3_600, noise=0.02),
    Case("6,000/min over a second", 6_000, 15_000),
    Case("6,000/min, answers take 1 to 8 s, 1 % are a 503", 6_000, 15_000, unavailable=0.01, is_slow=True),
)


def arrivals_of(case: Case) -> tuple[Arrivals, int]:
    """Run a case: what came, and how many records failed."""
    with gateway("limited_server.py", *case.arguments()) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_input(folder / "in.jsonl", {tier: Limits(case.records // case.models) for tier in case.tiers})
        write_tiers(folder, server.base_url, {tier: (model, {}) for tier, model in case.tiers.items()})
        run_to_end(run_command(), folder, codes=(0, 3))
        with sqlite3.connect(folder / "runs.db") as connection:
            failed = connection.execute("SELECT count(*) FROM records WHERE state <> 'done'").fetchone()[0]
        return sorted(call for calls in server.stats().values() for call in calls), failed


def used(arrivals: Arrivals, rpm: float, from_s: float, until_s: float) -> float | None:
    """The share of the limit that was used between two times after the first call; None: the work was over before."""
    first_s, last_s = arrivals[0][0], max(at_s for at_s, _, _ in arrivals)
    until_s = min(until_s, last_s - first_s)
    if until_s < from_s + 10:
        return None
    calls = sum(from_s <= at_s - first_s < until_s and state == "admitted" for at_s, _, state in arrivals)
    return calls / (rpm / 60 * (until_s - from_s))


def row(case: Case) -> list[str]:
    """The row of a case."""
    arrivals, failed = arrivals_of(case)
    until_s = CHANGE_AT_S if case.change_factor else 10_000
    before = used(arrivals, case.limit, case.settles_s, until_s)
    after = None
    if case.change_factor:
        after = used(arrivals, case.limit * case.change_factor, CHANGE_AT_S + case.follows_s, 10_000)
    refused = sum(state == "refused" for _, _, state in arrivals)
    shares = ["–" if share is None else f"{share:.2f}" for share in (before, after)]
    line = [case.name, f"{len(arrivals):,}", *shares, f"{refused:,} ({refused / len(arrivals):.2%})", str(failed)]
    print(" | ".join(line), flush=True)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES], metavar="NAME")
    options = parser.parse_args()
    cases = [case for case in CASES if case.name in options.cases]
    with ThreadPoolExecutor(len(cases)) as side_by_side:
        lines = list(side_by_side.map(row, cases))
    head = ["hidden limit", "calls", "used", "used after the change", "refused", "failed records"]
    write_section("Limits that nobody configured", "python benchmarks/hidden.py", table(head, lines))


if __name__ == "__main__":
    main()
