"""What a line becomes: a record or a rejection; what a router says of it; and what is finally known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

Status = Literal["done", "failed", "rejected", "pending"]


class RequestText(msgspec.Struct, frozen=True, gc=False):
    """The parts of a request that rules look at: text only, never images or tool results.

    ``last_user`` is the last user message, ``all_user`` every user message joined by newlines, ``keys`` the names of
    the top-level keys of the request body and ``image`` where a message holds one.
    """

    last_user: str
    all_user: str
    keys: frozenset[str] = frozenset()
    task: str | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """A record's tier, why, and which router said so. ``tier`` None: ``--no-routing``, the body's own model is used.

    ``origin`` of a decision of the LLM router: its model was asked for this record, the answer was remembered, or there
    was none and the fallback was taken.
    """

    tier: str | None
    reason: str
    router: str
    origin: Literal["asked", "cache", "fallback"] | None = None


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request body ready to be sent but for model, output cap and dialect.

    ``body`` is a JSON object whose values are the bytes that were read. ``max_output_tokens`` is None where the record
    names none. ``prompt_bytes`` are the UTF-8 bytes of everything the model reads, images apart.
    """

    body: bytes
    prompt_bytes: int
    images: int = 0
    choices: int = 1
    max_output_tokens: int | None = None
    needs: frozenset[str] = frozenset()
    requested_model: str | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """One valid line of the input."""

    line: int
    offset: int
    digest: bytes
    id: str
    request: Request
    text: RequestText
    task: str | None = None
    pinned_tier: str | None = None
    metadata: bytes | None = None
    expect: bytes | None = None


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A line that is not a valid record, with a reason that a person understands."""

    line: int
    offset: int
    digest: bytes
    reason: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far an input was taken in: the bytes (decompressed) and lines before it, and the digest of those bytes.

    ``ended`` is False where the last line had no newline yet; ``blank`` counts the blank lines so far.
    """

    offset: int = 0
    line: int = 0
    digest: str = ""
    ended: bool = True
    blank: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines read together, in input order, and the position after them."""

    lines: tuple[Record | Rejection, ...]
    after: Position
    replaced_models: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The one final outcome of a record, as the Python API gives it.

    ``cost_nano`` is the sum of the known costs of its answer attempts in nano-units of ``currency``, None: unknown.
    """

    line: int
    id: str | None
    status: Status
    tier: str | None
    model: str | None
    answer: str | None
    finish_reason: str | None
    error: str | None
    cost_nano: int | None
    currency: str
