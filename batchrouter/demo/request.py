"""The body of a chat request: parsed and checked as OpenAI's API would, or refused with an error object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from batchrouter.demo.tokens import TOKENS_PER_REQUEST, message_tokens

CHOICES_MOST = 128
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_FORMATS = frozenset({"text", "json_object", "json_schema"})
_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})


class RequestError(Exception):
    """Why a request is refused, as the fields of an OpenAI error object."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that can be answered. ``system`` and ``last_user`` are texts; ``fingerprint`` tells prompts apart."""

    model: str
    system: str
    last_user: str
    fingerprint: bytes
    prompt_tokens: int
    choices: int
    output_most: int | None
    response_format: dict[str, Any] | None
    forced_tool: dict[str, Any] | None


def parse(body: bytes) -> ChatRequest:
    """The request in a body. Raises RequestError."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestError("We could not parse the JSON body of your request.") from None
    if type(value) is not dict:
        raise RequestError("The JSON body of your request must be an object.")
    model = value.get("model")
    if type(model) is not str or not model:
        raise RequestError("you must provide a model parameter", param="model")
    if value.get("stream"):
        _invalid("stream", "the demo gateway does not stream")
    system, last_user, tokens = _read_messages(value.get("messages"))
    return ChatRequest(
        model=model,
        system=system,
        last_user=last_user,
        fingerprint=orjson.dumps([model, value["messages"]]),
        prompt_tokens=tokens,
        choices=_count(value, "n", CHOICES_MOST) or 1,
        output_most=_output_most(value),
        response_format=_response_format(value.get("response_format")),
        forced_tool=_forced_tool(value),
    )


def _read_messages(messages: Any) -> tuple[str, str, int]:
    """The system text, the last user text, and the tokens of all."""
    if type(messages) is not list or not messages:
        _invalid("messages", "expected an array of at least one message")
    system, last_user, tokens = "", "", TOKENS_PER_REQUEST
    for number, message in enumerate(messages):
        role = message.get("role") if type(message) is dict else None
        if role not in _ROLES:
            _invalid(f"messages[{number}].role", f"expected one of {', '.join(sorted(_ROLES))}")
        text, images = _read_content(message.get("content"), number)
        tokens += message_tokens(text, images)
        if role == "user":
            last_user = text
        elif role in ("system", "developer"):
            system = text
    return system, last_user, tokens


def _read_content(content: Any, number: int) -> tuple[str, int]:
    if type(content) is str:
        return content, 0
    if content is None:
        return "", 0
    where = f"messages[{number}].content"
    if type(content) is not list or not all(type(part) is dict for part in content):
        _invalid(where, "expected a string or an array of parts")
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    if not all(type(text) is str for text in texts):
        _invalid(where, "expected every text part to have a text")
    return "\n".join(texts), sum(part.get("type") in _IMAGE_PARTS for part in content)


def _output_most(value: dict[str, Any]) -> int | None:
    old, new = _count(value, "max_tokens"), _count(value, "max_completion_tokens")
    if old is not None and new is not None:
        _invalid("max_tokens", "not together with max_completion_tokens")
    return old if new is None else new


def _count(value: dict[str, Any], key: str, most: int = 2**31) -> int | None:
    number = value.get(key)
    if number is not None and (type(number) is not int or not 1 <= number <= most):
        _invalid(key, f"expected a whole number from 1 to {most}")
    return number


def _response_format(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if type(value) is not dict or value.get("type") not in _FORMATS:
        _invalid("response_format.type", f"expected one of {', '.join(sorted(_FORMATS))}")
    if value["type"] == "json_schema" and type(value.get("json_schema")) is not dict:
        _invalid("response_format.json_schema", "expected an object")
    return None if value["type"] == "text" else value


def _forced_tool(value: dict[str, Any]) -> dict[str, Any] | None:
    """The function that ``tool_choice`` demands; None: the answer is a text."""
    choice = value.get("tool_choice")
    if choice != "required" and type(choice) is not dict:
        return None
    tools = value.get("tools")
    functions = [tool.get("function") for tool in tools if type(tool) is dict] if type(tools) is list else []
    named = choice.get("function") if type(choice) is dict else None
    name = named.get("name") if type(named) is dict else None
    usable = (function for function in functions if type(function) is dict and type(function.get("name")) is str)
    function = next((function for function in usable if name in (None, function["name"])), None)
    if function is None:
        _invalid("tool_choice", "names no function of tools")
    return function


def _invalid(param: str, problem: str) -> NoReturn:
    raise RequestError(f"Invalid value for '{param}': {problem}.", param=param, code="invalid_value")
