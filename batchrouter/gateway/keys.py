"""Keys are read once, at the start, from where the configuration says; they are never stored or shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.settings import Settings
from batchrouter.core.tables import GatewaySettings


def read_keys(settings: Settings, environ: Mapping[str, str]) -> dict[str, str | None]:
    """The key of each gateway that a model uses, by the gateway's name (None: it wants none)."""
    return {name: read_key(name, settings, environ) for name in settings.gateways_used}


def read_key(name: str, settings: Settings, environ: Mapping[str, str]) -> str | None:
    """The key of one gateway (None: it wants none); ConfigurationError says where it should be."""
    gateway = settings.gateway[name]
    if gateway.auth == "none":
        return None
    where, key, missing = _looked_for(gateway, environ)
    if not key:
        told_by = f" (configuration: {settings.origin})" if settings.origin else ""
        raise ConfigurationError(f"no key for gateway {name!r}: {missing}{told_by}", _hint(name, gateway))
    if not (key.isascii() and key.isprintable()) or any(character in key for character in " \"'\\"):
        raise ConfigurationError(f"{where} holds characters that no key has", _hint(name, gateway))
    return key


def _looked_for(gateway: GatewaySettings, environ: Mapping[str, str]) -> tuple[str, str, str]:
    """(where the key should stand, the key or '', what is said where there is none)."""
    if gateway.api_key_file:
        path = Path(gateway.api_key_file).expanduser()
        try:
            return str(path), path.read_text(encoding="utf-8").strip(), f"{path} is empty"
        except (OSError, UnicodeDecodeError):
            return str(path), "", f"{path} cannot be read"
    if variable := gateway.api_key_env:
        return variable, environ.get(variable, "").strip(), f"{variable} is not set"
    return "", "", "neither api_key_env nor api_key_file is configured"


def _hint(name: str, gateway: GatewaySettings) -> str:
    if gateway.api_key_env:
        return f"export {gateway.api_key_env}=…, or try it without a key: --demo"
    return f'Set api_key_env or api_key_file of gateway {name!r}, or auth = "none".'
