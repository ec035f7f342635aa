"""How the demo counts tokens: prompts by their bytes, answers by short pieces of words. Not any real vocabulary."""

from __future__ import annotations

import re
from typing import NamedTuple

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_REQUEST = 3
TOKENS_PER_IMAGE = 765
_PIECES = re.compile(r"\s*(?:\w{1,8}|[^\w\s])")


class Usage(NamedTuple):
    """Tokens of one call; cached ones are among those of the prompt, reasoning ones among those of the completion."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


def message_tokens(text: str, images: int) -> int:
    """What one message counts."""
    size = len(text) if text.isascii() else len(text.encode())
    return TOKENS_PER_MESSAGE + -(-size // BYTES_PER_TOKEN) + images * TOKENS_PER_IMAGE


def within(text: str, most: int | None) -> tuple[str, int, bool]:
    """The text cut to at most so many tokens (None: any number), how many it has then, and whether it was cut."""
    pieces = _PIECES.findall(text)
    if most is None or len(pieces) <= most:
        return text, len(pieces), False
    return "".join(pieces[:most]), most, True


def half(text: str) -> str:
    """The first half of a text's tokens."""
    pieces = _PIECES.findall(text)
    return "".join(pieces[: len(pieces) // 2])
