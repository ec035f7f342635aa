"""When do two answers say the same without anybody judging? Letter by letter, but for how it is written, or as JSON. Pure."""

from __future__ import annotations

import json
import string
import unicodedata
from decimal import Decimal
from typing import Any, Literal

_FENCE = "```"
_AT_THE_ENDS = string.whitespace + ".!\"'`*"


def equality(one: str | None, other: str | None) -> Literal["exact", "normalised", "json"] | None:
    """In what way two answers are the same; None: in none of these. An answer without text is the same as another such."""
    left, right = one or "", other or ""
    if left == right:
        return "exact"
    if normalised(left) == normalised(right):
        return "normalised"
    return "json" if _same_json(left, right) else None


def normalised(text: str) -> str:
    """Without case, compatibility forms, runs of white space, and what stands around it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()).strip(_AT_THE_ENDS)


def _same_json(left: str, right: str) -> bool:
    try:
        first, second = _parsed(left), _parsed(right)
        return isinstance(first, dict | list) and _same(first, second)
    except (ValueError, RecursionError, ArithmeticError):
        return False


def _parsed(text: str) -> Any:
    """JSON with every number as it is written; ValueError for NaN and infinities, which JSON has not."""
    return json.loads(_bare(text), parse_float=Decimal, parse_constant=int)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are one number, true and 1 are not the same."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(left, right) for left, right in zip(one, other, strict=True))
    return bool(one == other)


def _bare(text: str) -> str:
    """Without a Markdown fence around it."""
    text = text.strip()
    if text.startswith(_FENCE) and text.endswith(_FENCE) and "\n" in text:
        return text[text.index("\n") : -len(_FENCE)]
    return text
