"""litellm.acompletion under a semaphore, and a line of JSON for each answer."""

import asyncio
import json
import sys

import litellm

base_url, source, target, in_flight = sys.argv[1:5]
litellm.suppress_debug_info = True


async def main() -> None:
    places = asyncio.Semaphore(int(in_flight))
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as answers:

        async def ask(line: str) -> None:
            record = json.loads(line)
            body = record["body"] | {"model": f"openai/{record['body']['model']}"}
            async with places:
                answer = await litellm.acompletion(**body, api_base=base_url, api_key="none")
            content = answer.choices[0].message.content
            answers.write(json.dumps({"custom_id": record["custom_id"], "answer": content}) + "\n")

        await asyncio.gather(*(ask(line) for line in lines))


asyncio.run(main())
