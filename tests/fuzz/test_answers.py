"""Whatever a gateway says in headers and bodies: an outcome, a wait that can be waited for, a message for one line."""

import copy
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.checks import Expectation, failed_check
from batchrouter.core.outcome import Outcome
from batchrouter.core.retry import RETRY_AFTER_MOST_S, History, backoff_s
from batchrouter.gateway.decoding import MESSAGE_MOST, TOKENS_MOST, decode
from batchrouter.gateway.headers import retry_after_s, should_retry
from batchrouter.gateway.reported_cost import reported_cost_nano
from tests.fuzz.writing import THOROUGH, deep, json_values

WORDS = [
    "1",
    "-1",
    "1e999",
    "nan",
    "Wed, 21 Oct",
    " 2015 07:28:00",
    " GMT",
    "+9999",
    "-0000",
    ",",
    " ",
    "0",
    "٣",
    "\x00",
]
header_values = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=6).map("".join)
NAMES = ["Retry-After", "Retry-After-Ms", "Date", "X-Should-Retry", "Location", "x-litellm-response-cost"]
headers = st.dictionaries(st.sampled_from(NAMES), header_values, max_size=6)
statuses = st.sampled_from([200, 204, 301, 307, 400, 401, 402, 403, 404, 408, 413, 418, 422, 429, 500, 503, 529])

GOOD: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "positive"}, "finish_reason": "stop"},
    ],
    "usage": {
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "cost": 0.5,
    },
    "error": None,
}
BAD: dict[str, Any] = {"error": {"message": "no", "type": "t", "code": "c", "metadata": {"raw": "r"}}}


@THOROUGH
@given(headers)
def test_any_headers_give_a_wait_that_can_be_waited_for(given_headers: dict[str, str]) -> None:
    wait = retry_after_s(given_headers)
    assert wait is None or (wait >= 0 and math.isfinite(wait))
    assert 0 <= backoff_s(History(attempts=3), wait, 0.5) <= RETRY_AFTER_MOST_S
    assert should_retry(given_headers) in (None, True, False)


@THOROUGH
@given(st.floats(0, 1e9), st.sampled_from(["", " "]), st.booleans())
def test_a_wait_in_numbers_is_understood(seconds: float, space: str, in_ms: bool) -> None:
    value = f"{space}{seconds!r}{space}"
    wait = retry_after_s({"Retry-After-Ms" if in_ms else "Retry-After": value})
    assert wait == (seconds / 1000 if in_ms else seconds)


@THOROUGH
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001 - Hypothesis wants them without
    st.integers(-(10**6), 10**9),
    st.sampled_from([UTC, None]),
)
def test_a_wait_until_a_date_is_counted_from_the_date_of_the_answer(now: datetime, seconds: int, zone: Any) -> None:
    sent = now.replace(microsecond=0, tzinfo=UTC)
    until = (sent + timedelta(seconds=seconds)).replace(tzinfo=zone)
    wait = retry_after_s({"Retry-After": format_datetime(until), "Date": format_datetime(sent, usegmt=True)})
    assert wait == max(0, seconds)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, one in inner for place in places(one, (*path, key))]


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    value = copy.copy(value)
    value[path[0]] = replaced(value[path[0]], path[1:], by)
    return value


ODD = st.sampled_from(
    [None, True, -1, 0, 2**53, 1e300, "", "\x1b[2J\n\u202e", "x" * 5000, [], {}, [{}], "insufficient_quota"]
)


@st.composite
def altered(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """A good body with some of its values replaced by others."""
    value = good
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(value)))
        value = replaced(value, path, draw(ODD | json_values.filter(_is_written)))
    body = orjson.dumps(value)
    return body if draw(st.integers(0, 4)) else body[: draw(st.integers(0, len(body)))]


def _is_written(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def check_outcome(outcome: Outcome, status: int) -> None:
    assert outcome.state in ("ok", "error")
    assert len(outcome.message) <= MESSAGE_MOST
    assert not any(character in outcome.message for character in "\x00\x1b\n\r\u2028\u202e\x9b")
    assert (outcome.state == "ok") == (outcome.answer is not None) == (outcome.error is None)
    assert outcome.state == "error" or status == 200
    if usage := outcome.usage:
        counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens)
        assert all(type(count) is int and 0 <= count <= TOKENS_MOST for count in counts)
        assert usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
        assert usage.reasoning_tokens <= usage.output_tokens


@THOROUGH
@given(statuses, headers, st.one_of(altered(GOOD), altered(BAD), json_values.filter(_is_written).map(orjson.dumps)))
def test_any_answer_is_an_outcome(status: int, given_headers: dict[str, str], body: bytes) -> None:
    outcome = decode(status, given_headers, body)
    check_outcome(outcome, status)
    if outcome.answer is not None:
        completion = orjson.loads(body)["choices"][0]["message"]
        assert not isinstance(completion["content"], str) or outcome.answer.content == completion["content"]
        failed_check(outcome.answer, Expectation(json=True, regex="a", one_of=("x",), max_words=3), own_cap=5)
    cost = reported_cost_nano(given_headers, body, Decimal("86.4"))
    assert cost is None or 0 <= cost < 2**63


def test_depth_and_length_change_nothing_of_that() -> None:
    for path in places(GOOD)[1:]:
        for by in (deep(1000), b'"%b"' % (b"exceeded your current quota " * 4000), b"[%b]" % b",".join([b"{}"] * 9000)):
            body = orjson.dumps(replaced(GOOD, path, "HERE")).replace(b'"HERE"', by)
            check_outcome(decode(200, {}, body), 200)
    for path in places(BAD)[1:]:
        for by in (deep(1000), b'"%b retry in%b"' % (b"exceeded your current quota " * 4000, b"x" * 10**6)):
            body = orjson.dumps(replaced(BAD, path, "HERE")).replace(b'"HERE"', by)
            check_outcome(decode(429, {}, body), 429)
