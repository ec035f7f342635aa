"""What a person may have meant by a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ALIKE_LEAST = 0.7
"""A "product" is no misspelt "prompt"."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``", did you mean 'simple'?"``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=_ALIKE_LEAST)
    return f", did you mean {near[0]!r}?" if near else ""
