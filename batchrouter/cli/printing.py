"""Machine-readable output: one JSON object, in UTF-8, whatever the locale says."""

from __future__ import annotations

from typing import Any

import click
import orjson


def print_json(value: Any) -> None:
    """Write a value as one line of JSON on stdout."""
    click.echo(orjson.dumps(value))
