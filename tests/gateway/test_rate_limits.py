"""Rate limits in the headers of answers, in each dialect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from batchrouter.core.limits import Announced, Counted
from batchrouter.gateway.rate_limits import announced


def openai(**values: str) -> dict[str, str]:
    return {f"X-RateLimit-{name.replace('_', '-')}": value for name, value in values.items()}


def read(headers: dict[str, str]) -> Announced | None:
    return announced(CIMultiDict(headers))


def test_no_header_says_nothing() -> None:
    assert read({"Content-Type": "application/json"}) is None


def test_openais_headers_name_requests_and_tokens_a_minute() -> None:
    found = read(
        openai(limit_requests="500", remaining_requests="499", reset_requests="120ms")
        | openai(limit_tokens="200000", remaining_tokens="150000", reset_tokens="15s")
    )
    assert found == Announced(rpm=500, tpm=200_000, requests=Counted(500, 499, 0.12))


@pytest.mark.parametrize("reset", ["0s", "0", "12ms", "1s", "6.5s", "1m0s", "60"])
def test_each_way_to_write_a_reset_within_a_minute_leaves_the_limit_one_of_a_minute(reset: str) -> None:
    found = read(openai(limit_requests="5000", remaining_requests="4999", reset_requests=reset))
    assert found
    assert found.rpm == 5_000
    assert found.requests
    assert found.requests.remaining == 4_999


def test_a_limit_that_comes_back_within_a_second_counts_over_a_second() -> None:
    assert read(openai(limit_requests="10", remaining_requests="5", reset_requests="1")) == Announced(rpm=600)


@pytest.mark.parametrize("reset", ["2m0s", "1h2m3s", "7200", "1d"])
def test_a_limit_that_takes_longer_than_a_minute_to_come_back_is_no_pace(reset: str) -> None:
    assert read(openai(limit_requests="200", remaining_requests="100", reset_requests=reset)) == Announced()


@pytest.mark.parametrize("limit", ["0", "-1", "", "unlimited", "9" * 400])
def test_azures_zero_and_minus_one_and_what_is_no_number_are_unknown(limit: str) -> None:
    assert read(openai(limit_requests=limit, remaining_requests="5", reset_requests="1")) in (None, Announced())


def test_anthropics_headers_are_read_with_times_against_the_answers_own_date() -> None:
    found = read(
        {
            "Date": "Mon, 01 Jan 2024 00:00:00 GMT",
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2024-01-01T00:00:30Z",
            "anthropic-ratelimit-tokens-limit": "40000",
            "anthropic-ratelimit-tokens-remaining": "39000",
            "anthropic-ratelimit-tokens-reset": "2024-01-01T00:00:02Z",
        }
    )
    assert found == Announced(rpm=50, tpm=40_000, exhausted_s=1.0, requests=Counted(50, 0, 30.0))


def test_where_nothing_is_left_one_more_comes_back_in_its_share_of_a_minute() -> None:
    found = read(openai(limit_requests="600", remaining_requests="0", reset_requests="60s"))
    assert found == Announced(rpm=600, exhausted_s=0.1, requests=Counted(600, 0, 60.0))


def test_what_is_left_is_told_without_a_reset_too() -> None:
    found = read(openai(limit_requests="600", remaining_requests="480"))
    assert found == Announced(rpm=600, requests=Counted(600, 480))


@given(st.text(), st.text(), st.text())
def test_no_header_can_break_it(limit: str, remaining: str, reset: str) -> None:
    found = read(openai(limit_requests=limit, remaining_requests=remaining, reset_requests=reset))
    assert found is None or found.rpm is None or found.rpm > 0
