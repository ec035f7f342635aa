"""Asking the gateways what costs nothing: whether they are there, take the key, and know the models."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp
import orjson

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.findings import Finding
from batchrouter.core.settings import Settings
from batchrouter.core.surroundings import clock_finding
from batchrouter.core.tables import GatewaySettings
from batchrouter.core.version import VERSION
from batchrouter.gateway.exchange import bounded
from batchrouter.gateway.failures import kind
from batchrouter.gateway.headers import answered_at
from batchrouter.gateway.session import address, new_session

PROBE_TIMEOUT = aiohttp.ClientTimeout(total=20)
LIST_BYTES_MOST = 16_000_000
_IS_IT_THE_BASE = "Look whether base_url is right: most end in /v1. Then try a small run: --limit 5."


async def check_gateways(settings: Settings, keys: Mapping[str, str | None]) -> list[Finding]:
    """One ``GET /models`` for each gateway in ``keys``; no call that costs, and no exception for what is found."""
    findings = []
    for name, key in keys.items():
        gateway = settings.gateway[name]
        names = [model.name or wanted for wanted, model in settings.model.items() if model.gateway == name]
        try:
            findings += await _check(gateway, key, names)
        except ConfigurationError as error:
            findings.append(Finding("error", f"gateway {name}: {error.message}", error.hint))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            findings.append(_unreachable(gateway, error))
    return findings


async def _check(gateway: GatewaySettings, key: str | None, wanted: list[str]) -> list[Finding]:
    url = address(gateway, "/models")
    async with (
        new_session(gateway, key, version=VERSION) as session,
        session.get(url, allow_redirects=False, proxy=gateway.proxy, timeout=PROBE_TIMEOUT) as response,
    ):
        status, there = response.status, answered_at(response.headers)
        body = await bounded(response.content, LIST_BYTES_MOST)
    if status in (401, 403):
        return [Finding("error", f"{gateway.base_url} refuses the key ({status})", "Check the key and its rights.")]
    if 300 <= status < 400:
        return [Finding("error", f"{gateway.base_url} redirects ({status})", "Put the address it means into base_url.")]
    if status == 404:
        return [Finding("warning", f"{url} answers 404: models cannot be checked", _IS_IT_THE_BASE)]
    if status != 200:
        return [Finding("warning", f"{url} answers {status}: models cannot be checked", "Try a small run: --limit 5.")]
    return [Finding("ok", f"{gateway.base_url} answers"), *_clock(there), *_models(body or b"", wanted)]


def _clock(there: datetime | None) -> list[Finding]:
    return [] if there is None else [clock_finding(datetime.now(UTC), there)]


def _unreachable(gateway: GatewaySettings, error: Exception) -> Finding:
    advice = "Check base_url, network and proxy."
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        advice = "If the gateway's certificate is your own, name its authority in ca_file."
    return Finding("error", f"{gateway.base_url} does not answer ({kind(error)})", advice)


def _names(body: bytes) -> set[str] | None:
    try:
        return {model["id"] for model in orjson.loads(body)["data"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _models(body: bytes, wanted: list[str]) -> list[Finding]:
    known = _names(body)
    if known is None:
        is_page = body.lstrip().startswith(b"<")
        what = (
            "a web page stands where its list of models should be" if is_page else "its list of models cannot be read"
        )
        return [Finding("warning", what, _IS_IT_THE_BASE)]
    missing = [name for name in wanted if name not in known]
    if not missing:
        return [Finding("ok", f"it knows all {len(wanted)} configured models")]
    advice = 'Correct the model, give its name there ([model."…"] name), or take it out of its tier.'
    return [Finding("warning", f"it does not list {name}", advice) for name in missing]
