"""Asking the gateways what costs nothing: whether they are there, take the key, and know the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from yarl import URL

from batchrouter import __version__
from batchrouter.core.findings import Finding
from batchrouter.core.settings import GatewaySettings, Settings
from batchrouter.gateway.client import new_session

PROBE_TIMEOUT = aiohttp.ClientTimeout(total=20)


async def check_gateways(settings: Settings, keys: Mapping[str, str | None]) -> list[Finding]:
    """One ``GET /models`` for each gateway in ``keys``; no call that costs."""
    findings = []
    for name, key in keys.items():
        gateway = settings.gateway[name]
        names = [model.name or wanted for wanted, model in settings.model.items() if model.gateway == name]
        findings += await _check(gateway, key, names)
    return findings


async def _check(gateway: GatewaySettings, key: str | None, wanted: list[str]) -> list[Finding]:
    url = f"{gateway.base_url}/models"
    try:
        async with new_session(gateway, key, version=__version__) as session:
            options: dict[str, Any] = {"allow_redirects": False, "proxy": gateway.proxy, "timeout": PROBE_TIMEOUT}
            async with session.get(URL(url), **options) as response:
                body = await response.content.read(4_000_000)
                status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        kind = type(error).__name__
        return [Finding("error", f"{gateway.base_url} does not answer ({kind})", "Check base_url, network and proxy.")]
    if status in (401, 403):
        return [Finding("error", f"{gateway.base_url} refuses the key ({status})", "Check the key and its rights.")]
    if 300 <= status < 400:
        return [Finding("error", f"{gateway.base_url} redirects ({status})", "Put the address it means into base_url.")]
    if status != 200:
        return [Finding("warning", f"{url} answers {status}: models cannot be checked", "Try a small run: --limit 5.")]
    return [Finding("ok", f"{gateway.base_url} answers"), *_models(_names(body), wanted)]


def _names(body: bytes) -> set[str] | None:
    try:
        return {model["id"] for model in orjson.loads(body)["data"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _models(known: set[str] | None, wanted: list[str]) -> list[Finding]:
    if known is None:
        return [Finding("warning", "its list of models cannot be read", "Try a small run: --limit 5.")]
    missing = [name for name in wanted if name not in known]
    if not missing:
        return [Finding("ok", f"it knows all {len(wanted)} configured models")]
    advice = 'Correct the model, give its name there ([model."…"] name), or take it out of its tier.'
    return [Finding("warning", f"it does not list {name}", advice) for name in missing]
