"""Words and phrases in a text, whatever its case, its punctuation and its typographic apostrophes.

A keyword matches as a whole word or, where it is several words, as those words one after another, with any space or
punctuation between them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

_BETWEEN_WORDS = r"[\W_]+"
_STARTS_A_WORD = r"(?<![^\W_])"
_ENDS_A_WORD = r"(?![^\W_])"
_SHAPES = bytes(ord(" " if chr(character).isspace() else "x") for character in range(256))
"""What each ASCII character is to a count of words."""


def normalized(text: str) -> str:
    """The text as it is compared: compatibility forms made one (NFKC), case folded."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def word_count(text: str) -> int:
    """How many words a text has: runs of anything but white space."""
    if not text.isascii():
        return len(text.split())
    shape = text.encode().translate(_SHAPES)
    return shape.count(b" x") + shape.startswith(b"x")


class Keywords:
    """A set of words and phrases.

    Each is sought by the characters that it begins with, which is many times quicker than one pattern of them all, and
    its pattern is asked only where these stand.
    """

    def __init__(self, keywords: Iterable[str]) -> None:
        folded = {normalized(keyword).strip(): keyword for keyword in keywords if keyword.strip()}
        longest_first = sorted(folded, key=len, reverse=True)
        self._sought = [(_runs(key)[0], re.compile(_as_pattern(key)), folded[key]) for key in longest_first]

    def first_in(self, normalized_text: str) -> str | None:
        """The keyword that comes first in a normalised text, as it was given; None: there is none."""
        first, end = None, len(normalized_text)
        for beginning, pattern, keyword in [sought for sought in self._sought if sought[0] in normalized_text]:
            at = normalized_text.find(beginning, 0, end)
            while at >= 0 and pattern.match(normalized_text, at) is None:
                at = normalized_text.find(beginning, at + 1, end)
            if at >= 0:
                first, end = keyword, at
        return first


@cache
def named(keyword: str) -> str:
    """``the word 'debug'`` or ``the phrase 'yes or no'``."""
    return f"the {'phrase' if len(keyword.split()) > 1 else 'word'} {keyword!r}"


def _runs(keyword: str) -> list[str]:
    """Runs of word characters and runs of others, in turn. Marks (vowel signs, accents) belong to the word before."""
    runs: list[str] = []
    inside = None
    for character in keyword:
        is_word = character.isalnum() or unicodedata.category(character).startswith("M")
        if is_word is inside:
            runs[-1] += character
        else:
            runs.append(character)
            inside = is_word
    return runs


def _as_pattern(keyword: str) -> str:
    """Between words anything that is none; at the ends what is written, as in ``c++`` or ``.net``."""
    runs = _runs(keyword)
    is_words = [run[0].isalnum() for run in runs]
    last = len(runs) - 1
    pieces = [
        _BETWEEN_WORDS if 0 < number < last and not is_words[number] else re.escape(run)
        for number, run in enumerate(runs)
    ]
    start = _STARTS_A_WORD if is_words[0] else ""
    end = _ENDS_A_WORD if is_words[-1] else ""
    return start + "".join(pieces) + end
