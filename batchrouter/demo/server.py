"""The HTTP side: keys, paths, limits, faults, and the order in which a call is booked and answered."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from batchrouter.demo.completion import Completion, complete
from batchrouter.demo.draw import Draw
from batchrouter.demo.faults import Fault, Faults, FaultSchedule
from batchrouter.demo.ledger import MODELS_MOST, Ledger
from batchrouter.demo.limits import RateLimits, Refused, retry_headers
from batchrouter.demo.profile import DemoModel
from batchrouter.demo.request import ChatRequest, RequestError, parse

BODY_BYTES_MOST = 32 * 1024 * 1024
CLOSE_WITHIN_S = 0.1
CHAT_PATH, MODELS_PATH = "/v1/chat/completions", "/v1/models"
SHOWN_MODELS = (
    "openai/gpt-4o-mini",
    "google/gemini-flash-1.5",
    "anthropic/claude-3.5-haiku",
    "anthropic/claude-3.5-sonnet",
    "openai/gpt-4o",
)
"""What ``/v1/models`` lists where every name is served."""

_HEADERS = {"x-demo-gateway": "simulated", "content-type": "application/json"}
_GARBAGE = b"<!doctype html><html><body><h1>Welcome to the demo proxy</h1></body></html>"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def banner(base_url: str) -> str:
    """The first line to print: what this is, and where."""
    return f"Demo gateway at {base_url}: a simulation on this machine. Its answers are made up; nothing is billed."


class _Served:
    """A model with the state of its limits (None: it has none)."""

    def __init__(self, model: DemoModel) -> None:
        self.model = model
        self.limits = None if model.rpm is None and model.tpm is None else RateLimits(model.rpm, model.tpm)

    def headers(self, now: float) -> dict[str, str]:
        return _HEADERS if self.limits is None else {**_HEADERS, **self.limits.headers(now)}


class DemoGateway:
    """An OpenAI-compatible gateway on this machine; serves from ``start`` to ``close``, or inside ``async with``.

    With ``models`` None every name is served, each as a model with this ``latency_ms``, ``rpm`` and ``tpm``. With
    ``key`` None no key is asked for. The same ``seed`` and request give the same answer.
    """

    def __init__(
        self,
        models: Sequence[DemoModel] | None = None,
        *,
        seed: int = 0,
        key: str | None = None,
        faults: Faults = Faults(),
        ledger_path: Path | None = None,
        latency_ms: float = 0.0,
        rpm: float | None = None,
        tpm: float | None = None,
    ) -> None:
        self.ledger = Ledger(ledger_path)
        self._seed = seed
        self._key = None if key is None else key.encode()
        self._faults = faults
        self._schedule = FaultSchedule(faults, seed)
        self._any_model = DemoModel("", latency_ms, rpm, tpm) if models is None else None
        self._served = {model.name: _Served(model) for model in models or ()}
        shown = SHOWN_MODELS if models is None else tuple(self._served)
        self._models_body = _models_body(shown)
        self._runner: web.ServerRunner | None = None
        self._base_url: str | None = None
        self._id_prefix = ""
        self._calls = 0

    @property
    def base_url(self) -> str:
        """The address for clients, with ``/v1``. Raises RuntimeError before ``start``."""
        if self._base_url is None:
            raise RuntimeError("the demo gateway is not started")
        return self._base_url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises OSError where the port is taken or the ledger cannot be opened."""
        if self._runner is not None:
            raise RuntimeError("the demo gateway is started already")
        self.ledger.open()
        server = web.Server(self._handle, request_factory=_request, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=CLOSE_WITHIN_S)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, host, port).start()
        except BaseException:
            await self.close()
            raise
        self._id_prefix = f"chatcmpl-demo-{secrets.token_hex(4)}-"
        self._base_url = _address(host, self._runner.addresses[0][1]) + "/v1"

    async def close(self) -> None:
        """Stop listening, end what is being answered, and close the ledger; the totals stay."""
        runner, self._runner, self._base_url = self._runner, None, None
        if runner is not None:
            await runner.cleanup()
        self.ledger.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if self._key is not None:
                _check_key(request, self._key)
            _check_path(request.method, request.path)
            if request.path == MODELS_PATH:
                return web.Response(body=self._models_body, headers=_HEADERS)
            chat = parse(await _read(request))
            return await self._answer(request, chat, self._model(chat.model))
        except RequestError as error:
            return _error(error.status, error.error, _HEADERS)

    async def _answer(self, request: web.BaseRequest, chat: ChatRequest, served: _Served) -> web.StreamResponse:
        self.ledger.asked(chat.model)
        fault = self._schedule.next()
        if fault is Fault.RESET:
            return _reset(request)
        if fault is Fault.OVERLOADED:
            return _error(429, _fault_error("The engine is currently overloaded.", "overloaded"), _HEADERS)
        completion = None
        if fault not in (Fault.SERVER_ERROR, Fault.GARBAGE):
            completion = complete(chat, served.model, self._seed, fault)
        refused = _admit(served, chat, completion)
        if refused is not None:
            return _refusal(chat.model, refused, served.headers(time.monotonic()))
        if completion is None:
            return _unpaid(fault, served.headers(time.monotonic()))
        return await self._completed(chat, served, completion, is_slow=fault is Fault.SLOW)

    async def _completed(
        self, chat: ChatRequest, served: _Served, completion: Completion, *, is_slow: bool
    ) -> web.StreamResponse:
        """Book the call, let the model take its time, answer. Booked first: whoever hangs up has paid all the same."""
        self._calls += 1
        call_id = f"{self._id_prefix}{self._calls}"
        self.ledger.paid(call_id, chat.model, completion.usage, chat.last_user)
        wait_s = self._faults.slow_s if is_slow else 0.0
        if served.model.latency_ms:
            wait_s += served.model.latency_s(Draw(self._seed, chat.fingerprint, b"latency"))
        if wait_s:
            await asyncio.sleep(wait_s)
        body = completion.body(call_id, chat.model, int(time.time()))
        return web.Response(body=body, headers=served.headers(time.monotonic()))

    def _model(self, name: str) -> _Served:
        served = self._served.get(name)
        if served is not None:
            return served
        if self._any_model is None:
            message = f"The model `{name}` does not exist or you do not have access to it."
            raise RequestError(message, status=404, param="model", code="model_not_found")
        served = _Served(replace(self._any_model, name=name))
        if len(self._served) < MODELS_MOST:
            self._served[name] = served
        return served


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """As aiohttp's own, but for a larger body."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_BYTES_MOST)


def _check_key(request: web.BaseRequest, key: bytes) -> None:
    given = request.headers.get("Authorization", "")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        token = request.headers.get("api-key", "")
    if hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), key):
        return
    message = "Incorrect API key provided." if token else "You didn't provide an API key."
    raise RequestError(message, status=401, code="invalid_api_key")


def _check_path(method: str, path: str) -> None:
    allowed = {CHAT_PATH: "POST", MODELS_PATH: "GET"}.get(path)
    if allowed is None:
        raise RequestError(f"Unknown request URL: {method} {path}", status=404, code="unknown_url")
    if method != allowed:
        raise RequestError(f"Not allowed to {method} on {path}", status=405)


async def _read(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise RequestError(f"The body is larger than {BODY_BYTES_MOST} bytes.", status=413) from None


def _admit(served: _Served, chat: ChatRequest, completion: Completion | None) -> Refused | None:
    if served.limits is None:
        return None
    written = 0 if completion is None else completion.usage.completion
    return served.limits.admit(time.monotonic(), chat.prompt_tokens + written)


def _refusal(model: str, refused: Refused, headers: dict[str, str]) -> web.Response:
    numbers = f"Limit {refused.limit}, Requested {refused.requested}"
    what = f"for {model} on {refused.kind} per min"
    if refused.retry_after_s is None:
        message = f"Request too large {what}: {numbers}."
    else:
        headers = {**headers, **retry_headers(refused.retry_after_s)}
        message = f"Rate limit reached {what}: Used {refused.used}, {numbers}."
    error = {"message": message, "type": refused.kind, "param": None, "code": "rate_limit_exceeded"}
    return _error(429, error, headers)


def _unpaid(fault: Fault | None, headers: dict[str, str]) -> web.Response:
    if fault is Fault.GARBAGE:
        return web.Response(body=_GARBAGE, headers={**headers, "content-type": "text/html; charset=utf-8"})
    return _error(500, _fault_error("The server had an error while processing your request.", None), headers)


def _fault_error(message: str, code: str | None) -> dict[str, str | None]:
    return {"message": message, "type": "server_error", "param": None, "code": code}


def _error(status: int, error: dict[str, str | None], headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps({"error": error}), headers=headers)


def _reset(request: web.BaseRequest) -> web.Response:
    """Drop the connection with a TCP reset; the response that is given back goes nowhere."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()


def _models_body(names: Sequence[str]) -> bytes:
    data: list[dict[str, Any]] = [{"id": name, "object": "model", "created": 0, "owned_by": "demo"} for name in names]
    return orjson.dumps({"object": "list", "data": data})


def _address(host: str, port: int) -> str:
    """For an address that means every interface, one that a client can use."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
