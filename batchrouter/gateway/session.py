"""One gateway's HTTP session: its headers, timeouts and trust, and answers read no further than is allowed.

Nothing comes from the environment, no cookie is kept, and a setting that no call could work with is refused at once:
found during the calls it would look like an outage.
"""

from __future__ import annotations

import re
import ssl

import aiohttp
from yarl import URL

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.settings import GatewaySettings

CONNECT_S = 30.0
_NOT_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def new_session(gateway: GatewaySettings, key: str | None, *, version: str) -> aiohttp.ClientSession:
    """A session with the gateway's headers and trust; raises ``ConfigurationError``. Who calls sets the deadline."""
    headers = {"Content-Type": "application/json", "User-Agent": f"batchrouter/{version}", **gateway.headers}
    if key and gateway.auth == "bearer":
        headers["Authorization"] = f"Bearer {key}"
    elif key:
        headers["api-key"] = key
    for name, value in headers.items():
        if _NOT_IN_HEADERS.search(name + value):
            raise ConfigurationError(f"the header {name!r} holds a control character", "Correct headers of [gateway].")
    trust = _trust(gateway.ca_file)
    return aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_S, gateway.timeout_s)),
        connector=aiohttp.TCPConnector(limit=0, ssl=trust),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def endpoint(gateway: GatewaySettings, path: str) -> URL:
    """The address of an endpoint such as ``/models``; raises ``ConfigurationError`` where there can be none."""
    address = _url(gateway.base_url)
    if address is None:
        raise ConfigurationError("base_url is not an address", 'Give one like "https://api.example.com/v1".')
    if address.user is not None or address.password is not None:
        raise ConfigurationError("base_url holds a user or password", "Give the key by api_key_env or api_key_file.")
    if gateway.proxy is not None and _url(gateway.proxy) is None:
        raise ConfigurationError("proxy is not an address of an HTTP proxy", 'Give one like "http://proxy:3128".')
    return URL(gateway.base_url + path)


def _url(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url if url.host and url.scheme in ("http", "https") else None


async def bounded(response: aiohttp.ClientResponse, bytes_most: int) -> bytes | None:
    """The decompressed body, or None (and the connection closed) when it is larger than allowed.

    aiohttp decompresses no more than a block ahead of what is read, so that a bomb costs the cap and not its size.
    """
    chunks, size = [], 0
    while not response.content.at_eof():
        chunk = await response.content.readany()
        size += len(chunk)
        if size > bytes_most:
            response.close()
            return None
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"ca_file {ca_file} cannot be read: {error}", "Give a file of PEM certificates."
        ) from error
