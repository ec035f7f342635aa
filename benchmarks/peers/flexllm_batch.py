"""flexllm's ``chat_batch`` with its output file, as its README shows it for batches."""

import asyncio
import json
import sys

from flexllm import LLMClient

base_url, source, target, in_flight = sys.argv[1:5]


async def main() -> None:
    with open(source, encoding="utf-8") as lines:
        bodies = [json.loads(line)["body"] for line in lines]
    async with LLMClient(
        base_url=base_url, model=bodies[0]["model"], api_key="none", concurrency_limit=int(in_flight)
    ) as client:
        results = await client.chat_batch(
            [body["messages"] for body in bodies],
            output_jsonl=target,
            show_progress=False,
            max_tokens=bodies[0]["max_tokens"],
        )
    results.raise_for_errors()


asyncio.run(main())
