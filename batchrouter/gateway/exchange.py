"""One request and its answer, over a connection of aiohttp.

aiohttp opens the connections (names, TLS, proxies) and reads the answers (chunks, compression, bounds). Its
session is not used for calls: it makes every request anew, where all requests to a gateway have the same head but for
the length of their body. Here the head is made once and a request is one write, which takes a third of the time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

import aiohttp
import msgspec
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

BROKEN = (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError, ValueError)
"""What a gateway and the network between can make of an exchange."""
SWITCHING_PROTOCOLS = 101
KEPT_S = 15.0
"""Servers close connections that are free for long, and a request that meets the closing is lost."""
SENT_AT_ONCE_BYTES = 64 * 1024
"""A larger request may be refused before all of it has left, which a connection with TLS does not tell."""
_Free = tuple[Connection, float]


class Reply(msgspec.Struct, frozen=True):
    """A complete HTTP answer. ``body`` None: it was larger than allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class Departure:
    """Whether a request has begun to leave; ``left`` is then called once it was handed to the system."""

    __slots__ = ("_left", "has_begun")

    def __init__(self, left: Callable[[], None] | None) -> None:
        self._left = left
        self.has_begun = False

    def begin(self) -> None:
        """The connection stands, and the request is written next."""
        self.has_begun = True
        if self._left:  # uvloop writes at the end of a turn of the loop
            asyncio.get_running_loop().call_soon(self._left)


class Endpoint:
    """Where the calls of one gateway are posted to. Connections that are free are kept for the next call.

    The one that was used last is the first to be used again, so that the others can be let go when fewer are needed.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector,
        url: URL,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        connect_s: float,
        response_bytes_most: int,
    ) -> None:
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._response_bytes_most = response_bytes_most
        self._loop = asyncio.get_running_loop()
        self._connects = aiohttp.ClientRequest(
            "POST",
            url,
            headers=headers,
            loop=self._loop,
            proxy=URL(proxy) if proxy else None,
        )
        self._head = b""
        self._free: deque[_Free] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def post(self, body: bytes, departure: Departure) -> Reply:
        """The answer to a body; raises one of ``BROKEN`` where none came whole."""
        connection = self._kept() or await self._new()
        try:
            reply = await self._over(connection, body, departure)
        except BaseException:
            _abort(connection)
            raise
        is_early = reply.status >= 400 and len(body) > SENT_AT_ONCE_BYTES
        if reply.body is not None and not is_early and _is_reusable(connection):
            self._keep(connection)
        else:
            _abort(connection)
        return reply

    def _kept(self) -> Connection | None:
        """A connection that still stands, if there is one."""
        while self._free:
            connection, since_s = self._free.pop()
            if self._loop.time() - since_s < KEPT_S and _is_quiet(connection):
                return connection
            _abort(connection)
        return None

    def _keep(self, connection: Connection) -> None:
        self._free.append((connection, self._loop.time()))
        if self._timer is None:
            self._timer = self._loop.call_later(KEPT_S, self._let_go)

    def _let_go(self) -> None:
        """Close what was free for too long, the oldest first."""
        self._timer = None
        while self._free and self._free[0][1] <= self._loop.time() - KEPT_S:
            self._free.popleft()[0].close()
        if self._free:
            self._timer = self._loop.call_at(self._free[0][1] + KEPT_S, self._let_go)

    async def _new(self) -> Connection:
        connection = await self._connector.connect(self._connects, [], self._timeout)
        self._head = self._head or _head(self._connects)  # complete once a proxy was greeted
        return connection

    def close(self) -> None:
        """Give back the connections that are free: the connector closes them, and waits until they are."""
        if self._timer:
            self._timer.cancel()
        while self._free:
            self._free.pop()[0].release()

    async def _over(self, connection: Connection, body: bytes, departure: Departure) -> Reply:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        # a new parser for each request: half an answer of before is no part of this one
        protocol.set_response_params(read_until_eof=True)
        departure.begin()
        transport.write(self._head + b"%d\r\n\r\n" % len(body) + body)
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != SWITCHING_PROTOCOLS:
            message, content = await protocol.read()
        return Reply(message.code, message.headers, await bounded(content, self._response_bytes_most))


def _is_reusable(connection: Connection) -> bool:
    """Whether the request left whole, the answer was read whole, and neither side wants to close."""
    transport = connection.transport
    return transport is not None and not transport.get_write_buffer_size() and _is_quiet(connection)


def _is_quiet(connection: Connection) -> bool:
    """Whether it stands and nothing came that nobody asked for: it would be taken for the answer to the next request."""
    protocol = connection.protocol
    return protocol is not None and protocol.is_connected() and not protocol.should_close


def _abort(connection: Connection) -> None:
    """What is not sent yet shall not leave later, and what still comes is nobody's."""
    if connection.transport is not None:
        connection.transport.abort()
    connection.close()


def _head(request: aiohttp.ClientRequest) -> bytes:
    """The head of every request up to the length of its body, which comes last."""
    through_proxy = request.proxy and not request.is_ssl()
    target = str(request.url) if through_proxy else request.url.raw_path_qs
    lines = [f"POST {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"]
    return "\r\n".join((*lines, "Content-Length: ")).encode()


async def bounded(content: aiohttp.StreamReader, bytes_most: int) -> bytes | None:
    """The decompressed body, or None when it is larger than allowed: then it is not read to its end.

    aiohttp decompresses no more than a block ahead of what is read, so that a bomb costs the cap and not its size.
    """
    chunks, size = [], 0
    while not content.at_eof():
        chunk = await content.readany()
        size += len(chunk)
        if size > bytes_most:
            return None
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
