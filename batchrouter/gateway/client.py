"""The HTTP client: one session a gateway, bounded answers, no redirects, no cookies, and an outcome for whatever happens.

Whether a call may have been paid hangs on one fact: did the request's headers leave? aiohttp's tracing tells it for
every call, which exception types alone do not.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.settings import GatewaySettings, ModelSettings, Settings
from batchrouter.gateway.decoding import decode, one_line
from batchrouter.gateway.encoding import encode
from batchrouter.gateway.reported_cost import reported_cost_nano
from batchrouter.ports import Call

CONNECT_S = 30.0
BYTES_A_MB = 1_000_000
REDACTED = b"[redacted]"


@dataclass(frozen=True, slots=True)
class Connection:
    """One gateway's session with what each of its calls needs. ``rate``: of its reported costs, None: not trusted."""

    session: aiohttp.ClientSession
    url: URL
    key: bytes | None
    response_bytes_most: int
    proxy: str | None
    rate: Decimal | None


class HttpGateway:
    """Implements ``ports.Gateway`` for all models of a configuration; made by ``open_gateway``."""

    def __init__(self, models: Mapping[str, ModelSettings], connections: Mapping[str, Connection]) -> None:
        self._models = models
        self._connections = connections

    async def call(self, call: Call) -> Outcome:
        """Make one call; whatever the gateway or the network does is an outcome."""
        model = self._models[call.model]
        connection = self._connections[model.gateway]
        body = encode(call, model, model.name or call.model)
        sent = SimpleNamespace(headers=False)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            outcome = await _post(connection, body, sent)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            outcome = _broken_off(error, headers_sent=sent.headers)
        outcome = _redacted(outcome, connection.key)
        return replace(outcome, latency_ms=round((loop.time() - started) * 1000))


async def _post(connection: Connection, body: bytes, sent: SimpleNamespace) -> Outcome:
    async with connection.session.post(
        connection.url, data=body, allow_redirects=False, proxy=connection.proxy, trace_request_ctx=sent
    ) as response:
        sent.answered = True
        content = await _bounded(response, connection.response_bytes_most)
        if content is None:
            megabytes = connection.response_bytes_most / BYTES_A_MB
            message = f"the answer is larger than max_response_mb = {megabytes:g}"
            return Outcome("error", ErrorClass.UNUSABLE, message, response.status)
        outcome = decode(response.status, response.headers, content)
        if connection.rate is not None and response.status == 200:
            cost = reported_cost_nano(response.headers, content, connection.rate)
            outcome = replace(outcome, reported_cost_nano=cost)
        return outcome


async def _bounded(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The decompressed body, or None (and the connection closed) when it is larger than allowed."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most:
            response.close()
            return None
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _broken_off(error: Exception, *, headers_sent: bool) -> Outcome:
    """A call without a complete answer. The error's text is not used: it may hold the request's headers."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Outcome("not_sent", ErrorClass.CERTIFICATE, "the gateway's certificate is not trusted (ca_file?)")
    what = _kind(error)
    if not headers_sent:
        return Outcome("not_sent", ErrorClass.NOT_SENT, one_line(f"no connection: {what}"))
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError | aiohttp.ClientOSError):
        return Outcome("unknown", ErrorClass.RESET, one_line(f"the connection broke before an answer: {what}"))
    return Outcome("unknown", ErrorClass.LOST, one_line(f"the answer did not arrive whole: {what}"))


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {error.os_error.strerror or type(error.os_error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _redacted(outcome: Outcome, key: bytes | None) -> Outcome:
    """A gateway that echoes the key must not bring it into a row or a log."""
    if not key:
        return outcome
    text = key.decode()
    if text in outcome.message:
        outcome = replace(outcome, message=outcome.message.replace(text, REDACTED.decode()))
    if outcome.response is None or key not in outcome.response:
        return outcome
    clean = decode(outcome.status_code or 200, {}, outcome.response.replace(key, REDACTED))
    return replace(
        outcome,
        response=clean.response,
        answer=clean.answer,
        message=clean.message or outcome.message,
        response_id=clean.response_id,
        model_served=clean.model_served,
    )


@asynccontextmanager
async def open_gateway(
    settings: Settings, keys: Mapping[str, str | None], *, version: str
) -> AsyncIterator[HttpGateway]:
    """A client for every gateway in ``keys``; its connections are closed when the block is left."""
    async with AsyncExitStack() as stack:
        connections = {}
        for name, key in keys.items():
            gateway = settings.gateway[name]
            session = await stack.enter_async_context(new_session(gateway, key, version=version))
            trusted = gateway.trust_reported_cost
            connections[name] = Connection(
                session=session,
                url=URL(gateway.base_url + "/chat/completions"),
                key=key.encode() if key else None,
                response_bytes_most=int(gateway.max_response_mb * BYTES_A_MB),
                proxy=gateway.proxy,
                rate=settings.rate(trusted) if trusted else None,
            )
        yield HttpGateway(settings.model, connections)


def new_session(gateway: GatewaySettings, key: str | None, *, version: str) -> aiohttp.ClientSession:
    """A session with the gateway's headers, timeouts and trust; nothing is taken from the environment."""
    headers = {"Content-Type": "application/json", "User-Agent": f"batchrouter/{version}", **gateway.headers}
    if key and gateway.auth == "bearer":
        headers["Authorization"] = f"Bearer {key}"
    elif key:
        headers["api-key"] = key
    return aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=gateway.timeout_s, sock_connect=min(CONNECT_S, gateway.timeout_s)),
        connector=aiohttp.TCPConnector(limit=0, ssl=_trust(gateway.ca_file)),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[_trace()],
        trust_env=False,
    )


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"ca_file {ca_file} cannot be read: {error}", "Give a file of PEM certificates."
        ) from error


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def on_headers_sent(_session: Any, context: Any, _params: Any) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.headers = True

    trace.on_request_headers_sent.append(on_headers_sent)
    return trace
