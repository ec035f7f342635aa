"""A gateway that echoes the key must not bring it into a row, a log or a report. Pure.

Bodies are cleaned before anything is read from them: a message that is cut to length could otherwise end in half a key,
and a key that JSON wrote with escapes would come out whole when it is decoded.
"""

from __future__ import annotations

import re

SECRET_LEAST = 8
"""Shorter keys are placeholders of local servers ("x", "EMPTY"), and their letters are words of honest answers."""

_REDACTED = "[redacted]"
_ESCAPED = re.compile(rb"\\u00[2-7]|\\/")  # a key is printable ASCII; without one of these it stands there plainly
_BACKSLASHES = r"\\{1,8}"  # JSON within JSON doubles them; bounded, so that a run of them costs no quadratic time


class Redactor:
    """Removes one key (None: there is none) from bodies and texts."""

    __slots__ = ("_in_body", "_in_text", "_key")

    def __init__(self, key: str | None) -> None:
        secret = key if key and len(key) >= SECRET_LEAST else None
        pattern = "".join(map(_written, secret or ""))
        self._key = secret.encode() if secret else None
        self._in_text = re.compile(pattern, re.IGNORECASE)
        self._in_body = re.compile(pattern.encode(), re.IGNORECASE)

    def body(self, body: bytes) -> bytes:
        """The body without the key, however JSON wrote it."""
        if self._key is None:
            return body
        if self._key in body or _ESCAPED.search(body):
            return self._in_body.sub(_REDACTED.encode(), body)
        return body

    def text(self, text: str) -> str:
        """The text without the key, in whatever case."""
        return text if self._key is None else self._in_text.sub(_REDACTED, text)


def _written(character: str) -> str:
    """A pattern for the ways in which JSON may write a character of a key."""
    plain = re.escape(character)
    if character == "/":
        plain = rf"(?:{_BACKSLASHES})?/"
    return rf"(?:{plain}|{_BACKSLASHES}u00{ord(character):02x})"
