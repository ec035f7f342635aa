"""What aiohttp can do at best with the same requests: no ledger, no pacing, no retries, nothing kept.

    python benchmarks/bare_client.py in.jsonl http://127.0.0.1:9000/v1 --in-flight 500

Reads the file, sends every line's prompt as batchrouter would, parses the answers and forgets them. Prints seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
from yarl import URL


def bodies(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            message = {"role": "user", "content": orjson.loads(line)["prompt"]}
            yield orjson.dumps({"model": "fast", "max_tokens": 16, "messages": [message]})


async def work(todo: Iterator[bytes], session: aiohttp.ClientSession, url: URL) -> None:
    for body in todo:
        async with session.post(url, data=body) as response:
            answer = orjson.loads(await response.read())
            assert answer["choices"][0]["message"]["content"]


async def run(path: Path, base_url: str, in_flight: int) -> float:
    timeout = aiohttp.ClientTimeout(total=None)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    started = time.monotonic()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=timeout,
        auto_decompress=False,
    ) as session:
        todo = bodies(path)
        url = URL(base_url + "/chat/completions")
        await asyncio.gather(*(work(todo, session, url) for _ in range(in_flight)))
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("base_url")
    parser.add_argument("--in-flight", type=int, default=500)
    arguments = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    work = run(arguments.path, arguments.base_url, arguments.in_flight)
    try:
        import uvloop
    except ImportError:
        print(asyncio.run(work))
    else:
        print(uvloop.run(work))


if __name__ == "__main__":
    main()
