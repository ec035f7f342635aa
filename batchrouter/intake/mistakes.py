"""Mistakes in a configuration as lines for a person: where (a TOML path), what stands there, and what may stand there."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel, ValidationError

from batchrouter.core import tables
from batchrouter.core.checks import Expectation
from batchrouter.core.settings import Settings
from batchrouter.intake.suggestions import did_you_mean

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = ("headers", "proxy", "api_key_env")
_USER = re.compile(r"//[^/@\s]*@")
_LOOKS_LIKE_A_KEY = ("api_key", "key", "token", "apikey")


def mistakes_of(error: ValidationError) -> list[str]:
    """One line for each mistake, in the order of the file's tables."""
    lines: list[str] = []
    for one in error.errors():
        location = one["loc"]
        message = one["msg"].removeprefix("Value error, ")
        if not location:
            lines += message.split("\n")
        else:
            lines.append(f"{toml_path(location)}: {_explained(location, one['type'], message, one['input'])}")
    return lines


def toml_path(location: tuple[int | str, ...]) -> str:
    """``model."openai/gpt-4o".input``; tables in an array are counted from 1, the default gateway is ``gateway``."""
    parts = [str(part + 1) if isinstance(part, int) else part for part in location]
    if parts[:2] == ["gateway", tables.DEFAULT_GATEWAY]:
        del parts[1]
    return ".".join(part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in parts)


def _explained(location: tuple[int | str, ...], kind: str, message: str, value: Any) -> str:
    last = str(location[-1])
    if kind == "extra_forbidden":
        if last in _LOOKS_LIKE_A_KEY and location[0] == "gateway":
            return "keys do not belong into this file; api_key_env names the environment variable that holds it"
        return f"unknown key{did_you_mean(last, _known_keys(location[:-1]))}"
    if kind == "missing":
        return "is missing"
    if kind == "tuple_type":
        example = f", as in [{_shown(value)}]" if isinstance(value, str) else ""
        return f"input should be an array{example}"
    text = message[:1].lower() + message[1:]
    if any(part in _SECRET for part in location) or isinstance(value, BaseModel | dict | list | tuple):
        return text
    return f"{_shown(value)}: {text}"


def _shown(value: Any) -> str:
    """A value as it was written, cut to what a line has room for, and without the password of an address."""
    text = str(value)
    if isinstance(value, str):
        plain = _USER.sub("//…@", value)
        text = f'"{plain}"' if plain.isprintable() else repr(plain)
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(table: tuple[int | str, ...]) -> list[str]:
    """The keys that a table may have."""
    match table:
        case ():
            model: type[BaseModel] = Settings
        case ("gateway", *_):
            model = tables.GatewaySettings
        case ("tier", *_):
            model = tables.TierSettings
        case ("model", *_):
            model = tables.ModelSettings
        case ("routing", "rule", *_):
            model = tables.RuleSettings
        case ("routing", *_):
            model = tables.RoutingSettings
        case ("task", _):
            model = tables.TaskSettings
        case ("run", *_):
            model = tables.RunSettings
        case _:
            model = Expectation
    return [field.alias or name for name, field in model.model_fields.items()]
