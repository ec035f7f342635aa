"""litellm's ``acompletion`` behind a semaphore."""

from __future__ import annotations

import litellm
import work

litellm.suppress_debug_info = True


async def main(given: work.Work) -> None:
    async def answer(body: work.Body) -> str:
        named = {**body, "model": f"openai/{body['model']}"}
        completion = await litellm.acompletion(**named, api_base=given.base_url, api_key="none")
        return str(completion.choices[0].message.content)

    await work.answer_all(given, answer)


if __name__ == "__main__":
    given = work.given()
    given.run(main(given))
