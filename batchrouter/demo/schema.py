"""A small JSON value that fits a JSON schema; and one for an object of which only the keys are known."""

from __future__ import annotations

import math
from typing import Any

from batchrouter.demo.draw import Draw

DEPTH_MOST = 24
ITEMS_MOST = 100
VALUES_MOST = 5000
_FORMATS = {
    "date": "2025-04-01",
    "date-time": "2025-04-01T10:00:00Z",
    "time": "10:00:00Z",
    "email": "demo@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_BY_NAME: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("is_", "has_", "needs_", "can_"), False),
    (("quantity", "count", "number_of", "units", "days", "stars", "score"), 3),
    (("amount", "price", "total", "cost", "refund", "value"), 1499),
    (("date", "due", "deadline"), "2025-04-01"),
    (("email",), "demo@example.com"),
    (("phone", "mobile"), "+91 98765 43210"),
    (("currency",), "INR"),
    (("city",), "Pune"),
    (("name", "customer", "vendor"), "Asha Verma"),
    (("items", "tags", "list"), []),
)


def instance(schema: Any, draw: Draw) -> Any:
    """A minimal instance: required properties only. ``pattern`` and ``not`` are not looked at.

    Raises TypeError, ValueError, AttributeError or ArithmeticError for what is no schema.
    """
    return _Maker(schema, draw).make(schema, 0)


def by_name(key: str) -> Any:
    """A plausible value for a key of which only the name is known."""
    lower = key.lower()
    return next((value for words, value in _BY_NAME if any(word in lower for word in words)), "not stated")


class _Maker:
    """Makes the values of one schema; the number of them is bounded, for a schema can refer to itself."""

    def __init__(self, root: Any, draw: Draw) -> None:
        self._root = root
        self._draw = draw
        self._left = VALUES_MOST

    def make(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if type(schema) is not dict or depth > DEPTH_MOST or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._draw.pick(schema["enum"])
        narrowed = self._narrowed(schema)
        return self._typed(schema, depth) if narrowed is None else self.make(narrowed, depth + 1)

    def _narrowed(self, schema: dict[str, Any]) -> Any:
        """The schema that stands behind a reference or a combination; None: it is neither."""
        if "$ref" in schema:
            return _target(schema["$ref"], self._root)
        if schema.get("allOf"):
            return _merged(schema, self._root)
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return {**_without(schema, key), **_object(schema[key][0])}
        return None

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if type(kind) is list:
            kind = next((one for one in kind if one != "null"), "null")
        if kind == "object":
            properties = schema.get("properties", {})
            required = schema.get("required", ())
            return {key: self.make(properties.get(key, {"type": "string"}), depth + 1) for key in required}
        if kind == "array":
            items = range(min(schema.get("minItems", 0), ITEMS_MOST))
            return [self.make(schema.get("items", {}), depth + 1) for _ in items]
        return _scalar(kind, schema, self._draw)


def _scalar(kind: str, schema: dict[str, Any], draw: Draw) -> Any:
    if kind == "string":
        text = _FORMATS.get(schema.get("format", ""), "not stated")
        least = min(schema.get("minLength", 0), 10_000)
        return text.ljust(least, ".")[: schema.get("maxLength")]
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    return draw.below(2) == 1 if kind == "boolean" else None


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    least, above = schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf)
    most, below = schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf", 1)
    number = max(0, least)
    if above >= number:
        number = above + (1 if whole or below > above + 1 else (below - above) / 2)
    if number > most or number >= below:
        number = most if most < below else below - step
    fitted = math.floor(number / step) * step
    if fitted < least or fitted <= above:
        fitted += step
    fits = fitted <= most and fitted < below
    return (int(fitted) if whole else fitted) if whole or fits else number


def _target(reference: Any, root: Any) -> Any:
    """What a reference inside the same document (``#/$defs/name``) stands for."""
    found = root
    for step in str(reference).removeprefix("#").strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if type(found) is dict else None
    return found


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged = _without(schema, "allOf")
    for part in schema["allOf"]:
        more = _object(_target(part["$ref"], root) if type(part) is dict and "$ref" in part else part)
        properties = {**merged.get("properties", {}), **more.get("properties", {})}
        required = [*merged.get("required", ()), *more.get("required", ())]
        merged = {**merged, **more, "properties": properties, "required": required}
    return merged


def _without(schema: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _object(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}
