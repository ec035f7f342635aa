"""The settings that a run carries in its row, and how they are laid over those of today."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.options import InputOptions
from batchrouter.core.settings import Settings
from batchrouter.store.runs import RunRow

_INPUT_OPTIONS = ("template", "system", "id_field", "task_field", "no_routing")


def fixed_settings(settings: Settings, options: InputOptions) -> dict[str, Any]:
    """Everything that is fixed when a record is taken in, as JSON values."""
    own = {name: getattr(options, name) for name in _INPUT_OPTIONS}
    fixed: dict[str, Any] = json.loads(json.dumps({**own, **settings.fixed_at_intake()}))
    return fixed


def settings_of(run: RunRow, settings: Settings) -> tuple[Settings, InputOptions]:
    """Today's settings with what the run's records carry laid over them; ConfigurationError if both do not fit."""
    if settings.currency != run.currency:
        raise ConfigurationError(
            f"run {run.run} counts in {run.currency}, the configuration in {settings.currency}",
            f'Set currency = "{run.currency}" again, or start a new run with --new.',
        )
    fixed: Mapping[str, Any] = run.fixed
    options = InputOptions(**{name: fixed[name] for name in _INPUT_OPTIONS})
    laid_over = settings.model_dump(mode="python", by_alias=True)
    laid_over |= {key: value for key, value in fixed.items() if key not in (*_INPUT_OPTIONS, "routing")}
    laid_over["routing"] = {**laid_over["routing"], **fixed["routing"]}
    try:
        return Settings.model_validate(laid_over), options
    except ValidationError as error:
        raise ConfigurationError(
            f"the configuration does not fit run {run.run}: {error.errors()[0]['msg']}",
            "Give the run the tiers that it began with, or start a new run with --new.",
        ) from error


def stored_settings(settings: Settings) -> str:
    """The whole configuration as JSON for ``run_configs``, without what may hold a secret."""
    secret = {"gateway": {name: {"headers", "proxy"} for name in settings.gateway}}
    return settings.model_dump_json(by_alias=True, exclude=secret)
