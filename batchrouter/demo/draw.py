"""Chance that repeats: the same seed and the same request always draw the same."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

_Item = TypeVar("_Item")
_SHARE_STEPS = 1 << 20


class Draw:
    """A number of 256 bits, used up digit by digit. Quicker to make than a seeded generator; what is left at last is 0."""

    __slots__ = ("_rest",)

    def __init__(self, seed: int, *parts: bytes) -> None:
        digest = blake2b(b"%d" % seed, digest_size=32)
        for part in parts:
            digest.update(b"\0")
            digest.update(part)
        self._rest = int.from_bytes(digest.digest(), "big")

    def below(self, limit: int) -> int:
        """A whole number from 0 to ``limit`` - 1."""
        self._rest, drawn = divmod(self._rest, limit)
        return drawn

    def pick(self, items: Sequence[_Item]) -> _Item:
        """One of the items, each as likely as the others."""
        return items[self.below(len(items))]

    def share(self) -> float:
        """A number from 0 up to, not including, 1."""
        return self.below(_SHARE_STEPS) / _SHARE_STEPS
