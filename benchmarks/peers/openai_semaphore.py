"""AsyncOpenAI, a semaphore, and a line of JSON for each answer: what most people write first."""

import asyncio
import json
import sys

from openai import AsyncOpenAI

base_url, source, target, in_flight = sys.argv[1:5]


async def main() -> None:
    places = asyncio.Semaphore(int(in_flight))
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as answers:
        async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=2) as client:

            async def ask(line: str) -> None:
                record = json.loads(line)
                async with places:
                    answer = await client.chat.completions.create(**record["body"])
                content = answer.choices[0].message.content
                answers.write(json.dumps({"custom_id": record["custom_id"], "answer": content}) + "\n")

            await asyncio.gather(*(ask(line) for line in lines))


asyncio.run(main())
