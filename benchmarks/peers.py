"""The same work through other programs: the same records to the same fast server, with as many calls in flight.

    python benchmarks/peers.py
    python benchmarks/peers.py --records 1000 --pairs 1 --latencies 0 --only flexllm --cache /tmp/peers

Each peer lives in a virtual environment of its own, made in the cache folder when it is not there yet, and is used as
its documentation says; its script is in ``benchmarks/peers``. None of them promises what the program does: a row on
disk before each call, and every answer durable. Runs are paired: both programs one after the other, the first one
changing, and the ratio is taken in each pair. ``in the work`` counts from the first request at the server to the last
answer, ``whole`` from start to exit.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import measuring
from measuring import HERE, gateway, run_command, run_to_end, spread, write_configuration, write_input
from results import table, write_section

SCRIPTS = HERE / "peers"
QUIET = ("TELEMETRY_ENABLED=false", "LITELLM_LOCAL_MODEL_COST_MAP=True", "CURATOR_DISABLE_RICH_DISPLAY=1")
"""No peer calls home, and none draws: both would cost it time."""
OURS = "batchrouter"


class CannotRun(Exception):
    """Why a peer has no figures."""


@dataclass(frozen=True)
class Peer:
    """One way to do the work. ``share``: of the records, for those that would take minutes."""

    name: str
    package: str
    command: tuple[str, ...]
    also: tuple[str, ...] = ()
    share: float = 1.0


PEERS = (
    Peer("flexllm chat_batch", "flexllm", ("flexllm_batch.py",), ("uvloop",)),
    Peer("flexllm, uvloop and gc tuned", "flexllm", ("flexllm_batch.py", "--tuned"), ("uvloop",)),
    Peer("AsyncOpenAI + semaphore", "openai", ("openai_semaphore.py",), ("aiohttp",), 0.4),
    Peer("AsyncOpenAI on aiohttp", "openai", ("openai_semaphore.py", "--variant", "aiohttp"), ("aiohttp",), 0.4),
    Peer("curator LLM", "bespokelabs-curator", ("curator_llm.py",), (), 0.4),
    Peer("litellm acompletion", "litellm", ("litellm_acompletion.py",), (), 0.4),
    Peer("litellm, aiohttp_openai/", "litellm", ("litellm_acompletion.py", "--variant", "aiohttp"), (), 0.4),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one program: requests a second, processor time, peak memory."""

    working: float
    whole: float
    cpu_ms_per_1000: float
    peak_mb: float


def python_of(peer: Peer, cache: Path) -> Path:
    """The python of the peer's environment, made if it is not there; raises ``CannotRun``."""
    folder = cache / peer.package
    python, made = folder / "bin" / "python", folder / "made-for"
    packages = " ".join((peer.package, *peer.also))
    if not (made.is_file() and made.read_text() == packages):
        print(f"installing {packages} in {folder}", flush=True)
        _succeed([sys.executable, "-m", "venv", str(folder)])
        _succeed([str(python), "-m", "pip", "install", "--quiet", *packages.split()])
        made.write_text(packages)
    return python


def _succeed(command: Sequence[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CannotRun(_last_line(ended.stdout + ended.stderr))
    return ended.stdout.strip()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].replace("|", "/")[:200] if lines else "it said nothing"


def version_of(peer: Peer, python: Path) -> str:
    code = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
    return _succeed([str(python), "-c", code])


def ours(latency_ms: str, in_flight: int, source: Path, records: int) -> Run:
    with gateway("fast_server.py", "--latency-ms", latency_ms) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").symlink_to(source)
        write_configuration(folder, server.base_url, {"concurrency": in_flight})
        return _run_of(run_to_end(run_command(), folder), server, records)


def theirs(command: Sequence[str], latency_ms: str, in_flight: int, source: Path, records: int) -> Run:
    """Run a peer; raises ``CannotRun`` if it fails, or answers fewer records than it was given."""
    with gateway("fast_server.py", "--latency-ms", latency_ms) as server, tempfile.TemporaryDirectory() as name:
        folder, (python, script, *options) = Path(name), command
        environment = ["env", f"PYTHONPATH={HERE}", f"HOME={folder}", *QUIET]
        work = [server.base_url, str(source), "out.jsonl", "--in-flight", str(in_flight)]
        try:
            ended = run_to_end([*environment, python, script, *work, *options], folder)
        except SystemExit as error:
            raise CannotRun(_last_line(str(error))) from None
        answers = folder / "out.jsonl"
        answered = len(answers.read_bytes().splitlines()) if answers.exists() else 0
        if answered != records:
            raise CannotRun(f"{answered} of {records} records answered")
        return _run_of(ended, server, records)


def _run_of(ended: measuring.Ended, server: measuring.Gateway, records: int) -> Run:
    stats = server.stats()
    return Run(
        working=records / (stats["last_s"] - stats["first_s"]),
        whole=records / ended.seconds,
        cpu_ms_per_1000=ended.cpu_s * 1e6 / records,
        peak_mb=ended.peak_mb,
    )


def pairs_of(
    peer: Peer, cache: Path, latency_ms: str, in_flight: int, records: int, pairs: int
) -> list[tuple[Run, Run]]:
    """Runs of the program and of the peer, one after the other."""
    command = (str(python_of(peer, cache)), str(SCRIPTS / peer.command[0]), *peer.command[1:])
    found = []
    with tempfile.TemporaryDirectory() as name:
        source = write_input(Path(name) / "in.jsonl", records)
        for pair in range(pairs):
            if pair % 2:
                first = ours(latency_ms, in_flight, source, records)
                found.append((first, theirs(command, latency_ms, in_flight, source, records)))
            else:
                first = theirs(command, latency_ms, in_flight, source, records)
                found.append((ours(latency_ms, in_flight, source, records), first))
    return found


def row(name: str, version: str, records: int, runs: Sequence[Run], ratios: Sequence[str] = ("", "")) -> list[str]:
    middle = [
        statistics.median(figure)
        for figure in zip(*((r.working, r.whole, r.cpu_ms_per_1000, r.peak_mb) for r in runs), strict=True)
    ]
    return [
        name,
        version,
        f"{records:,}",
        *(f"{value:,.0f}" for value in middle[:2]),
        *ratios,
        *(f"{value:,.0f}" for value in middle[2:]),
    ]


def rows_of(
    peers: Sequence[Peer], cache: Path, latency_ms: str, in_flight: int, records: int, pairs: int
) -> list[list[str]]:
    """A line for each peer, below one for the program itself (its runs with all records)."""
    rows, own = [], []
    for peer in peers:
        count = int(records * peer.share)
        try:
            found = pairs_of(peer, cache, latency_ms, in_flight, count, pairs)
            version = version_of(peer, python_of(peer, cache))
        except CannotRun as error:
            rows.append([peer.name, "-", f"{count:,}", f"cannot be run: {error}", *[""] * 5])
        else:
            own += [(count, us) for us, _ in found]
            ratios = [
                spread([getattr(us, figure) / getattr(it, figure) for us, it in found], ".1f")
                for figure in ("working", "whole")
            ]
            rows.append(row(peer.name, version, count, [it for _, it in found], [f"**{ratios[0]}**", ratios[1]]))
        print(" | ".join(rows[-1]), flush=True)
    if own:
        most = max(count for count, _ in own)
        rows.insert(0, row(OURS, "this checkout", most, [run for count, run in own if count == most]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5_000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--latencies", nargs="+", default=("0", "50"), metavar="MS")
    parser.add_argument("--only", nargs="+", default=[peer.package for peer in PEERS], metavar="PACKAGE")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "batchrouter-peers")
    given = parser.parse_args()
    measuring.keep_bytecode()
    peers = [peer for peer in PEERS if peer.package in given.only]
    head = [
        "program",
        "version",
        "records",
        "requests/s in the work",
        "whole",
        f"{OURS} is faster, in the work",
        "whole",
    ]
    head += ["CPU ms per 1,000", "peak MB"]
    text = f"{given.in_flight} calls in flight, {given.pairs} pairs for each peer. curator first asks for limits: its work includes building its data set.\n"
    for latency_ms in given.latencies:
        rows = rows_of(peers, given.cache.resolve(), latency_ms, given.in_flight, given.records, given.pairs)
        text += f"\nEach call answered after {latency_ms} ms:\n\n{table(head, rows)}\n"
    write_section("Peers", "python benchmarks/peers.py", text)


if __name__ == "__main__":
    main()
