"""What the configuration gives to every record, or to every record of a task, that does not say it itself.

Each value is serialised once and its bytes are added to the bodies that lack it.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import orjson

from batchrouter.core.checks import Expectation
from batchrouter.core.errors import ConfigurationError
from batchrouter.core.settings import Settings
from batchrouter.intake.mistakes import toml_path

_LEVELS_MOST = 100
"""Of tables within tables; what writes JSON gives up at 254."""
CAPS = ("max_tokens", "max_completion_tokens")
_OF_THE_RECORD = ("messages", "prompt", "system", "id", "custom_id", "tier", "task", "metadata", "expect")


class Defaults(msgspec.Struct, frozen=True, gc=False):
    """Body keys as values and as JSON, the pinned tier, and the checks as JSON."""

    values: dict[str, Any]
    encoded: dict[str, bytes]
    tier: str | None
    expect: bytes | None


class DefaultsByTask:
    """The defaults of each task of the configuration, and those of all other records."""

    def __init__(self, settings: Settings) -> None:
        problems = request_problems(settings.request, "request")
        for name, task in settings.task.items():
            problems += request_problems(task.request, f'task."{name}".request')
        if problems:
            raise ConfigurationError("\n".join(problems))
        self._general = _defaults(settings.request, None, settings.expect)
        self._by_task = {
            name: _defaults(_merged(settings.request, task.request), task.tier, task.expect or settings.expect)
            for name, task in settings.task.items()
        }

    def of(self, task: str | None) -> Defaults:
        """The defaults of a record with this label."""
        return self._general if task is None else self._by_task.get(task, self._general)


def expectation_json(expected: Expectation) -> bytes:
    """Checks as they are stored: JSON with the names that a configuration uses, and only what was said."""
    return expected.model_dump_json(by_alias=True, exclude_unset=True).encode()


def request_problems(request: dict[str, Any], where: str) -> list[str]:
    """What of a ``request`` table cannot be given to records, each with its TOML path."""
    problems = []
    for key, value in request.items():
        path = f"{where}.{toml_path((key,))}"
        if key in _OF_THE_RECORD:
            problems.append(f"{path}: belongs to a record, not to the configuration")
        elif key == "stream" and value:
            problems.append(f"{path}: answers are not streamed; leave it out")
        elif key in (*CAPS, "n") and not is_count(value):
            problems.append(f"{path}: {value!r} is not a positive whole number")
        elif key == "model" and not (isinstance(value, str) and value):
            problems.append(f"{path}: needs the name of a model")
        elif not _is_json(value, _LEVELS_MOST):
            problems.append(f"{path}: {value!r} cannot be written as JSON")
    if all(cap in request for cap in CAPS):
        problems.append(f"{where}: {CAPS[0]} and {CAPS[1]} mean the same; give one of them")
    return problems


def is_count(value: Any) -> bool:
    """Whether a value is a positive whole number that every store can hold."""
    return type(value) is int and 0 < value <= 1_000_000_000


def _is_json(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(isinstance(key, str) and _is_json(inner, levels - 1) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return levels > 0 and all(_is_json(inner, levels - 1) for inner in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if type(value) is int:
        return -(2**63) <= value < 2**64
    return value is None or isinstance(value, str | bool)


def _merged(general: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    hidden = CAPS if any(cap in own for cap in CAPS) else ()
    return {key: value for key, value in general.items() if key not in hidden} | own


def _defaults(request: dict[str, Any], tier: str | None, expected: Expectation | None) -> Defaults:
    return Defaults(
        values=request,
        encoded={key: orjson.dumps(value) for key, value in request.items() if key != "model"},
        tier=tier,
        expect=None if expected is None else expectation_json(expected),
    )
