"""AsyncOpenAI behind a semaphore, one client for all; variant ``aiohttp``: with the transport its README names for speed."""

from __future__ import annotations

import work
from openai import AsyncOpenAI, DefaultAioHttpClient


async def main(given: work.Work) -> None:
    transport = {"http_client": DefaultAioHttpClient()} if given.variant == "aiohttp" else {}
    async with AsyncOpenAI(base_url=given.base_url, api_key="none", **transport) as client:

        async def answer(body: work.Body) -> str:
            completion = await client.chat.completions.create(**body)
            return str(completion.choices[0].message.content)

        await work.answer_all(given, answer)


if __name__ == "__main__":
    given = work.given()
    given.run(main(given))
