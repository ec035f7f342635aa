"""Checks of an answer: what makes a reply that arrived and was paid for one that the record cannot be done with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from batchrouter.core.outcome import Answer, ErrorClass
from batchrouter.core.schemas import Format, asked_format, compiled, first_violation, schema_problem

if TYPE_CHECKING:
    from jsonschema_rs import Validator

EXPECTATIONS_KEPT = 1_000
OWN_LIMIT_SHARE = 0.9
"""An answer that was cut below this share of the cap was cut by something else."""
_NO_JSON = object()
_FENCE = "```"
_OPENED = re.compile(r"```[\w-]*[^\S\n]*\n")


class Expectation(BaseModel):
    """What an answer must be (``expect``): of a record, of a task, or of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    not_empty: bool = True
    json_: bool = Field(default=False, alias="json")
    strict: bool = False
    one_of: tuple[str, ...] | None = Field(default=None, min_length=1)
    regex: str | None = None
    max_words: int | None = Field(default=None, gt=0)
    schema_: dict[str, Any] | bool | None = Field(default=None, alias="schema")

    @field_validator("schema_")
    @classmethod
    def _is_a_schema(cls, value: dict[str, Any] | bool | None) -> dict[str, Any] | bool | None:  # noqa: FBT001
        problem = None if value is None else schema_problem(value)
        if problem:
            raise ValueError(f"is not a JSON schema: {problem}")
        return value

    @cached_property
    def validator(self) -> Validator | None:
        """The schema, compiled."""
        return None if self.schema_ is None else compiled(json.dumps(self.schema_).encode())

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


@lru_cache(maxsize=EXPECTATIONS_KEPT)
def expectation_of(stored: bytes) -> Expectation:
    """The checks of a record as they are stored."""
    return Expectation.model_validate_json(stored)


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """Which check failed, and what a person needs to know of it.

    ``at_own_limit``: the model stopped before the output cap, so a larger cap would not help.
    """

    error: ErrorClass
    reason: str
    at_own_limit: bool = False


def failed_check(
    answer: Answer,
    expected: Expectation | None,
    *,
    own_cap: int | None,
    body: bytes = b"",
    output_tokens: int | None = None,
) -> FailedCheck | None:
    """The first check that the answer fails, or None.

    ``own_cap`` is the output cap where it was ours, ``output_tokens`` what the answer came to, both in tokens; ``body`` is
    that of the request, whose ``response_format`` is a check too.
    """
    if answer.finish_reason == "content_filter":
        return FailedCheck(ErrorClass.CONTENT_FILTER, "the gateway's content filter stopped the answer")
    if answer.refusal:
        return FailedCheck(ErrorClass.REFUSAL, f"the model refused: {answer.refusal[:200]}")
    if answer.finish_reason == "length" and own_cap is not None:
        if output_tokens is not None and 0 < output_tokens < own_cap * OWN_LIMIT_SHARE:
            reason = f"the model cut its answer after {output_tokens} tokens, below max_output_tokens = {own_cap}"
            return FailedCheck(ErrorClass.TRUNCATED, reason, at_own_limit=True)
        return FailedCheck(ErrorClass.TRUNCATED, f"the answer was cut at max_output_tokens = {own_cap}")
    content = answer.content or ""
    if not content.strip():
        wanted = expected is None or expected.not_empty
        cut_as_asked = answer.finish_reason == "length"
        if wanted and not answer.has_tool_calls and not cut_as_asked:
            return FailedCheck(ErrorClass.EMPTY, "the answer is empty")
        return None
    wrong = _unasked(content, asked_format(body)) or (_unexpected(content, expected) if expected else None)
    return FailedCheck(ErrorClass.CHECK, wrong) if wrong else None


def _unasked(content: str, form: Format | None) -> str | None:
    """Why the answer has not the form that the request asked the gateway for."""
    if form is None:
        return None
    value = _parsed(content.strip(), strict=True)
    if value is _NO_JSON:
        return "response_format: the answer is not JSON"
    violation = first_violation(value, form.validator) if form.validator else None
    return f"response_format: {violation}" if violation else None


def _unexpected(content: str, expected: Expectation) -> str | None:
    text = content.strip()
    if expected.json_ or expected.validator:
        value = _parsed(text, strict=expected.strict)
        if value is _NO_JSON:
            return f"expect.{'json' if expected.json_ else 'schema'}: the answer is not JSON"
        broken = first_violation(value, expected.validator) if expected.validator else None
        if broken:
            return f"expect.schema: {broken}"
    if expected.one_of is not None and text.casefold().rstrip(".") not in {one.casefold() for one in expected.one_of}:
        return f"expect.one_of: {text[:60]!r} is none of {list(expected.one_of)}"
    if expected.regex is not None and not re.search(expected.regex, text):
        return f"expect.regex: {expected.regex!r} does not match"
    if expected.max_words is not None and len(text.split()) > expected.max_words:
        return f"expect.max_words: {len(text.split())} words, at most {expected.max_words}"
    return None


def _parsed(text: str, *, strict: bool) -> Any:
    try:
        return json.loads(text if strict else _unfenced(text))
    except (ValueError, RecursionError):
        return _NO_JSON


def _unfenced(text: str) -> str:
    """The text within a Markdown fence; found in one pass, for a model that went astray may write newlines for ever."""
    opened = _OPENED.match(text)
    if opened is None or not text.endswith(_FENCE):
        return text
    return text[opened.end() : -len(_FENCE)]
