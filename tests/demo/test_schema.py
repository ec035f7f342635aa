"""Answers under a JSON schema are instances of it."""

from __future__ import annotations

from typing import Any

import pytest

from batchrouter.demo.draw import Draw
from batchrouter.demo.schema import VALUES_MOST, instance

CASES: list[tuple[Any, Any]] = [
    (
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["b"]},
        {"b": 0},
    ),
    ({"enum": ["only"]}, "only"),
    ({"const": 7}, 7),
    ({"type": "integer", "minimum": 3, "multipleOf": 5}, 5),
    ({"type": "integer", "maximum": -4}, -4),
    ({"type": "integer", "exclusiveMinimum": 3}, 4),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "number", "minimum": 0.5, "maximum": 0.7}, 0.5),
    ({"type": ["null", "string"], "maxLength": 3}, "not"),
    ({"type": "string", "minLength": 12}, "not stated.."),
    ({"type": "string", "format": "date"}, "2025-04-01"),
    ({"type": "array", "items": {"type": "null"}, "minItems": 2}, [None, None]),
    ({"type": "array", "items": {"type": "null"}}, []),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
    ({"$ref": "#/$defs/level", "$defs": {"level": {"const": "high"}}}, "high"),
    (
        {
            "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"const": 2}}, "required": ["y"]}],
            "$defs": {"a": {"properties": {"x": {"const": 1}}, "required": ["x"]}},
        },
        {"x": 1, "y": 2},
    ),
    ({"type": "null"}, None),
    (None, None),
]


@pytest.mark.parametrize(("schema", "expected"), CASES)
def test_the_smallest_instance(schema: Any, expected: Any) -> None:
    assert instance(schema, Draw(0)) == expected


def test_choices_of_an_enumeration_are_drawn() -> None:
    schema = {"enum": ["low", "high"]}
    assert {instance(schema, Draw(seed)) for seed in range(30)} == {"low", "high"}


def test_a_schema_that_refers_to_itself_ends() -> None:
    child = {"$ref": "#"}
    schema = {"type": "object", "properties": {"a": child, "b": child}, "required": ["a", "b"]}
    text = repr(instance(schema, Draw(0)))
    assert text.count("'a'") <= VALUES_MOST
    assert instance({"$ref": "#"}, Draw(0)) is None
