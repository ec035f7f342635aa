"""litellm's ``acompletion`` behind a semaphore, with one session for all calls, as its documentation says for speed.

Variant ``aiohttp``: its provider ``aiohttp_openai``, which goes past the OpenAI client.
"""

from __future__ import annotations

import aiohttp
import litellm
import work
from litellm.llms.custom_httpx.aiohttp_handler import BaseLLMAIOHTTPHandler

litellm.suppress_debug_info = True


async def main(given: work.Work) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        if given.variant == "aiohttp":
            litellm.main.base_llm_aiohttp_handler = BaseLLMAIOHTTPHandler(client_session=session)
            provider, shared = "aiohttp_openai", {}
        else:
            provider, shared = "openai", {"shared_session": session}

        async def answer(body: work.Body) -> str:
            named = {**body, "model": f"{provider}/{body['model']}"}
            completion = await litellm.acompletion(**named, api_base=given.base_url, api_key="none", **shared)
            return str(completion.choices[0].message.content)

        await work.answer_all(given, answer)


if __name__ == "__main__":
    given = work.given()
    given.run(main(given))
