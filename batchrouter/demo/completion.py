"""From a request to the body of its answer: choices with their finish reasons, and the usage. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from batchrouter.demo.answers import answer, tool_arguments
from batchrouter.demo.draw import Draw
from batchrouter.demo.faults import Fault
from batchrouter.demo.profile import DemoModel
from batchrouter.demo.request import ChatRequest
from batchrouter.demo.tokens import Usage, half, within

REFUSAL_TEXT = "I'm sorry, but I can't help with that."


@dataclass(frozen=True, slots=True)
class Completion:
    """What is answered and what it counts, before it has an id."""

    choices: list[dict[str, Any]]
    usage: Usage

    def body(self, call_id: str, model: str, created: int) -> bytes:
        """The JSON of the answer; ``created`` in seconds since 1970."""
        usage = self.usage
        return orjson.dumps(
            {
                "id": call_id,
                "object": "chat.completion",
                "created": created,
                "model": model,
                "choices": self.choices,
                "usage": {
                    "prompt_tokens": usage.prompt,
                    "completion_tokens": usage.completion,
                    "total_tokens": usage.prompt + usage.completion,
                    "prompt_tokens_details": {"cached_tokens": usage.cached},
                    "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
                },
                "system_fingerprint": "demo",
            }
        )


def complete(chat: ChatRequest, model: DemoModel, seed: int, fault: Fault | None = None) -> Completion:
    """The completion of a request; the faults that change an answer (empty, refusal, truncated) are applied."""
    choices: list[dict[str, Any]] = []
    completion = reasoning = 0
    for index in range(chat.choices):
        draw = Draw(seed, chat.fingerprint, b"%d" % index)
        thought = model.reasoning_tokens
        if chat.output_most is not None:
            thought = min(thought, chat.output_most)
        most = None if chat.output_most is None else chat.output_most - thought
        message, finish_reason, written = _message(chat, draw, most, fault)
        completion += thought + written
        reasoning += thought
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason})
    cached = int(chat.prompt_tokens * model.cached_share)
    return Completion(choices, Usage(chat.prompt_tokens, completion, cached, reasoning))


def _message(chat: ChatRequest, draw: Draw, most: int | None, fault: Fault | None) -> tuple[dict[str, Any], str, int]:
    """A message, its finish reason and its tokens."""
    if fault is Fault.EMPTY:
        return _text_message(""), "stop", 0
    if fault is Fault.REFUSAL:
        refusal, written, is_cut = within(REFUSAL_TEXT, most)
        return {**_text_message(None), "refusal": refusal}, "length" if is_cut else "stop", written
    if chat.forced_tool is not None:
        return _tool_message(chat.forced_tool, draw, most)
    text = answer(chat, draw)
    if fault is Fault.TRUNCATED:
        text = half(text)
    content, written, is_cut = within(text, most)
    finish_reason = "length" if is_cut or fault is Fault.TRUNCATED else "stop"
    return _text_message(content), finish_reason, written


def _tool_message(function: dict[str, Any], draw: Draw, most: int | None) -> tuple[dict[str, Any], str, int]:
    arguments, written, is_cut = within(tool_arguments(function, draw), most)
    call = {
        "id": f"call_{draw.below(16**12):012x}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }
    return {**_text_message(None), "tool_calls": [call]}, "length" if is_cut else "tool_calls", written


def _text_message(content: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "refusal": None}
