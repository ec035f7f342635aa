"""Schemas are compiled once, never fetched, and an answer that may be anything is only told where it is wrong."""

import json

import pytest

from batchrouter.core.checks import Expectation, failed_check
from batchrouter.core.outcome import Answer
from batchrouter.core.schemas import asked_format, compiled, first_violation, schema_problem

PRICE = {"type": "object", "properties": {"price": {"type": "number", "minimum": 0}}, "required": ["price"]}


def problem(content: str, **expect: object) -> str | None:
    check = failed_check(Answer(content, "stop"), Expectation.model_validate(expect), own_cap=None)
    return check.reason if check else None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"price": 3}', None),
        ('```json\n{"price": 3}\n```', None),
        ('{"price": -1}', "expect.schema: /price: -1 is less than the minimum of 0"),
        ('{"price": "x"}', 'expect.schema: /price: "x" is not of type "number"'),
        ("{}", 'expect.schema: the answer: "price" is a required property'),
        ("three", "expect.schema: the answer is not JSON"),
        ("[" * 100_000, "expect.schema: the answer is not JSON"),
    ],
)
def test_an_answer_is_told_where_it_breaks_its_schema(content: str, reason: str | None) -> None:
    assert problem(content, schema=PRICE) == reason


def test_a_fence_is_not_tolerated_where_the_check_is_strict() -> None:
    assert problem("```\n{}\n```", schema=True, strict=True) == "expect.schema: the answer is not JSON"


def test_what_an_answer_says_is_cut() -> None:
    said = problem(json.dumps({"price": "x" * 10_000}), schema=PRICE)
    assert said is not None
    assert len(said) < 300


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "nothing"}, "anyOf"),
        ({"$ref": "https://example.org/schema.json"}, "example.org"),
        ({"$ref": "file:///etc/hostname"}, "etc/hostname"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"pattern": "("}, "("),
    ],
)
def test_a_schema_that_cannot_be_applied_says_why(schema: dict[str, object], problem: str) -> None:
    assert problem in (schema_problem(schema) or "")
    with pytest.raises(ValueError, match="is not a JSON schema"):
        Expectation.model_validate({"schema": schema})


def test_a_pattern_cannot_hang_the_program() -> None:
    validator = compiled(json.dumps({"pattern": "^(a+)+(?=b)$"}).encode())
    assert first_violation("a" * 5_000 + "!", validator)


@pytest.mark.parametrize("value", [float("nan"), 10**400, [[[]]] * 3, None])
def test_values_that_only_python_reads_are_no_errors(value: object) -> None:
    first_violation(value, compiled(b'{"type": "number", "maximum": 5}'))


def asked(form: object) -> bytes:
    return json.dumps({"messages": [], "response_format": form}).encode()


@pytest.mark.parametrize(
    ("form", "content", "reason"),
    [
        ({"type": "text"}, "no json", None),
        ({"type": "json_object"}, "{}", None),
        ({"type": "json_object"}, "no json", "response_format: the answer is not JSON"),
        ({"type": "json_object"}, "```\n{}\n```", "response_format: the answer is not JSON"),
        ({"type": "json_schema", "json_schema": {"name": "p", "schema": PRICE}}, '{"price": 1}', None),
        (
            {"type": "json_schema", "json_schema": {"name": "p", "schema": PRICE}},
            '{"price": null}',
            'response_format: /price: null is not of type "number"',
        ),
        ({"type": "json_schema", "json_schema": {"name": "p", "schema": {"type": "odd"}}}, "3", None),
        (
            {"type": "json_schema", "json_schema": {"name": "p", "schema": {"type": "odd"}}},
            "x",
            "response_format: the answer is not JSON",
        ),
        ({"type": "json_schema", "json_schema": {"name": "p"}}, "[]", None),
        ({"type": "json_schema", "json_schema": 5}, "x", None),
        (7, "x", None),
        (None, "x", None),
    ],
)
def test_what_the_request_asked_its_gateway_for_is_checked(form: object, content: str, reason: str | None) -> None:
    check = failed_check(Answer(content, "stop"), None, own_cap=None, body=asked(form))
    assert (check.reason if check else None) == reason


def test_a_call_of_a_tool_is_no_answer_that_must_have_the_form() -> None:
    body = asked({"type": "json_object"})
    assert failed_check(Answer(None, "tool_calls", has_tool_calls=True), None, own_cap=None, body=body) is None


def test_one_form_is_compiled_once() -> None:
    body = asked({"type": "json_schema", "json_schema": {"name": "once", "schema": PRICE}})
    assert asked_format(body) is asked_format(bytes(body))
