"""What a broken call is called: in words for people, and without anything of the request."""

import aiohttp
import pytest
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from batchrouter.core.outcome import ErrorClass as E
from batchrouter.gateway.failures import broken_off, kind
from tests.canary import CANARY

KEY = CANARY
_HEADERS = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {KEY}"}))
REQUEST = aiohttp.RequestInfo(URL("http://gateway.example/v1"), "POST", _HEADERS)


def response_error(which: type[aiohttp.ClientResponseError]) -> aiohttp.ClientResponseError:
    return which(REQUEST, (), status=407, message=f"{KEY}", headers=_HEADERS)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "timeout"),
        (aiohttp.ServerDisconnectedError(), "the gateway closed the connection"),
        (aiohttp.ClientPayloadError(KEY), "it broke off or cannot be decompressed"),
        (HttpProcessingError(message=KEY), "what came cannot be read as HTTP"),
        (response_error(aiohttp.ClientResponseError), "what came from the proxy cannot be read as HTTP"),
        (response_error(aiohttp.ClientHttpProxyError), "the proxy answers 407"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (ValueError(KEY), "ValueError"),
    ],
)
def test_every_failure_is_said_in_words_that_hold_nothing_of_the_request(error: Exception, said: str) -> None:
    assert kind(error) == said
    for begun in (True, False):
        assert KEY not in broken_off(error, body_begun=begun).message


def test_the_body_decides_whether_a_call_may_have_been_paid() -> None:
    for error in (TimeoutError(), ConnectionResetError(104, "reset"), aiohttp.ServerDisconnectedError()):
        assert broken_off(error, body_begun=False).error is E.NOT_SENT
        assert broken_off(error, body_begun=True).state == "unknown"
