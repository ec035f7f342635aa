"""From an exception of the network to an outcome, by its type and by whether the request's body began to leave. Pure.

The text of an error is not used: it may hold the request's headers, and with them the key.
"""

from __future__ import annotations

import aiohttp
from aiohttp.http import HttpProcessingError

from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.gateway.decoding import one_line

_WORDS: dict[type[Exception], str] = {
    aiohttp.ServerDisconnectedError: "the gateway closed the connection",
    aiohttp.ClientPayloadError: "it broke off or cannot be decompressed",
    HttpProcessingError: "what came cannot be read as HTTP",
    aiohttp.ClientResponseError: "what came from the proxy cannot be read as HTTP",
}


def broken_off(error: Exception, *, body_begun: bool) -> Outcome:
    """A call without a complete answer: ``not_sent`` where nothing can have been paid, else ``unknown``."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Outcome("not_sent", ErrorClass.CERTIFICATE, "the gateway's certificate is not trusted (ca_file?)")
    what = kind(error)
    if not body_begun:
        return Outcome("not_sent", ErrorClass.NOT_SENT, one_line(f"no connection: {what}"))
    if _before_any_byte(error):
        return Outcome("unknown", ErrorClass.RESET, one_line(f"the connection broke before an answer: {what}"))
    return Outcome("unknown", ErrorClass.LOST, one_line(f"the answer did not arrive whole: {what}"))


def _before_any_byte(error: Exception) -> bool:
    """Where a connection is closed within the head of an answer, aiohttp gives what came of it, and else a text."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)
    return isinstance(error, ConnectionError | aiohttp.ClientOSError)


def kind(error: Exception) -> str:
    """What went wrong, in words that hold nothing of the request."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {error.os_error.strerror or type(error.os_error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    return next((words for known, words in _WORDS.items() if isinstance(error, known)), type(error).__name__)
