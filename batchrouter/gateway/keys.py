"""Keys are read once, at the start, from where the configuration says; they are never stored or shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.settings import GatewaySettings, Settings


def read_keys(settings: Settings, environ: Mapping[str, str]) -> dict[str, str | None]:
    """The key of each gateway that a model uses, by the gateway's name (None: it wants none)."""
    return {name: read_key(name, settings.gateway[name], environ) for name in settings.gateways_used}


def read_key(name: str, gateway: GatewaySettings, environ: Mapping[str, str]) -> str | None:
    """The key of one gateway (None: it wants none); ConfigurationError says where it should be."""
    if gateway.auth == "none":
        return None
    where, key = _found(name, gateway, environ)
    if not (key.isascii() and key.isprintable()) or any(character in key for character in " \"'\\"):
        raise ConfigurationError(f"{where} holds characters that no key has", _hint(name, gateway))
    return key


def _found(name: str, gateway: GatewaySettings, environ: Mapping[str, str]) -> tuple[str, str]:
    """Where the key stands, and the key."""
    missing = "neither api_key_env nor api_key_file is configured"
    if gateway.api_key_file:
        path = Path(gateway.api_key_file).expanduser()
        missing = f"{path} is empty"
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            key, missing = "", f"{path} cannot be read"
        if key:
            return str(path), key
    elif gateway.api_key_env:
        missing = f"{gateway.api_key_env} is not set"
        if key := environ.get(gateway.api_key_env, "").strip():
            return gateway.api_key_env, key
    raise ConfigurationError(f"no key for gateway {name!r}: {missing}", _hint(name, gateway))


def _hint(name: str, gateway: GatewaySettings) -> str:
    if gateway.api_key_env:
        return f"export {gateway.api_key_env}=…, or try it without a key: --demo"
    return f'Set api_key_env or api_key_file of gateway {name!r}, or auth = "none".'
