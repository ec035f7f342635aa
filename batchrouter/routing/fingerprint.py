"""What type of request a text is: what stays of its beginning when everything that differs from one to the next is masked.

Two requests of one type have the same fingerprint, so one decision serves both.
"""

from __future__ import annotations

import re

from batchrouter.routing.words import normalized

FINGERPRINT_CHARACTERS = 200
LOOKED_AT_CHARACTERS = 1_000
"""Masks are shorter than what they stand for, so more than the beginning is looked at; no pattern sees more than this."""

_MASKS = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"\b(?:https?|ftp)://\S+|\bwww\.\S+", "<link>"),
        (r"[\w.+'-]+@[\w-]+(?:\.[\w-]+)+", "<email>"),
        (r'"[^"]*(?:"|$)|“[^”]*(?:”|$)|«[^»]*(?:»|$)|`[^`]*(?:`|$)', "<quoted>"),
        (r"(?<!\w)'[^'\n]*'(?!\w)|(?<!\w)‘[^’\n]*’(?!\w)", "<quoted>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
        (r"\b\d{1,2}[ -](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?,?(?:[ -]\d{2,4})?\b", "<date>"),
        (
            r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{1,2}(?:st|nd|rd|th)?(?:,? \d{4})?\b",
            "<date>",
        ),
        (r"\b\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?:t\d{2}:\d{2}\S*)?\b", "<date>"),
        (r"\b(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w[\w-]*\w\b", "<id>"),
        (r"\d+(?:[.,:]\d+)*", "<number>"),
    )
)


def fingerprint(text: str) -> str:
    """The normalised first characters of a text with links, addresses, quoted strings, ids, dates and numbers masked."""
    masked = " ".join(normalized(text[:LOOKED_AT_CHARACTERS]).split())
    for pattern, mask in _MASKS:
        masked = pattern.sub(mask, masked)
    return masked[:FINGERPRINT_CHARACTERS]
