"""What one call came to: a closed list of classes, and all that was learnt from the answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from batchrouter.core.limits import Announced
from batchrouter.core.pricing import Usage

AttemptState = Literal["ok", "error", "not_sent", "unknown"]


class ErrorClass(StrEnum):
    """Why a call gave no usable answer. The retry table (``core.retry``) has one row for each."""

    NOT_SENT = "not_sent"  # DNS, refused, TLS, connect timeout: the request never left
    CERTIFICATE = "certificate"  # the gateway's certificate is not trusted
    REDIRECT = "redirect"  # any 3xx: following it could hand the key to somebody else
    RESET = "reset"  # sent, and not one byte of an answer
    LOST = "lost"  # sent, and the answer broke off or did not come in time
    CRASH = "crash"  # this program ended without a word while the call was open
    STOPPED = "stopped"  # the run was stopped while the call was open
    UNUSABLE = "unusable"  # 200 with something that is no completion
    EMPTY = "empty"  # a completion without content
    BAD_REQUEST = "bad_request"  # 400, 405, 415, 422
    MODEL_UNKNOWN = "model_unknown"  # 404, 410
    AUTH = "auth"  # 401, 403
    CREDIT = "credit"  # 402, insufficient_quota
    TRANSIENT = "transient"  # 408, 409, 425
    SIZE = "size"  # 413, context_length_exceeded, "request too large"
    OVERLOAD = "overload"  # 429, 529
    SERVER = "server"  # 500, 502, 503, 504, 52x
    HTTP = "http"  # any other status
    CONTENT_FILTER = "content_filter"  # refused by the gateway's filter, before or in the answer
    REFUSAL = "refusal"  # message.refusal
    TRUNCATED = "truncated"  # finish_reason length where the cap was ours
    CHECK = "check"  # a check of `expect` failed
    UNSUPPORTED = "unsupported"  # no model of any tier can take this record
    POISON = "poison"  # the program ended without a word each time it worked on this record


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The usable content of a completion (first choice)."""

    content: str | None
    finish_reason: str | None
    refusal: str | None = None
    has_tool_calls: bool = False


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """One call, classified.

    ``retry_after_s`` is the gateway's wish in seconds, ``should_retry`` its explicit word, ``reported_cost_nano`` a
    cost it reported in a currency that the configuration trusts. ``response`` is the body as received, redacted.
    """

    state: AttemptState
    error: ErrorClass | None = None
    message: str = ""
    status_code: int | None = None
    answer: Answer | None = None
    usage: Usage | None = None
    reported_cost_nano: int | None = None
    retry_after_s: float | None = None
    should_retry: bool | None = None
    response: bytes | None = None
    response_id: str | None = None
    model_served: str | None = None
    latency_ms: int | None = None
    announced: Announced | None = None
