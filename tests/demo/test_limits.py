"""The sliding minute never holds more than its limit, and its headers say what is left."""

from __future__ import annotations

import pytest

from batchrouter.demo.limits import RateLimits, duration, retry_headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.012, "12ms"), (0.0004, "1ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (3723, "1h2m3s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_requests_wait_until_the_oldest_leaves_the_minute() -> None:
    limits = RateLimits(rpm=2, tpm=None)
    assert limits.admit(100.0, 10) is None
    assert limits.admit(130.0, 10) is None
    refused = limits.admit(150.0, 10)
    assert refused is not None
    assert (refused.kind, refused.limit, refused.used, refused.retry_after_s) == ("requests", 2, 2, 10.0)
    assert limits.admit(160.0, 10) is None
    assert limits.admit(160.0, 10) is not None


def test_tokens_wait_until_enough_of_them_are_free() -> None:
    limits = RateLimits(rpm=None, tpm=100)
    for at in (0.0, 10.0, 20.0):
        assert limits.admit(at, 30) is None
    refused = limits.admit(25.0, 50)
    assert refused is not None
    assert refused.retry_after_s == 45.0
    assert limits.admit(70.0, 50) is None


def test_a_request_above_the_limit_itself_can_never_be_made() -> None:
    refused = RateLimits(rpm=None, tpm=100).admit(0.0, 101)
    assert refused is not None
    assert refused.retry_after_s is None


def test_a_refused_request_uses_nothing() -> None:
    limits = RateLimits(rpm=1, tpm=100)
    assert limits.admit(0.0, 60) is None
    assert limits.admit(1.0, 10) is not None
    assert limits.headers(1.0)["x-ratelimit-remaining-tokens"] == "40"


def test_headers_tell_limit_remaining_and_time_to_full_refill() -> None:
    limits = RateLimits(rpm=10, tpm=1000)
    limits.admit(0.0, 300)
    limits.admit(30.0, 200)
    assert limits.headers(60.0) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "800",
        "x-ratelimit-reset-tokens": "30s",
    }
    assert limits.headers(90.0)["x-ratelimit-reset-requests"] == "0s"
    assert RateLimits(rpm=None, tpm=None).headers(0.0) == {}


def test_no_window_of_a_minute_holds_more_than_the_limit() -> None:
    limits = RateLimits(rpm=7, tpm=None)
    admitted = [at for step in range(3000) if limits.admit(at := step * 0.37, 1) is None]
    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[7:], strict=False))
    assert len(admitted) >= 7 * int(3000 * 0.37 / 60)


def test_retry_headers_round_up() -> None:
    assert retry_headers(1.2001) == {"retry-after": "2", "retry-after-ms": "1201"}
