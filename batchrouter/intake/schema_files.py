"""``schema = "file.json"`` in a configuration: the file's content takes the place of its name, as all that is known later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchrouter.core.errors import ConfigurationError
from batchrouter.intake.mistakes import toml_path


def with_schemas(data: dict[str, Any], configuration: Path) -> dict[str, Any]:
    """The tables of a file with every schema in them read; names are relative to the configuration's folder."""
    copy = dict(data)
    if isinstance(copy.get("expect"), dict):
        copy["expect"] = _with_schema(copy["expect"], configuration, ("expect",))
    tasks = copy.get("task")
    if isinstance(tasks, dict):
        copy["task"] = {
            name: {**task, "expect": _with_schema(task["expect"], configuration, ("task", name, "expect"))}
            if isinstance(task, dict) and isinstance(task.get("expect"), dict)
            else task
            for name, task in tasks.items()
        }
    return copy


def _with_schema(expect: dict[str, Any], configuration: Path, where: tuple[str, ...]) -> dict[str, Any]:
    name = expect.get("schema")
    if not isinstance(name, str):
        return expect
    path = configuration.parent / name
    problem = f"{configuration}:\n  {toml_path((*where, 'schema'))}: {path}"
    try:
        return {**expect, "schema": json.loads(path.read_text(encoding="utf-8-sig"))}
    except OSError as error:
        raise ConfigurationError(f"{problem} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{problem} is not JSON: {error}") from None
