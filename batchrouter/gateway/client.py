"""The HTTP client: one session a gateway, bounded answers, no redirects, no cookies, and an outcome for whatever happens.

Whether a call may have been paid hangs on one fact: did the request's body begin to leave? A gateway that has not got
the body cannot answer it. The body itself notes the moment when it is asked to write itself; the types of exceptions do
not tell it (a timeout is the same before and after), and aiohttp's tracing tells it for a quarter of a call's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import aiohttp
import msgspec
import orjson
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.settings import ModelSettings, Settings
from batchrouter.gateway.deadline import Deadlines
from batchrouter.gateway.decoding import decode
from batchrouter.gateway.encoding import encode
from batchrouter.gateway.failures import broken_off
from batchrouter.gateway.rate_limits import announced
from batchrouter.gateway.redaction import Redactor
from batchrouter.gateway.reported_cost import reported_cost_nano
from batchrouter.gateway.session import bounded, endpoint, new_session
from batchrouter.ports import Call

BYTES_A_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Connection:
    """One gateway's session with what each of its calls needs. ``rate``: of its reported costs, None: not trusted."""

    session: aiohttp.ClientSession
    url: URL
    redactor: Redactor
    deadlines: Deadlines
    response_bytes_most: int
    proxy: str | None
    rate: Decimal | None


class _Reply(msgspec.Struct, frozen=True):
    """A complete HTTP answer. ``body`` None: it was larger than allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class _Body(aiohttp.payload.Payload):
    """The bytes of a request, and whether they began to leave."""

    _value: bytes

    def __init__(self, value: bytes, left: Callable[[], None] | None) -> None:
        super().__init__(value, content_type="application/json")
        self._left = left
        self._size = len(value)
        self.begun = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The bytes as text, as aiohttp asks of every payload."""
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Called once, when the connection stands and the head of the request is complete."""
        self.begun = True
        if self._left:  # uvloop writes at the end of a turn of the loop
            asyncio.get_running_loop().call_soon(self._left)
        await writer.write(self._value)


class HttpGateway:
    """Implements ``ports.Gateway`` for all models of a configuration; made by ``open_gateway``."""

    def __init__(self, models: Mapping[str, ModelSettings], connections: Mapping[str, Connection]) -> None:
        self._models = models
        self._connections = connections

    async def call(self, call: Call) -> Outcome:
        """Make one call; whatever the gateway or the network does is an outcome."""
        model = self._models[call.model]
        connection = self._connections[model.gateway]
        try:
            body = _Body(encode(call, model, model.name or call.model), call.left)
        except RecursionError:
            return Outcome("error", ErrorClass.BAD_REQUEST, "nested too deeply to be put into the dialect of its model")
        loop = asyncio.get_running_loop()
        started = loop.time()
        limits = None
        try:
            reply = await _post(connection, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            outcome = broken_off(error, body_begun=body.begun)
        else:
            outcome = _understood(reply, connection)
            if model.rpm is None or model.tpm is None:
                limits = announced(reply.headers)
        latency_ms = round((loop.time() - started) * 1000)
        return msgspec.structs.replace(outcome, latency_ms=latency_ms, announced=limits)


async def _post(connection: Connection, body: _Body) -> _Reply:
    with connection.deadlines:
        response = await connection.session.post(
            connection.url, data=body, allow_redirects=False, proxy=connection.proxy
        )
        try:
            return _Reply(response.status, response.headers, await bounded(response, connection.response_bytes_most))
        finally:
            response.release()


def _understood(reply: _Reply, connection: Connection) -> Outcome:
    if reply.body is None:
        megabytes = connection.response_bytes_most / BYTES_A_MB
        message = f"the answer is larger than max_response_mb = {megabytes:g}"
        return Outcome("error", ErrorClass.UNUSABLE, message, reply.status)
    headers = reply.headers
    if 300 <= reply.status < 400:
        headers = {"Location": connection.redactor.text(headers.get("Location", ""))}
    body = connection.redactor.body(reply.body)
    outcome = decode(reply.status, headers, body)
    if connection.rate is not None and reply.status == 200:
        return msgspec.structs.replace(
            outcome, reported_cost_nano=reported_cost_nano(reply.headers, body, connection.rate)
        )
    return outcome


@asynccontextmanager
async def open_gateway(
    settings: Settings, keys: Mapping[str, str | None], *, version: str
) -> AsyncIterator[HttpGateway]:
    """A client for every gateway in ``keys``; its connections are closed when the block is left.

    Raises ``ConfigurationError`` for settings that no call could work with.
    """
    for name, model in settings.model.items():
        _check_dialect(name, model)
    async with AsyncExitStack() as stack:
        connections = {}
        for name, key in keys.items():
            gateway = settings.gateway[name]
            url = endpoint(gateway, "/chat/completions")
            session = await stack.enter_async_context(new_session(gateway, key, version=version))
            deadlines = Deadlines(gateway.timeout_s)
            stack.callback(deadlines.close)
            trusted = gateway.trust_reported_cost
            connections[name] = Connection(
                session=session,
                url=url,
                redactor=Redactor(key),
                deadlines=deadlines,
                response_bytes_most=int(gateway.max_response_mb * BYTES_A_MB),
                proxy=gateway.proxy,
                rate=settings.rate(trusted) if trusted else None,
            )
        yield HttpGateway(settings.model, connections)


def _check_dialect(name: str, model: ModelSettings) -> None:
    try:
        orjson.dumps(model.set)
    except orjson.JSONEncodeError as error:
        raise ConfigurationError(
            f'model."{name}".set cannot be written as JSON: {error}', "Give values that JSON has."
        ) from error
