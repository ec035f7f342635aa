"""The HTTP client: bounded answers, no redirects, no cookies, and an outcome for whatever happens.

Whether a call may have been paid hangs on one fact: did the request begin to leave? A gateway that has not got it cannot
answer it. The moment is noted as the request is written; the types of exceptions do not tell it (a timeout is the same
before and after).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import orjson

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.settings import Settings
from batchrouter.core.tables import ModelSettings
from batchrouter.gateway.deadline import Deadlines
from batchrouter.gateway.decoding import decode
from batchrouter.gateway.encoding import encode
from batchrouter.gateway.exchange import BROKEN, Departure, Endpoint, Reply
from batchrouter.gateway.failures import broken_off
from batchrouter.gateway.rate_limits import announced
from batchrouter.gateway.redaction import Redactor
from batchrouter.gateway.reported_cost import reported_cost_nano
from batchrouter.gateway.session import address, connect_s, headers_of, new_connector
from batchrouter.ports import Call

BYTES_A_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Connection:
    """One gateway with what each of its calls needs. ``rate``: of its reported costs, None: not trusted."""

    endpoint: Endpoint
    redactor: Redactor
    deadlines: Deadlines
    response_mb_most: float
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
        try:
            body = encode(call, model, model.name or call.model)
        except RecursionError:
            return Outcome("error", ErrorClass.BAD_REQUEST, "nested too deeply to be put into the dialect of its model")
        loop = asyncio.get_running_loop()
        started = loop.time()
        limits = None
        departure = Departure(call.left)
        try:
            with connection.deadlines:
                reply = await connection.endpoint.post(body, departure)
        except BROKEN as error:
            outcome = broken_off(error, body_begun=departure.has_begun)
        else:
            outcome = _understood(reply, connection)
            if model.rpm is None or model.tpm is None:
                limits = announced(reply.headers)
        latency_ms = round((loop.time() - started) * 1000)
        return msgspec.structs.replace(outcome, latency_ms=latency_ms, announced=limits)


def _understood(reply: Reply, connection: Connection) -> Outcome:
    if reply.body is None:
        message = f"the answer is larger than max_response_mb = {connection.response_mb_most:g}"
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
            connector = await stack.enter_async_context(new_connector(gateway))
            deadlines = Deadlines(gateway.timeout_s)
            stack.callback(deadlines.close)
            trusted = gateway.trust_reported_cost
            endpoint = Endpoint(
                connector,
                address(gateway, "/chat/completions"),
                headers_of(gateway, key, version=version),
                proxy=gateway.proxy,
                connect_s=connect_s(gateway),
                response_bytes_most=int(gateway.max_response_mb * BYTES_A_MB),
            )
            stack.callback(endpoint.close)
            connections[name] = Connection(
                endpoint=endpoint,
                redactor=Redactor(key),
                deadlines=deadlines,
                response_mb_most=gateway.max_response_mb,
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
