"""What aiohttp can do when nothing is kept: the bodies of the input, a number of calls in flight, answers parsed.

    python benchmarks/bare_client.py http://127.0.0.1:8000/v1 in.jsonl --in-flight 500

Everything that is known to make aiohttp faster is done, see ``running.tuned`` and below. No retry, no ledger, no limit.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import msgspec
import orjson
import running
from yarl import URL

_LINE = msgspec.json.Decoder(dict[str, msgspec.Raw])


def bodies_of(path: Path) -> list[bytes]:
    """The ``body`` of each line, as the bytes that stand there."""
    return [bytes(_LINE.decode(line)["body"]) for line in path.read_bytes().splitlines()]


async def call_all(url: URL, bodies: list[bytes], in_flight: int) -> int:
    """Make all calls; returns how many were answered."""
    session = aiohttp.ClientSession(
        headers={"Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=None),
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    async with session:
        rest = iter(bodies)
        return sum(await asyncio.gather(*(_work(session, url, rest) for _ in range(in_flight))))


async def _work(session: aiohttp.ClientSession, url: URL, bodies: Iterator[bytes]) -> int:
    answered = 0
    for body in bodies:
        async with session.post(url, data=body) as response:
            value = orjson.loads(await response.read())
        answered += bool(value["choices"][0]["message"]["content"])
    return answered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("input", type=Path)
    parser.add_argument("--in-flight", type=int, default=500)
    options = parser.parse_args()
    bodies = bodies_of(options.input)
    answered = running.tuned(call_all(URL(options.base_url + "/chat/completions"), bodies, options.in_flight))
    if answered != len(bodies):
        raise SystemExit(f"{answered} of {len(bodies)} answered")


if __name__ == "__main__":
    main()
