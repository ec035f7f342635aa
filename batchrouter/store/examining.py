"""How a check of the database becomes a finding, whatever stands in the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from batchrouter.core.errors import BatchRouterError
from batchrouter.core.findings import Finding

ADVICE = "Keep a copy of the file; something else than batchrouter wrote to it."
CLOCK_ADVICE = "The clock of the machine was set back, or something else than batchrouter wrote to the file."
UNREADABLE = (
    sqlite3.Error,
    RecursionError,
    BatchRouterError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
"""What values raise that this program did not write."""


def finding(
    name: str, broken: Iterator[str], level: Literal["error", "warning"] = "error", advice: str = ADVICE
) -> Finding:
    """``ok`` where nothing is broken, else how often it is and where first."""
    try:
        first = next(broken, None)
        more = sum(1 for _ in broken)
    except UNREADABLE as error:
        return Finding("error", f"cannot be told: {name}: {error}", ADVICE)
    if first is None:
        return Finding("ok", name)
    where = f"{first}, and {more} more" if more else first
    return Finding(level, f"not so: {name}: {where}", advice)


def text_with_marks(value: bytes) -> str:
    """Text as it stands; what is none is marked."""
    return value.decode("utf-8", "replace")


@contextmanager
def reading_as_of_now(connection: sqlite3.Connection) -> Iterator[None]:
    """All queries see one moment; text that is none is read with marks in the place of what is wrong."""
    text_factory, connection.text_factory = connection.text_factory, text_with_marks
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.text_factory = text_factory
