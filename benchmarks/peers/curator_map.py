"""bespokelabs-curator's LLM over a list of prompts, with its cache in a folder of this run alone."""

import json
import os
import sys

base_url, source, target, in_flight = sys.argv[1:5]
os.environ |= {"CURATOR_CACHE_DIR": os.path.dirname(os.path.abspath(target)), "TELEMETRY_ENABLED": "0"}
os.environ |= {"CURATOR_DISABLE_RICH_DISPLAY": "1", "OPENAI_API_KEY": "none"}

from bespokelabs import curator  # noqa: E402


def main() -> None:
    with open(source, encoding="utf-8") as lines:
        bodies = [json.loads(line)["body"] for line in lines]
    llm = curator.LLM(
        model_name=bodies[0]["model"],
        backend="openai",
        generation_params={"max_tokens": bodies[0]["max_tokens"]},
        backend_params={
            "base_url": base_url,
            "api_key": "none",
            "max_concurrent_requests": int(in_flight),
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
        },
    )
    answered = llm([body["messages"] for body in bodies])
    with open(target, "w", encoding="utf-8") as answers:
        for answer in answered.dataset if hasattr(answered, "dataset") else answered:
            answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
