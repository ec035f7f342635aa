"""JSON schemas: compiled once, applied to answers that may be anything. No schema is ever fetched from anywhere."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from jsonschema_rs import Validator

SCHEMAS_KEPT = 1_000
BACKTRACKS_MOST = 100_000
"""Steps of a pattern with look-around on one text; all other patterns take time in proportion to the text."""
PROBLEM_LENGTH_MOST = 200


def schema_problem(schema: Any) -> str | None:
    """Why this is no JSON schema that answers can be checked by, or None where it is one."""
    try:
        compiled(json.dumps(schema).encode())
    except ValueError as error:
        return str(error)
    return None


@lru_cache(maxsize=SCHEMAS_KEPT)
def compiled(schema: bytes) -> Validator:
    """The validator of a schema in JSON. Raises ValueError that says what is wrong with it."""
    from jsonschema_rs import FancyRegexOptions, ReferencingError, ValidationError, validator_for  # noqa: PLC0415 - slow

    try:
        patterns = FancyRegexOptions(backtrack_limit=BACKTRACKS_MOST)
        return validator_for(json.loads(schema), offline=True, pattern_options=patterns)
    except (ValidationError, ReferencingError, ValueError, RecursionError) as error:
        reason = getattr(error, "message", None) or str(error) or "it is nested too deeply"
        raise ValueError(_short(str(reason).split("\n", maxsplit=1)[0])) from None


def first_violation(value: Any, validator: Validator) -> str | None:
    """Where a parsed answer breaks the schema first, and how; None: it does not."""
    from jsonschema_rs import ValidationError  # noqa: PLC0415 - slow

    try:
        error = next(iter(validator.iter_errors(value)), None)
    except (ValidationError, ValueError, OverflowError, RecursionError) as problem:
        return _short(f"it cannot be checked: {problem}")
    if error is None:
        return None
    where = "".join(f"/{part}" for part in error.instance_path)
    return _short(f"{where or 'the answer'}: {error.message}")


class _JsonSchema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"")


class _ResponseFormat(msgspec.Struct):
    type: str = ""
    json_schema: _JsonSchema | None = None


class _Asking(msgspec.Struct):
    """The only key of a request body that is looked at here."""

    response_format: msgspec.Raw = msgspec.Raw(b"")


_BODY = msgspec.json.Decoder(_Asking)
_FORMAT = msgspec.json.Decoder(_ResponseFormat)


class Format(msgspec.Struct, frozen=True):
    """What a request told its gateway of the answer's form: JSON, and its schema if there is one that can be applied."""

    validator: Any = None


def asked_format(body: bytes) -> Format | None:
    """The form that a request body asks for; None: it asks for none that can be checked."""
    if b'"response_format"' not in body:
        return None
    return _format(bytes(_BODY.decode(body).response_format))


@lru_cache(maxsize=SCHEMAS_KEPT)
def _format(response_format: bytes) -> Format | None:
    try:
        asked = _FORMAT.decode(response_format)
    except msgspec.DecodeError:
        return None
    if asked.type not in ("json_object", "json_schema"):
        return None
    schema = bytes(asked.json_schema.schema) if asked.json_schema else b""
    try:
        return Format(compiled(schema) if schema else None)
    except ValueError:  # the gateway took it, so the gateway is its judge
        return Format()


def _short(text: str) -> str:
    return text if len(text) <= PROBLEM_LENGTH_MOST else text[: PROBLEM_LENGTH_MOST - 1] + "…"
