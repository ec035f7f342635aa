"""flexllm's ``chat_batch`` with its file of results, as its README shows it; no bound on requests a second."""

from __future__ import annotations

import work
from flexllm import LLMClient


async def main(given: work.Work) -> None:
    bodies = [body for _, body in given.records()]
    client = LLMClient(
        base_url=given.base_url,
        model=bodies[0]["model"],
        api_key="none",
        concurrency_limit=given.in_flight,
        max_qps=None,
    )
    async with client:
        results = await client.chat_batch(
            [body["messages"] for body in bodies],
            output_jsonl=str(given.output),
            show_progress=False,
            max_tokens=bodies[0]["max_tokens"],
        )
    results.raise_for_errors()


if __name__ == "__main__":
    given = work.given()
    given.run(main(given))
