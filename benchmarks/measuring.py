"""What every benchmark needs: the work, processes with their time and memory, a gateway beside them, and medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODEL = "benchmark-model"
PROMPTS = (
    "Classify this review as positive, negative or neutral: it arrived on time, and the box was whole. Number {n}.",
    "Summarise the following note for the shift lead. " + "The courier came late and the box was wet. " * 8 + "{n}",
    "Compare the two carriers for order {n} and say which one to keep. " + "The first is dear and quick. " * 12,
)


def write_input(path: Path, records: int) -> Path:
    """Lines of an OpenAI batch file, about 600 bytes each; ``body`` is what a bare client sends as it stands."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(records):
            messages = [
                {"role": "system", "content": "You work in the back office of a shop. Answer in one paragraph."},
                {"role": "user", "content": PROMPTS[n % len(PROMPTS)].format(n=n)},
            ]
            body = {"model": MODEL, "messages": messages, "max_tokens": 200}
            line = {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps(line) + "\n")
    return path


def write_configuration(folder: Path, base_url: str, model: Mapping[str, int]) -> Path:
    """One tier with one model; ``model`` holds its limits."""
    return write_tiers(folder, base_url, {"simple": (MODEL, model)})


def write_tiers(folder: Path, base_url: str, tiers: Mapping[str, tuple[str, Mapping[str, int]]]) -> Path:
    """Tiers with one model each: its name and its limits."""
    lines = ['currency = "USD"', f"tiers = {json.dumps(list(tiers))}"]
    lines += ["[gateway]", f'base_url = "{base_url}"', 'auth = "none"']
    for tier, (name, limits) in tiers.items():
        lines += [f"[tier.{tier}]", f'models = ["{name}"]', f'[model."{name}"]', "input = 0.15", "output = 0.6"]
        lines += [f"{key} = {value}" for key, value in limits.items()]
    path = folder / "batchrouter.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Ended:
    """One process from its start (monotonic) to its end. ``cpu_s``: of it and what it waited for."""

    started_s: float
    seconds: float
    cpu_s: float
    peak_mb: float
    code: int


def run_to_end(command: Sequence[str], folder: Path, *, codes: Sequence[int] = (0,), log: str = "run.log") -> Ended:
    """Run a command in the folder; an unexpected exit code ends the benchmark with what the command said."""
    with (folder / log).open("wb") as output:
        started_s = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        ended = wait_for(process, started_s)
    if ended.code not in codes:
        said = (folder / log).read_text(errors="replace")[-2000:]
        raise SystemExit(f"{' '.join(command)}\nended with {ended.code}:\n{said}")
    return ended


def wait_for(process: subprocess.Popen[bytes], started_s: float) -> Ended:
    """The end of a process that was started at this time."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    return Ended(started_s, time.monotonic() - started_s, cpu_s, usage.ru_maxrss / 1024, process.returncode)


def keep_bytecode() -> None:
    """Programs that are started find their modules compiled, as installed ones do, whatever this shell says."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def batchrouter(*arguments: str | Path) -> list[str]:
    """The program, as a user starts it."""
    return [sys.executable, "-m", "batchrouter", *map(str, arguments)]


def run_command() -> list[str]:
    """``batchrouter run`` of the folder's input."""
    return batchrouter("run", "in.jsonl", "--db", "runs.db", "-q")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway in a process of its own."""

    base_url: str

    def stats(self) -> dict[str, Any]:
        """What it counted."""
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/stats", timeout=60) as answer:
            value: dict[str, Any] = json.loads(answer.read())
        return value


@contextmanager
def gateway(script: str, *arguments: str) -> Iterator[Gateway]:
    """Start a gateway script of this folder, which prints its port; it is killed when the block is left."""
    process = subprocess.Popen([sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE)
    try:
        if process.stdout is None:
            raise AssertionError("stdout is a pipe")
        yield Gateway(f"http://127.0.0.1:{int(process.stdout.readline())}/v1")
    finally:
        process.kill()
        process.wait()


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median and range as text."""
    middle = format(statistics.median(values), form)
    return f"{middle} ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else middle
