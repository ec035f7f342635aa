"""Checks: what an answer may not be."""

import pytest

from batchrouter.core.checks import Expectation, failed_check
from batchrouter.core.outcome import Answer, ErrorClass

E = ErrorClass


@pytest.mark.parametrize(
    ("answer", "own_cap", "error"),
    [
        (Answer("yes", "stop"), 100, None),
        (Answer("", "stop"), 100, E.EMPTY),
        (Answer(" \n", "stop"), 100, E.EMPTY),
        (Answer(None, "stop"), 100, E.EMPTY),
        (Answer(None, "tool_calls", has_tool_calls=True), 100, None),
        (Answer("half", "length"), 100, E.TRUNCATED),
        (Answer("half", "length"), None, None),
        (Answer("", "length"), None, None),
        (Answer("No.", "stop", refusal="I cannot help with that"), 100, E.REFUSAL),
        (Answer("", "content_filter"), 100, E.CONTENT_FILTER),
    ],
)
def test_the_checks_that_every_answer_meets(answer: Answer, own_cap: int | None, error: ErrorClass | None) -> None:
    failed = failed_check(answer, None, own_cap=own_cap)
    assert (failed.error if failed else None) == error


@pytest.mark.parametrize(
    ("expect", "text", "fails"),
    [
        ({"json": True}, '{"a": 1}', False),
        ({"json": True}, '```json\n{"a": 1}\n```', False),
        ({"json": True, "strict": True}, '```json\n{"a": 1}\n```', True),
        ({"json": True}, "{a: 1}", True),
        ({"one_of": ["positive", "negative"]}, "Positive.", False),
        ({"one_of": ["positive", "negative"]}, "mixed", True),
        ({"regex": r"^\d+$"}, "42", False),
        ({"regex": r"^\d+$"}, "about 42", True),
        ({"max_words": 3}, "one two three", False),
        ({"max_words": 3}, "one two three four", True),
        ({"not_empty": False}, "", False),
    ],
)
def test_what_a_record_may_expect(expect: dict[str, object], text: str, fails: bool) -> None:
    failed = failed_check(Answer(text, "stop"), Expectation.model_validate(expect), own_cap=None)
    assert (failed is not None) is fails
