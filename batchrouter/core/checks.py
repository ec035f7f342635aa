"""Checks of an answer: what makes a reply that arrived and was paid for one that the record cannot be done with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, field_validator

from batchrouter.core.outcome import Answer, ErrorClass

_FENCE = "```"
_OPENED = re.compile(r"```[\w-]*[^\S\n]*\n")


class Expectation(BaseModel):
    """What an answer must be (``expect``): of a record, of a task, or of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    not_empty: bool = True
    json_: bool = Field(default=False, alias="json")
    strict: bool = False
    one_of: tuple[str, ...] | None = Field(default=None, min_length=1)
    regex: str | None = None
    max_words: int | None = Field(default=None, gt=0)

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        problem = None if value is None else regex_problem(value)
        if problem:
            raise ValueError(f"is not a regular expression: {problem}")
        return value


def regex_problem(pattern: str) -> str | None:
    """Why a pattern is no regular expression, or None where it is one."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        return str(error)
    except RecursionError:
        return "it is nested too deeply"
    return None


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """Which check failed, and what a person needs to know of it."""

    error: ErrorClass
    reason: str


def failed_check(answer: Answer, expected: Expectation | None, *, own_cap: int | None) -> FailedCheck | None:
    """The first check that the answer fails, or None. ``own_cap`` is the output cap where it was ours, in tokens."""
    if answer.finish_reason == "content_filter":
        return FailedCheck(ErrorClass.CONTENT_FILTER, "the gateway's content filter stopped the answer")
    if answer.refusal:
        return FailedCheck(ErrorClass.REFUSAL, f"the model refused: {answer.refusal[:200]}")
    if answer.finish_reason == "length" and own_cap is not None:
        return FailedCheck(ErrorClass.TRUNCATED, f"the answer was cut at max_output_tokens = {own_cap}")
    content = answer.content or ""
    if not content.strip():
        wanted = expected is None or expected.not_empty
        cut_as_asked = answer.finish_reason == "length"
        if wanted and not answer.has_tool_calls and not cut_as_asked:
            return FailedCheck(ErrorClass.EMPTY, "the answer is empty")
        return None
    if expected is None:
        return None
    reason = _unexpected(content, expected)
    return FailedCheck(ErrorClass.CHECK, reason) if reason else None


def _unexpected(content: str, expected: Expectation) -> str | None:
    text = content.strip()
    if expected.json_ and not _is_json(text, strict=expected.strict):
        return "expect.json: the answer is not JSON"
    if expected.one_of is not None and text.casefold().rstrip(".") not in {one.casefold() for one in expected.one_of}:
        return f"expect.one_of: {text[:60]!r} is none of {list(expected.one_of)}"
    if expected.regex is not None and not re.search(expected.regex, text):
        return f"expect.regex: {expected.regex!r} does not match"
    if expected.max_words is not None and len(text.split()) > expected.max_words:
        return f"expect.max_words: {len(text.split())} words, at most {expected.max_words}"
    return None


def _is_json(text: str, *, strict: bool) -> bool:
    try:
        json.loads(text if strict else _unfenced(text))
    except (ValueError, RecursionError):
        return False
    return True


def _unfenced(text: str) -> str:
    """The text within a Markdown fence; found in one pass, for a model that went astray may write newlines for ever."""
    opened = _OPENED.match(text)
    if opened is None or not text.endswith(_FENCE):
        return text
    return text[opened.end() : -len(_FENCE)]
