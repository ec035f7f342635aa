"""Settings and texts as a person gives them: files, variables, templates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from batchrouter.core.settings import Settings
from batchrouter.intake import configuration
from batchrouter.intake.template import template_text


def load_settings(
    config: str | Path | None = None, *, budget: Decimal | None = None, router: Sequence[str] | None = None
) -> Settings:
    """The settings of a file (None: ./batchrouter.toml if there, else built-in), a budget and routers laid over them."""
    return configuration.overridden(
        configuration.load(Path(config) if config else None, os.environ), budget=budget, router=router
    )


def text_or_file(value: str) -> str:
    """A file's content if ``value`` names one, else ``value`` itself."""
    return template_text(value)


def configuration_template(gateway: str) -> str:
    """A commented configuration file for aicredits, openai, openrouter, litellm or vllm."""
    return configuration.configuration_template(gateway)
