"""What an HTTP answer comes to: statuses, error bodies of all shapes, usages that cannot be believed."""

from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.outcome import ErrorClass as E
from batchrouter.core.pricing import Usage
from batchrouter.gateway.decoding import MESSAGE_MOST, decode
from batchrouter.gateway.headers import retry_after_s, should_retry
from batchrouter.gateway.reported_cost import reported_cost_nano

GOOD: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "vendor/m-2024",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "positive"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}


def decoded(status: int, value: object, headers: dict[str, str] | None = None) -> Any:
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    return decode(status, headers or {}, body)


def test_a_completion_is_an_answer_with_its_counts() -> None:
    outcome = decoded(200, GOOD)
    assert (outcome.state, outcome.error, outcome.answer.content) == ("ok", None, "positive")
    assert outcome.usage == Usage(12, 3)
    assert (outcome.response_id, outcome.model_served) == ("chatcmpl-1", "vendor/m-2024")


def test_tokens_that_stand_in_the_total_alone_are_charged_as_output() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 94}}
    beside = {"prompt_tokens": 32, "completion_tokens": 200, "total_tokens": 326, **details}
    assert decoded(200, GOOD | {"usage": beside}).usage == Usage(32, 294, reasoning_tokens=94)
    within = beside | {"total_tokens": 232}
    assert decoded(200, GOOD | {"usage": within}).usage == Usage(32, 200, reasoning_tokens=94)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"message": "bad temperature"}, E.BAD_REQUEST),
        (400, {"message": "too long", "code": "context_length_exceeded"}, E.SIZE),
        (400, {"message": "This model's maximum context length is 8192 tokens"}, E.SIZE),
        (400, {"message": "the request exceeds the available context size, try increasing it"}, E.SIZE),
        (400, {"message": "Your input exceeds the context window of this model"}, E.SIZE),
        (400, {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}, E.SIZE),
        (400, {"message": "This model's maximum prompt length is 8 but the request contains 9 tokens"}, E.SIZE),
        (400, {"message": "filtered", "code": "content_filter"}, E.CONTENT_FILTER),
        (400, {"message": "no such model", "code": "model_not_found"}, E.MODEL_UNKNOWN),
        (401, {"message": "bad key", "code": "invalid_api_key"}, E.AUTH),
        (402, {"message": "Insufficient balance"}, E.CREDIT),
        (403, {"message": "no"}, E.AUTH),
        (404, {"message": "The model does not exist", "code": "model_not_found"}, E.MODEL_UNKNOWN),
        (405, {}, E.BAD_REQUEST),
        (408, {}, E.TRANSIENT),
        (409, {}, E.TRANSIENT),
        (410, {}, E.MODEL_UNKNOWN),
        (413, {}, E.SIZE),
        (415, {}, E.BAD_REQUEST),
        (418, {}, E.HTTP),
        (422, {"message": "n must be 1"}, E.BAD_REQUEST),
        (425, {}, E.TRANSIENT),
        (429, {"message": "slow down", "code": "rate_limit_exceeded"}, E.OVERLOAD),
        (429, {"message": "slow down", "type": "credit_limit"}, E.OVERLOAD),
        (429, {"message": "Request too large for m: Limit 10, Requested 20", "code": "rate_limit_exceeded"}, E.SIZE),
        (429, {"message": "quota", "code": "insufficient_quota"}, E.CREDIT),
        (429, {"message": "quota", "type": "insufficient_quota"}, E.CREDIT),
        (429, {"message": "You exceeded your current quota, please check your plan"}, E.CREDIT),
        (429, {"message": "Too many tokens, please wait before trying again."}, E.OVERLOAD),
        (429, {"message": "You exceeded your current quota. Please retry in 29.1s.", "code": 429}, E.OVERLOAD),
        (429, {"message": "no", "code": "context_length_exceeded"}, E.SIZE),
        (429, {"message": "This model's maximum context length is 8192 tokens"}, E.SIZE),
        (400, {"message": "Too many tokens: 9000"}, E.SIZE),
        (400, {"message": "Your credit balance is too low to access the API."}, E.CREDIT),
        (403, {"message": "m requires moderation. Your input was flagged", "code": 403}, E.CONTENT_FILTER),
        (403, {"message": "no access to the model", "code": "model_not_found"}, E.MODEL_UNKNOWN),
        (500, {}, E.SERVER),
        (502, {}, E.SERVER),
        (503, {}, E.SERVER),
        (504, {}, E.SERVER),
        (524, {}, E.SERVER),
        (529, {}, E.OVERLOAD),
    ],
)
def test_each_status_and_reason_has_its_class(status: int, error: dict[str, str], expected: E) -> None:
    outcome = decoded(status, {"error": error})
    assert (outcome.state, outcome.error, outcome.status_code) == ("error", expected, status)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "plain words"}, "500: plain words"),
        (
            {"error": {"code": 502, "message": "Provider error", "metadata": {"raw": "upstream died"}}},
            "500: Provider error: upstream died",
        ),
        ({"detail": "from a framework"}, "500: from a framework"),
        ([{"error": {"message": "in a list"}}], "500: in a list"),
        (b"<html>Bad gateway</html>", "500: <html>Bad gateway</html>"),
        (b"", "500: an empty body"),
        ([1, 2], "500: [1,2]"),
    ],
)
def test_an_error_says_what_it_can_whatever_its_shape(body: object, message: str) -> None:
    assert decoded(500, body).message == message


@pytest.mark.parametrize(
    "value",
    [
        b"<html>hello</html>",
        b"",
        [],
        {"error": {"message": "overloaded", "code": 529}},
        {"choices": []},
        {**GOOD, "choices": [{"message": {"content": "half"}, "finish_reason": "error"}]},
        {**GOOD, "choices": [{"message": {"content": "half"}, "error": {"message": "upstream died"}}]},
        {"choices": None},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 5}}]},
        {**GOOD, "choices": "positive"},
    ],
)
def test_200_without_a_completion_is_paid_and_unusable(value: object) -> None:
    outcome = decoded(200, value)
    assert (outcome.state, outcome.error) == ("error", E.UNUSABLE)


def test_200_with_an_error_keeps_the_counts_that_came_with_it() -> None:
    assert decoded(200, {"error": "broken", "usage": GOOD["usage"]}).usage == Usage(12, 3)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 12},
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": 1.5, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": "12", "completion_tokens": 3},
        {"prompt_tokens": 10**12, "completion_tokens": 3},
        {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 6}},
        {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens": 5, "completion_tokens": 3, "cache_creation_input_tokens": True},
        {"prompt_tokens": 5, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 4}},
    ],
)
def test_counts_that_cannot_be_believed_are_none(usage: object) -> None:
    assert decoded(200, {**GOOD, "usage": usage}).usage is None


def test_a_whole_number_may_be_written_with_a_point() -> None:
    usage = decoded(200, b'{"choices":[{"message":{}}],"usage":{"prompt_tokens":12.0,"completion_tokens":3}}').usage
    assert usage == Usage(12, 3)


def test_details_may_be_null() -> None:
    usage = {**GOOD["usage"], "prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}}
    assert decoded(200, {**GOOD, "usage": usage}).usage == Usage(12, 3)


def test_parts_of_a_content_are_joined_and_tool_calls_and_refusals_are_seen() -> None:
    def message(**fields: object) -> dict[str, object]:
        return {**GOOD, "choices": [{"message": fields, "finish_reason": "stop"}]}

    assert decoded(200, message(content=[{"type": "text", "text": "a"}, {"text": "b"}])).answer.content == "ab"
    assert decoded(200, message(content=None, tool_calls=[{"id": "1"}])).answer.has_tool_calls
    assert decoded(200, message(content=None, refusal="no")).answer.refusal == "no"


def test_a_redirect_names_the_host_and_is_not_followed() -> None:
    outcome = decoded(307, b"", {"Location": "https://elsewhere.example/v1"})
    assert outcome.error is E.REDIRECT
    assert "elsewhere.example" in outcome.message


@pytest.mark.parametrize("location", ["", "http://[bad", "/elsewhere", "http://h\udcff.example/"])
def test_a_redirect_to_nowhere_is_a_redirect(location: str) -> None:
    outcome = decoded(302, b"", {"Location": location})
    assert outcome.error is E.REDIRECT
    outcome.message.encode()


def test_messages_are_one_short_line_without_control_characters() -> None:
    outcome = decoded(500, {"error": "a\x1b[31m\nb\u2028c" + "x" * 1000})
    assert not any(ord(character) < 32 for character in outcome.message)
    assert len(outcome.message) == MESSAGE_MOST


@given(st.integers(200, 599), st.binary(max_size=300))
def test_no_answer_whatever_raises_or_counts_as_done_without_a_completion(status: int, body: bytes) -> None:
    assert decode(status, {}, body).state == "error"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "choices", "message", "content", "usage", "code"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([200, 400, 404, 429, 500]), json_values)
def test_no_json_of_another_shape_raises(status: int, value: object) -> None:
    decode(status, {}, orjson.dumps(value))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "NaN"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_a_date_far_away_is_a_long_wait() -> None:
    assert (retry_after_s({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}) or 0) > 10**9


@given(st.text(max_size=40))
def test_no_header_raises(value: str) -> None:
    seconds = retry_after_s({"Retry-After": value, "Retry-After-Ms": value, "Date": value})
    assert seconds is None or seconds >= 0


def test_should_retry() -> None:
    assert [should_retry({"X-Should-Retry": word}) for word in ("true", "FALSE", "", "maybe")] == [
        True,
        False,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("headers", "body", "nano"),
    [
        ({}, {"usage": {"cost": 0.00014}}, 140_000),
        ({}, {"usage": {"cost": 0}}, 0),
        ({"x-litellm-response-cost": "1e-06"}, {}, 1_000),
        ({"x-litellm-response-cost": "0"}, {}, 0),
        ({"x-litellm-response-cost": "None"}, {}, None),
        ({}, {"usage": {"cost": -1}}, None),
        ({}, {"usage": {"cost": "free"}}, None),
        ({}, {"usage": None}, None),
        ({}, [1], None),
    ],
)
def test_reported_cost_is_exact_or_unknown(headers: dict[str, str], body: object, nano: int | None) -> None:
    assert reported_cost_nano(headers, orjson.dumps(body), Decimal(1)) == nano
    if nano:
        assert reported_cost_nano(headers, orjson.dumps(body), Decimal("86.4")) == nano * 864 // 10
