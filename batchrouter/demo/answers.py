"""What the simulated models say: something made up that fits the kind of the prompt. Pure.

The kind is guessed from the system text and the last user message, of long ones from their beginning and end, where
instructions stand.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from batchrouter.demo.allowed import json_keys, labels, yes_or_no
from batchrouter.demo.draw import Draw
from batchrouter.demo.request import ChatRequest, RequestError
from batchrouter.demo.schema import by_name, instance

LOOKED_AT_CHARACTERS = 800
SHORT_PROMPT_WORDS, LONG_PROMPT_WORDS = 25, 50
INSTRUCTION_WORDS = 5

_TIERS = ("simple",) * 12 + ("medium",) * 5 + ("complex",) * 3
_ADVERSE = frozenset({"yes", "true", "worse", "materially worse", "fail", "bad"})
_JUDGES = ("materially worse", "verdict", "which answer is", "which response is")
_EXTRACTS = ("extract",)
_SUMMARISES = ("summar", "tl;dr", "in one line", "in one sentence")
_THINGS = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,24}){1,3}"  # an e-mail address
    r"|(?:₹|Rs\.?|INR)\s?[\d,]{0,13}\d(?:\.\d{1,2})?"  # an amount
    r"|\b[A-Z]{2,8}-?\d{2,}[\w-]{0,20}"  # an order, invoice or ticket number
    r"|\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\w{0,6}\b"
    r"|\+?\b\d{10,13}\b"  # a phone number
)
_WORD = re.compile(r"[^\W\d_]{5,}")
_NO_TOPICS = frozenset(
    {
        "about",
        "answer",
        "customer",
        "draft",
        "explain",
        "following",
        "message",
        "please",
        "reply",
        "summarise",
        "their",
        "ticket",
        "write",
    }
)
_SENTENCES = (
    "Thank you for writing to us about {topic}.",
    "We have looked into {topic} and found nothing that stands in the way.",
    "The main point is {topic}; everything else follows from it.",
    "Please allow two working days for this to show in your account.",
    "First confirm the details on record, then take the next step and note the outcome.",
    "Two things matter here: what was promised, and by when.",
    "If the amount does not arrive, reply to this message and we will take it up at once.",
    "The cost is small compared with the effort saved every month.",
    "A short check before the change, and another one after it, keeps the risk low.",
    "We suggest starting with {topic} and reviewing the figures after a week.",
    "Nothing further is needed from your side for now.",
    "Where the records disagree, the signed document counts.",
)


def answer(chat: ChatRequest, draw: Draw) -> str:
    """The text of one choice. Raises RequestError for a schema that is none."""
    text = _looked_at(chat)
    if chat.response_format is not None:
        return _formatted(chat.response_format, text, draw)
    lower = text.lower()
    if "simple" in lower and "medium" in lower and "complex" in lower:
        return draw.pick(_TIERS)
    if _asks(lower, _JUDGES):
        return _verdict(chat.system[:LOOKED_AT_CHARACTERS] or text, draw)
    if "json" in lower:
        return _object(text)
    pair = yes_or_no(text)
    if pair is not None:
        return draw.pick(pair)
    listed = labels(text)
    if listed:
        return draw.pick(listed)
    return _free_text(chat.last_user, draw)


def tool_arguments(function: dict[str, Any], draw: Draw) -> str:
    """Arguments for a call of the function, as JSON."""
    return _instance(function.get("parameters", {"type": "object"}), draw, "tools.function.parameters")


def _looked_at(chat: ChatRequest) -> str:
    user = chat.last_user
    if len(user) > 2 * LOOKED_AT_CHARACTERS:
        user = f"{user[:LOOKED_AT_CHARACTERS]}\n{user[-LOOKED_AT_CHARACTERS:]}"
    return f"{chat.system[:LOOKED_AT_CHARACTERS]}\n{user}" if chat.system else user


def _formatted(response_format: dict[str, Any], text: str, draw: Draw) -> str:
    if response_format["type"] == "json_schema":
        return _instance(response_format["json_schema"].get("schema"), draw, "response_format.json_schema.schema")
    return _object(text)


def _instance(schema: Any, draw: Draw, param: str) -> str:
    try:
        return orjson.dumps(instance(schema, draw)).decode()
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RequestError(f"Invalid schema for '{param}'.", param=param, code="invalid_json_schema") from error


def _object(text: str) -> str:
    return orjson.dumps({key: by_name(key) for key in json_keys(text)} or {"answer": "not stated"}).decode()


def _verdict(text: str, draw: Draw) -> str:
    """Mostly in favour of the cheap answer, as real judges are."""
    allowed = labels(text) or list(yes_or_no(text) or ("not worse", "worse"))
    if draw.below(5) == 0:
        return draw.pick(allowed)
    return next((option for option in allowed if option.lower() not in _ADVERSE), allowed[0])


def _asks(lower: str, hints: tuple[str, ...]) -> bool:
    return any(hint in lower for hint in hints)


def _free_text(prompt: str, draw: Draw) -> str:
    start = prompt[:LOOKED_AT_CHARACTERS]
    lower = start.lower()
    if _asks(lower, _EXTRACTS):
        return ", ".join(dict.fromkeys(_THINGS.findall(start))) or "not stated"
    topic = _topic(lower)
    if _asks(lower, _SUMMARISES):
        return f"In short, this is about {topic}, and a reply is expected within two working days."
    words = len(start.split())
    sentences = 1 if words < SHORT_PROMPT_WORDS else 2 + draw.below(3) + 4 * (words >= LONG_PROMPT_WORDS)
    left = list(_SENTENCES)
    drawn = [left.pop(draw.below(len(left))) for _ in range(sentences)]
    return " ".join(drawn).format(topic=topic)


def _topic(lower: str) -> str:
    """Two words that the text is about, or seems to be."""
    after_the_instruction = " ".join(lower[:400].split()[INSTRUCTION_WORDS:])
    words = dict.fromkeys(word for word in _WORD.findall(after_the_instruction) if word not in _NO_TOPICS)
    return " and ".join(list(words)[:2]) or "your request"
