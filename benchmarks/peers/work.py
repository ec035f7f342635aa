"""The work as the scripts of this folder are given it, and the event loop they run on; needs no package.

python SCRIPT http://127.0.0.1:8000/v1 in.jsonl out.jsonl --in-flight 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import running

Body = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """``tuned``: on uvloop with a patient garbage collector. ``variant``: what else the script has a choice of."""

    base_url: str
    input: Path
    output: Path
    in_flight: int
    tuned: bool
    variant: str

    def records(self) -> list[tuple[str, Body]]:
        """Id and body of each line."""
        lines = map(json.loads, self.input.read_bytes().splitlines())
        return [(line["custom_id"], line["body"]) for line in lines]

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        if self.tuned:
            running.tuned(main)
        else:
            asyncio.run(main)


def given() -> Work:
    """What the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("base_url")
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--variant", default="")
    return Work(**vars(parser.parse_args()))


async def answer_all(work: Work, answer: Callable[[Body], Awaitable[str]]) -> None:
    """What people write around a client: a task for each record behind a semaphore, a line written for each answer."""
    semaphore = asyncio.Semaphore(work.in_flight)
    with work.output.open("w", encoding="utf-8") as file:

        async def one(name: str, body: Body) -> None:
            async with semaphore:
                content = await answer(body)
            file.write(json.dumps({"id": name, "answer": content}) + "\n")

        await asyncio.gather(*(one(name, body) for name, body in work.records()))
