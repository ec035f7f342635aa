"""The whole program against other ways to do the same work: AsyncOpenAI and a semaphore, flexllm, litellm, curator.

    python benchmarks/peers.py
    python benchmarks/peers.py --peers flexllm --records 5000 --environments /var/cache/peers

Each peer runs in a virtual environment of its own, which is made here (and kept in ``--environments``). All of them send
the same requests to the same server (``fast_server.py``) and write the answers to a file. A run of a peer is paired with
one of batchrouter, the first one changing. What cannot be installed, or fails, is in the table with the reason.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import HERE, Ended, gateway, run_command, run_to_end, spread, write_configuration, write_input
from results import table, write_section

IN_FLIGHT = 200
REASON_MOST = 200


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program: what to install, and the script of ``peers/`` that does the work with it."""

    package: str
    script: str
    what: str


PEERS = {
    peer.package: peer
    for peer in (
        Peer("openai", "openai_semaphore.py", "AsyncOpenAI + semaphore"),
        Peer("flexllm", "flexllm_batch.py", "flexllm chat_batch"),
        Peer("litellm", "litellm_semaphore.py", "litellm acompletion + semaphore"),
        Peer("bespokelabs-curator", "curator_map.py", "curator LLM"),
    )
}


class PeerFailedError(Exception):
    """A peer that cannot be measured, and why."""


@dataclass(frozen=True, slots=True)
class Run:
    """One program's run: requests a second from its start to its end, as its user waits for it."""

    rate: float
    cpu_ms_per_record: float
    peak_mb: float


def environment(peer: Peer, folder: Path) -> Path:
    """The peer's Python, installed if it is not there yet."""
    home = folder / peer.package
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", peer.package], capture_output=True, text=True, check=False
    )
    if installed.returncode:
        raise PeerFailedError(f"not installed: {installed.stderr.strip()[-REASON_MOST:]}")
    return python


def version(peer: Peer, python: Path) -> str:
    """The version that is installed."""
    program = f"from importlib.metadata import version; print(version({peer.package!r}))"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def run_of(command: Sequence[str], source: Path, latency_ms: str, records: int) -> Run:
    """Run a command; ``{base_url}`` in it is the server's, its folder holds the input and a configuration."""
    with gateway("fast_server.py", "--latency-ms", latency_ms) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").symlink_to(source)
        write_configuration(folder, server.base_url, {"concurrency": IN_FLIGHT})
        try:
            ended: Ended = run_to_end([part.format(base_url=server.base_url) for part in command], folder)
        except SystemExit as failure:
            raise PeerFailedError(f"failed: {str(failure).strip()[-REASON_MOST:]}") from failure
        calls = server.stats()["calls"]
    if calls < records:
        raise PeerFailedError(f"made {calls} calls for {records} records")
    return Run(records / ended.seconds, ended.cpu_s * 1000 / records, ended.peak_mb)


def row(peer: Peer, folder: Path, source: Path, latency_ms: str, records: int, pairs: int) -> list[str]:
    """The table's row of a peer at a latency."""
    head = [f"{latency_ms} ms", peer.what]
    try:
        python = environment(peer, folder)
        head[1] += f" {version(peer, python)}"
        script = [str(python), str(HERE / "peers" / peer.script), "{base_url}", "in.jsonl", "answers.jsonl"]
        commands = (run_command(), [*script, str(IN_FLIGHT)])
        ours, theirs = list[Run](), list[Run]()
        for pair in range(pairs):
            for command, runs in list(zip(commands, (ours, theirs), strict=True))[:: 1 if pair % 2 else -1]:
                runs.append(run_of(command, source, latency_ms, records))
    except PeerFailedError as failure:
        return [*head, " ".join(str(failure).replace("|", "/").split()), *[""] * 5]
    ratios = [one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]
    both = [(statistics.median(run.rate for run in runs)) for runs in (theirs, ours)]
    cpu = [(statistics.median(run.cpu_ms_per_record for run in runs)) for runs in (theirs, ours)]
    peak = [max(run.peak_mb for run in runs) for runs in (theirs, ours)]
    return [
        *head,
        f"{both[0]:,.0f}",
        f"{both[1]:,.0f}",
        f"**{spread(ratios, '.1f')}**",
        f"{cpu[0]:.2f}, {cpu[1]:.2f}",
        f"{peak[0]:.0f}, {peak[1]:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--records", type=int, default=5_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--latency-ms", nargs="+", default=["0", "50"])
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "batchrouter-peers")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        source = write_input(Path(name) / "in.jsonl", options.records)
        for latency_ms in options.latency_ms:
            for peer in (PEERS[package] for package in options.peers):
                rows.append(row(peer, options.environments, source, latency_ms, options.records, options.pairs))
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    head = ["latency", "peer", "its requests/s", "batchrouter/s", "ratio", "CPU ms a record: it, we", "peak MB: it, we"]
    text = (
        f"{options.records:,} records, {IN_FLIGHT} in flight, {options.pairs} pairs; from the start of each process to its"
        f" end, everything included.\n\n{table(head, rows)}"
    )
    write_section("Peers", "python benchmarks/peers.py", text)


if __name__ == "__main__":
    main()
