"""From an HTTP answer to an outcome: what it is, what it says, what it counted. Pure.

A status alone does not tell what happened: gateways answer 200 with errors, 429 for a request that will never fit and
for an account without credit, and 400 for half a dozen reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from batchrouter.core.outcome import Answer, ErrorClass, Outcome
from batchrouter.core.pricing import Usage
from batchrouter.gateway.headers import retry_after_s, should_retry

TOKENS_MOST = 10**9
MESSAGE_MOST = 300
_WORDS_MOST = 4_000  # what an error says of itself stands at its beginning; patterns need time for every character

_TOO_LARGE = re.compile(
    r"request too large|context[ _](length|size|window)|too many tokens|maximum number of tokens allowed"
    r"|(prompt|input) is too long|maximum prompt length",
    re.IGNORECASE,
)
_THIS_REQUEST_TOO_LARGE = re.compile(r"request too large|context_length_exceeded|maximum context length", re.IGNORECASE)
# Google says "exceeded your current quota" of a limit per minute too, and then when to come back.
_NO_CREDIT = re.compile(
    r"insufficient[ _](quota|balance|credit|funds)|exceeded your current quota(?!.*retry in)", re.IGNORECASE | re.DOTALL
)
_BALANCE_GONE = re.compile(r"credit balance is too low", re.IGNORECASE)
_FILTERED = re.compile(
    r"content[_ ]?(filter|management policy|policy_violation)|responsible\s?ai|requires moderation|input was flagged",
    re.IGNORECASE,
)
# Control characters, line separators, marks that turn the direction of text, and halves of surrogate pairs.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")

_BY_STATUS = {
    400: ErrorClass.BAD_REQUEST,
    401: ErrorClass.AUTH,
    402: ErrorClass.CREDIT,
    403: ErrorClass.AUTH,
    404: ErrorClass.MODEL_UNKNOWN,
    405: ErrorClass.BAD_REQUEST,
    408: ErrorClass.TRANSIENT,
    409: ErrorClass.TRANSIENT,
    410: ErrorClass.MODEL_UNKNOWN,
    413: ErrorClass.SIZE,
    415: ErrorClass.BAD_REQUEST,
    422: ErrorClass.BAD_REQUEST,
    425: ErrorClass.TRANSIENT,
    429: ErrorClass.OVERLOAD,
    529: ErrorClass.OVERLOAD,
}


def decode(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Classify one complete HTTP answer. ``headers`` are looked up without regard to case."""
    try:
        value = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        value = None
    if status == 200:
        return _decoded_200(value, body)
    if 300 <= status < 400:
        return Outcome("error", ErrorClass.REDIRECT, _redirect_message(headers), status)
    error = _error_fields(value)
    return Outcome(
        state="error",
        error=_classify(status, error),
        message=one_line(f"{status}: {error.message or _excerpt(body)}"),
        status_code=status,
        usage=_usage(value),
        retry_after_s=retry_after_s(headers),
        should_retry=should_retry(headers),
        response=body if value is not None else None,
    )


def _decoded_200(value: Any, body: bytes) -> Outcome:
    usage = _usage(value)
    if not isinstance(value, dict):
        return _unusable(f"200 with something that is no JSON object: {_excerpt(body)}", usage, None)
    if value.get("error"):
        error = _error_fields(value)
        return _unusable(f"200 with an error: {error.message or error.code or 'no message'}", usage, body)
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return _unusable("200 without a completion: no choices[0].message", usage, body)
    if choice.get("error") or choice.get("finish_reason") == "error":
        error = _error_fields(choice)
        return _unusable(f"200 with an answer that broke off: {error.message or 'no message'}", usage, body)
    content = _content(message.get("content"))
    if content is NotImplemented:
        return _unusable("200 with a content that is neither text, parts nor null", usage, body)
    answer = Answer(
        content=content,
        finish_reason=_text(choice.get("finish_reason")),
        refusal=_text(message.get("refusal")),
        has_tool_calls=bool(message.get("tool_calls") or message.get("function_call")),
    )
    return Outcome(
        state="ok",
        status_code=200,
        answer=answer,
        usage=usage,
        response=body,
        response_id=_text(value.get("id")),
        model_served=_text(value.get("model")),
    )


def _unusable(message: str, usage: Usage | None, body: bytes | None) -> Outcome:
    return Outcome("error", ErrorClass.UNUSABLE, one_line(message), 200, usage=usage, response=body)


def _content(content: Any) -> Any:
    """Text, or the text of parts, or None; NotImplemented for anything else."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        return NotImplemented
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "".join(text for text in texts if isinstance(text, str))


class _ErrorFields:
    """The parts of an error object, whatever shape it has."""

    __slots__ = ("code", "kind", "message")

    def __init__(self, message: str, kind: str, code: str) -> None:
        self.message = message[:_WORDS_MOST]
        self.kind = kind[:_WORDS_MOST]
        self.code = code[:_WORDS_MOST]


def _error_fields(value: Any) -> _ErrorFields:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0]
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, str):
        return _ErrorFields(error, "", "")
    if not isinstance(error, dict):
        return _ErrorFields("", "", "")
    message = _text(error.get("message")) or _text(error.get("detail")) or ""
    metadata = error.get("metadata")
    raw = _text(metadata.get("raw")) if isinstance(metadata, dict) else None
    if raw:
        message = f"{message}: {raw}" if message else raw
    code = error.get("code")
    return _ErrorFields(
        message, _text(error.get("type")) or "", str(code) if isinstance(code, str | int | float) else ""
    )


def _classify(status: int, error: _ErrorFields) -> ErrorClass:
    words = f"{error.code} {error.kind} {error.message}"
    # "Too many tokens" of a 429 is a rate limit at some gateways; a request that never fits says so in other words.
    too_large = _THIS_REQUEST_TOO_LARGE if status == 429 else _TOO_LARGE
    if status in (400, 413, 422, 429) and too_large.search(words):
        return ErrorClass.SIZE
    if _is_without_credit(status, error):
        return ErrorClass.CREDIT
    if status in (400, 403) and error.code == "model_not_found":
        return ErrorClass.MODEL_UNKNOWN
    if status in (400, 403) and _FILTERED.search(words):
        return ErrorClass.CONTENT_FILTER
    if known := _BY_STATUS.get(status):
        return known
    return ErrorClass.SERVER if 500 <= status < 600 else ErrorClass.HTTP


def _is_without_credit(status: int, error: _ErrorFields) -> bool:
    if status not in (400, 402, 403, 429):
        return False
    if "insufficient_quota" in (error.code, error.kind) or _BALANCE_GONE.search(error.message):
        return True
    return status == 429 and _NO_CREDIT.search(error.message) is not None


def _usage(value: Any) -> Usage | None:
    """Token counts that can be believed, or None: they decide what is charged."""
    usage = value.get("usage") if isinstance(value, dict) else None
    if not isinstance(usage, dict):
        return None
    counted_in, counted_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
    written = _detail(usage, "prompt_tokens_details", "cache_write_tokens")
    if not written:
        written = _count(usage.get("cache_creation_input_tokens") or 0)
    if counted_in is None or counted_out is None or cached is None or written is None:
        return None
    total = _count(usage.get("total_tokens")) or 0
    counted_out += max(0, total - counted_in - counted_out)  # some gateways count reasoning in the total alone
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens") or 0  # priced as output either way
    if cached + written > counted_in or reasoning > counted_out:
        return None
    return Usage(counted_in, counted_out, cached, written, reasoning)


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int | None:
    """A count of a group, 0 where it is absent; None: not one that can be believed."""
    details = usage.get(group)
    value = details.get(name) if isinstance(details, dict) else None
    return 0 if value is None else _count(value)


def _count(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= TOKENS_MOST else None


def _redirect_message(headers: Mapping[str, str]) -> str:
    try:
        host = urlsplit(headers.get("Location", "")).hostname or "another path"
    except ValueError:
        host = "an address that is none"
    return one_line(
        f"the gateway redirects to {host}: put the address that it means into base_url; nothing was followed"
    )


def _excerpt(body: bytes) -> str:
    return body[:120].decode("utf-8", "replace") or "an empty body"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def one_line(text: str) -> str:
    """A message fit for a terminal and a row: one line, no control characters, bounded."""
    flat = _CONTROL.sub(" ", text).strip()
    return flat if len(flat) <= MESSAGE_MOST else flat[: MESSAGE_MOST - 1] + "…"
