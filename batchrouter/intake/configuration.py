"""The configuration file as ``Settings``: TOML read with exact decimals, every mistake told at once with its path."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from batchrouter.core.checks import regex_problem
from batchrouter.core.errors import ConfigurationError, InputMissing
from batchrouter.core.settings import Settings
from batchrouter.core.tables import DEFAULT_GATEWAY, GatewaySettings, RunSettings
from batchrouter.intake.mistakes import mistakes_of
from batchrouter.intake.request_defaults import request_problems
from batchrouter.intake.schema_files import with_schemas

DEFAULT_FILE = "batchrouter.toml"
TEMPLATES = ("aicredits", "openai", "openrouter", "litellm", "vllm")
_BUILT_IN = "aicredits"
_ISO_4217 = re.compile("[A-Z]{3}")
_TOGETHER = ("tiers", "tier", "model")


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a file: ``path``, else ``BATCHROUTER_CONFIG``, else ./batchrouter.toml if there, else built-in.

    Raises InputMissing for a file that cannot be read, ConfigurationError with one line for each mistake.
    """
    if path is None and environ.get("BATCHROUTER_CONFIG"):
        path = Path(environ["BATCHROUTER_CONFIG"])
    if path is None and os.path.lexists(DEFAULT_FILE):
        path = Path(DEFAULT_FILE)
    if path is None:
        return default_settings().read_from(f"built-in, no {DEFAULT_FILE} in {Path.cwd()}")
    return _validated(with_schemas(_with_built_in(_read(path)), path), str(path)).read_from(str(path))


def default_settings() -> Settings:
    """The built-in configuration: AICredits as gateway, three tiers, prices in INR."""
    return _validated(_built_in(), "the built-in configuration")


def configuration_template(name: str) -> str:
    """The commented configuration file for a kind of gateway, one of ``TEMPLATES`` (KeyError otherwise)."""
    if name not in TEMPLATES:
        raise KeyError(name)
    return resources.files("batchrouter.intake").joinpath("templates", f"{name}.toml").read_text(encoding="utf-8")


def overridden(
    settings: Settings,
    *,
    budget: Decimal | None = None,
    router: Sequence[str] | None = None,
    gateway: GatewaySettings | None = None,
) -> Settings:
    """The settings with what the command line says instead; ``gateway`` takes the place of every gateway.

    Raises ConfigurationError for a value that the file could not have either.
    """
    changes: dict[str, Any] = {}
    try:
        if budget is not None:
            changes["run"] = RunSettings.model_validate({**dict(settings.run), "budget": budget})
        if router is not None:
            changes["routing"] = type(settings.routing).model_validate(
                {**dict(settings.routing), "router": tuple(router)}
            )
    except ValidationError as error:
        raise ConfigurationError("\n".join(mistakes_of(error))) from None
    if gateway is not None:
        changes["gateway"] = dict.fromkeys({DEFAULT_GATEWAY, *settings.gateway}, gateway)
    return settings.model_copy(update=changes) if changes else settings


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputMissing(f"{path} does not exist", "`batchrouter init` writes a configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text: byte {error.start + 1} is not") from None
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{path}: not valid TOML: {error}", "mend that line; the rest was not looked at"
        ) from None
    except RecursionError:
        raise ConfigurationError(f"{path}: not valid TOML: nested too deeply") from None
    except (ValueError, InvalidOperation):
        raise ConfigurationError(f"{path}: not valid TOML: a number has more digits than can be read") from None


def _built_in() -> dict[str, Any]:
    return tomllib.loads(configuration_template(_BUILT_IN), parse_float=Decimal)


def _with_built_in(data: dict[str, Any]) -> dict[str, Any]:
    """What the file says, and the built-in gateway or models where it says nothing of them."""
    built_in = _built_in()
    filled = dict(data)
    if "gateway" not in data:
        filled["gateway"] = built_in["gateway"]
    if not any(key in data for key in _TOGETHER):
        filled.update({key: built_in[key] for key in _TOGETHER})
        own_currency = built_in["currency"]
        if data.get("currency", own_currency) != own_currency:
            filled["model"] = {name: {"currency": own_currency, **model} for name, model in filled["model"].items()}
    return filled


def _validated(data: dict[str, Any], where: str) -> Settings:
    data = _with_floats(data)
    problems = _problems_of_values(data)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        problems = [*mistakes_of(error), *_names_that_disagree(data, error), *problems]
    if problems:
        hint = "mend them, or see `batchrouter init` for a file that works"
        if "tier: is missing" in problems or "model: is missing" in problems:
            hint = "a file with its own tiers, tier or model needs all that belong together; see `batchrouter init`"
        raise ConfigurationError(f"{where}:\n" + "\n".join(f"  {problem}" for problem in problems), hint)
    return settings


def _names_that_disagree(data: dict[str, Any], error: ValidationError) -> list[str]:
    """The mistakes that show only once each table is right by itself: found by leaving out what is not."""
    reported = {str(one["loc"]) for one in error.errors()}
    if "()" in reported:
        return []
    for one in error.errors():
        if not one["loc"] or one["loc"][0] in ("tiers", "currency"):
            return []
        _leave_out(data, one["loc"])
    try:
        Settings.model_validate(data)
    except ValidationError as second:
        return mistakes_of(second) if all(one["loc"] == () for one in second.errors()) else []
    return []


def _leave_out(data: Any, location: tuple[int | str, ...]) -> None:
    *outer, last = location
    for part in outer:
        if isinstance(data, dict) and part == DEFAULT_GATEWAY and part not in data:
            continue  # its keys stand in [gateway] itself
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict):
        data.pop(last, None)


def _problems_of_values(data: dict[str, Any]) -> list[str]:
    """Mistakes in what ``Settings`` takes as it is: the currency, the free tables, regular expressions."""
    problems = _currency_problem(data.get("currency"))
    if isinstance(data.get("request"), dict):
        problems += request_problems(data["request"], "request")
    tasks = data.get("task")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        if isinstance(task, dict) and isinstance(task.get("request"), dict):
            problems += request_problems(task["request"], f'task."{name}".request')
    routing = data.get("routing")
    rules = routing.get("rule") if isinstance(routing, dict) else None
    for number, rule in enumerate(rules if isinstance(rules, list) else (), start=1):
        problems += _regex_problem(rule, f"routing.rule.{number}.regex")
    return problems


def _currency_problem(currency: Any) -> list[str]:
    """A run that began with another name goes on with it, so that only what is written anew is held to the standard."""
    if not isinstance(currency, str) or _ISO_4217.fullmatch(currency):
        return []
    meant = f", did you mean {currency.upper()!r}?" if _ISO_4217.fullmatch(currency.upper()) else ""
    return [f"currency: {currency[:60]!r} is not three capital letters (ISO 4217) such as INR or USD{meant}"]


def _regex_problem(rule: Any, where: str) -> list[str]:
    regex = rule.get("regex") if isinstance(rule, dict) else None
    if not isinstance(regex, str):
        return []
    problem = regex_problem(regex)
    return [f"{where}: {regex[:60]!r} is not a regular expression: {problem}"] if problem else []


def _with_floats(data: dict[str, Any]) -> dict[str, Any]:
    """Free tables go out as JSON, which knows no decimals; prices and amounts keep theirs."""
    copy = dict(data)
    if "request" in copy:
        copy["request"] = _floats(copy["request"])
    if "expect" in copy:
        copy["expect"] = _floats(copy["expect"])
    for table, key in (("task", "request"), ("task", "expect"), ("model", "set")):
        if isinstance(copy.get(table), dict):
            copy[table] = {
                name: {**inner, key: _floats(inner[key])} if isinstance(inner, dict) and key in inner else inner
                for name, inner in copy[table].items()
            }
    return copy


def _floats(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_floats(inner) for inner in value]
    return value
