"""Decisions that are remembered: in memory here, in the database behind it."""

from __future__ import annotations

from collections.abc import Mapping

DECISIONS_MOST = 20_000
"""So many types of request are remembered; beyond them the oldest is forgotten."""


class DecisionCache:
    """From the key of a type of request to its tier. Read by the intake's thread while the event loop adds to it."""

    def __init__(self, remembered: Mapping[bytes, str] | None = None) -> None:
        self._tiers = dict(remembered or {})
        self._fallbacks: dict[bytes, None] = {}

    def get(self, key: bytes) -> str | None:
        """The tier, if this type of request was decided."""
        return self._tiers.get(key)

    def put(self, key: bytes, tier: str) -> None:
        """Remember a decision."""
        self._tiers[key] = tier
        _forget_the_oldest(self._tiers)

    def is_fallback(self, key: bytes) -> bool:
        """Whether this type of request was asked about in vain."""
        return key in self._fallbacks

    def put_fallback(self, key: bytes) -> None:
        """Remember, for this process alone, that asking was in vain."""
        self._fallbacks[key] = None
        _forget_the_oldest(self._fallbacks)


def _forget_the_oldest(entries: dict[bytes, str] | dict[bytes, None]) -> None:
    while len(entries) > DECISIONS_MOST:
        del entries[next(iter(entries))]
