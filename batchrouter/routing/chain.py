"""Routers one after another: the first that decides has decided."""

from __future__ import annotations

from collections.abc import Sequence

from batchrouter.core.records import Decision, RequestText
from batchrouter.ports import Router


class RouterChain:
    """Implements ``ports.Router``: None where none of its routers decides."""

    def __init__(self, routers: Sequence[Router]) -> None:
        self._routers = routers

    def decide(self, text: RequestText) -> Decision | None:
        """The first decision."""
        for router in self._routers:
            if decision := router.decide(text):
                return decision
        return None
