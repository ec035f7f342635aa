"""bespokelabs-curator's ``LLM`` with its openai backend; its limits are set so high that none of them is felt.

It counts tokens by a vocabulary that it would fetch; litellm, which it installs, brings the file along.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import work

if litellm := find_spec("litellm"):
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(str(litellm.origin)).parent / "litellm_core_utils" / "tokenizers")

from bespokelabs import curator

UNFELT = 1_000_000_000


class Answers(curator.LLM):
    """Messages in, the text of the answer out."""

    def prompt(self, row: dict[str, Any]) -> Any:
        return row["messages"]

    def parse(self, row: dict[str, Any], response: str) -> dict[str, str]:
        return {"id": row["id"], "answer": response}


def main(given: work.Work) -> None:
    records = given.records()
    answers = Answers(
        model_name=records[0][1]["model"],
        backend="openai",
        generation_params={"max_tokens": records[0][1]["max_tokens"]},
        backend_params={
            "base_url": given.base_url,
            "api_key": "none",
            "max_concurrent_requests": given.in_flight,
            "max_requests_per_minute": UNFELT,
            "max_tokens_per_minute": UNFELT,
        },
    )
    rows = [{"id": name, "messages": body["messages"]} for name, body in records]
    answers(rows, working_dir=str(given.output.parent / "curator")).dataset.to_json(str(given.output))


if __name__ == "__main__":
    main(work.given())
