"""The messages of a chat request: are they messages at all, what do they weigh, and what do rules look at in them."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from batchrouter.intake.raw_object import BadLine, kind_of

BYTES_PER_MESSAGE = 16
"""What the envelope of one message (its role and its separators) may add to what the model reads."""
_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
_MAY_LACK_CONTENT = ("tool_calls", "function_call", "refusal", "audio")


class MessageFacts(msgspec.Struct, frozen=True, gc=False):
    """``prompt_bytes``: UTF-8 bytes of all that the model reads, images apart; texts: those of user messages."""

    prompt_bytes: int
    images: int
    last_user: str
    all_user: str


def utf8_length(text: str) -> int:
    """How many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def prompt_facts(prompt: str, system: str | None) -> MessageFacts:
    """The facts of a single prompt with at most a system text before it."""
    weight = utf8_length(prompt) + BYTES_PER_MESSAGE
    if system is not None:
        weight += utf8_length(system) + BYTES_PER_MESSAGE
    return MessageFacts(weight, 0, prompt, prompt)


def message_facts(messages: Any, system: str | None = None) -> MessageFacts:
    """The facts of a ``messages`` array. Raises BadLine where it is not one."""
    if type(messages) is not list:
        raise BadLine(f"messages must be an array, not {kind_of(messages)}")
    if not messages:
        raise BadLine("messages is empty")
    weight = len(messages) * BYTES_PER_MESSAGE
    if system is not None:
        weight += utf8_length(system) + BYTES_PER_MESSAGE
    images = 0
    user_texts: list[str] = []
    for number, message in enumerate(messages, start=1):
        text, more_weight, more_images = _one_message(message, number)
        weight += more_weight + utf8_length(text)
        images += more_images
        if message["role"] == "user":
            user_texts.append(text)
    last = user_texts[-1] if user_texts else ""
    return MessageFacts(weight, images, last, last if len(user_texts) < 2 else "\n".join(user_texts))


def _one_message(message: Any, number: int) -> tuple[str, int, int]:
    """Its text, the bytes of whatever else it holds, and its images."""
    if type(message) is not dict:
        raise BadLine(f"message {number} must be an object, not {kind_of(message)}")
    role = message.get("role")
    if type(role) is not str or not role:
        raise BadLine(f"message {number} needs a role such as 'user'")
    content = message.get("content")
    others = 0
    if len(message) > 2 or "content" not in message:
        where = f"message {number}"
        others = sum(_weight(value, where) for key, value in message.items() if key not in ("role", "content"))
    if type(content) is str:
        return content, others, 0
    if content is None:
        if not any(message.get(key) for key in _MAY_LACK_CONTENT):
            raise BadLine(f"message {number} has no content")
        return "", others, 0
    if type(content) is not list:
        raise BadLine(f"content of message {number} must be a string or an array of parts, not {kind_of(content)}")
    text, weight, images = _parts(content, f"message {number}")
    return text, others + weight, images


def _weight(value: Any, where: str) -> int:
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:  # it reads 1,024 levels, and writes 254
        raise BadLine(f"{where} is nested too deeply") from None


def _parts(parts: list[Any], where: str) -> tuple[str, int, int]:
    if not parts:
        raise BadLine(f"content of {where} is an empty array")
    texts: list[str] = []
    weight = images = 0
    for number, part in enumerate(parts, start=1):
        kind = part.get("type") if type(part) is dict else None
        if type(kind) is not str:
            raise BadLine(f"part {number} of {where} must be an object with a type such as 'text'")
        if kind == "text":
            if type(part.get("text")) is not str:
                raise BadLine(f"part {number} of {where} needs its text as a string")
            texts.append(part["text"])
        elif kind in _IMAGE_PARTS:
            images += 1
        else:
            weight += _weight(part, where)
    return "\n".join(texts), weight, images
