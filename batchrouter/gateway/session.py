"""How one gateway is reached: its address, headers, timeouts and trust.

Nothing comes from the environment, no cookie is kept, and a setting that no call could work with is refused at once:
found during the calls it would look like an outage.
"""

from __future__ import annotations

import re
import ssl

import aiohttp
from yarl import URL

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.tables import GatewaySettings

CONNECT_S = 30.0
_CHAT = "/chat/completions"
_OURS = frozenset({"content-length", "transfer-encoding"})
_NOT_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def new_session(gateway: GatewaySettings, key: str | None, *, version: str) -> aiohttp.ClientSession:
    """A session with the gateway's headers and trust; raises ``ConfigurationError``. Who calls sets the deadline."""
    return aiohttp.ClientSession(
        headers=headers_of(gateway, key, version=version),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s(gateway)),
        connector=new_connector(gateway),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def new_connector(gateway: GatewaySettings) -> aiohttp.TCPConnector:
    """Connections with the gateway's trust, as many as are asked for; raises ``ConfigurationError``."""
    return aiohttp.TCPConnector(limit=0, ssl=_trust(gateway.ca_file))


def connect_s(gateway: GatewaySettings) -> float:
    """Seconds in which a connection has to stand."""
    return min(CONNECT_S, gateway.timeout_s)


def headers_of(gateway: GatewaySettings, key: str | None, *, version: str) -> dict[str, str]:
    """What is said with every request; raises ``ConfigurationError``."""
    headers = {"Content-Type": "application/json", "User-Agent": f"batchrouter/{version}", **gateway.headers}
    if key and gateway.auth == "bearer":
        headers["Authorization"] = f"Bearer {key}"
    elif key:
        headers["api-key"] = key
    for name, value in headers.items():
        if name.lower() in _OURS:
            raise ConfigurationError(f"the header {name!r} is not yours to set", "Take it out of headers of [gateway].")
        if _NOT_IN_HEADERS.search(name + value):
            raise ConfigurationError(f"the header {name!r} holds a control character", "Correct headers of [gateway].")
    return headers


def address(gateway: GatewaySettings, path: str) -> URL:
    """The address of an endpoint such as ``/models``; raises ``ConfigurationError`` where there can be none."""
    url = _url(gateway.base_url)
    if url is None:
        raise ConfigurationError("base_url is not an address", 'Give one like "https://api.example.com/v1".')
    if url.user is not None or url.password is not None:
        raise ConfigurationError("base_url holds a user or password", "Give the key by api_key_env or api_key_file.")
    if gateway.base_url.endswith(_CHAT):
        raise ConfigurationError(
            f"base_url ends in {_CHAT}, which is added to it", f'Give "{gateway.base_url.removesuffix(_CHAT)}".'
        )
    if gateway.proxy is not None and _url(gateway.proxy) is None:
        raise ConfigurationError("proxy is not an address of an HTTP proxy", 'Give one like "http://proxy:3128".')
    return URL(gateway.base_url + path)


def _url(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url if url.host and url.scheme in ("http", "https") else None


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"ca_file {ca_file} cannot be read: {error}", "Give a file of PEM certificates."
        ) from error
