"""The models of one gateway: those whose calls count against one limit go through one gate and search it together."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Protocol

from batchrouter.core.account_limits import AccountLimits
from batchrouter.core.limits import Counted
from batchrouter.core.rate_search import RateSearch
from batchrouter.engine.gate import Gate
from batchrouter.ports import Clock


class Member(Protocol):
    """A model whose limits are to be found."""

    @property
    def gate(self) -> Gate:
        """What its calls go through."""

    @property
    def rate(self) -> RateSearch | None:
        """The search for its limit of requests."""

    def go_through(self, gate: Gate, rate: RateSearch) -> None:
        """Keep to that limit from now on, and search it there."""


class Account:
    """Watches what all models' answers tell of what is left, and brings gates together or apart as it is understood."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limits = AccountLimits()
        self._members: dict[str, Member] = {}
        self._together: set[frozenset[str]] = set()

    def add(self, model: str, member: Member) -> None:
        """A model that is asked through this gateway."""
        self._members[model] = member

    @property
    def one_limit(self) -> list[list[str]]:
        """Models that share a limit, as far as it is known, each group in order."""
        return sorted(sorted(group) for group in self._limits.one_limit())

    def sent(self, model: str, at_s: float) -> None:
        """A call of a model leaves."""
        self._limits.sent(model, at_s)

    def unannounced(self) -> None:
        """An answer says nothing of what is left."""
        self._limits.unannounced()

    def refused(self) -> None:
        """A call was refused."""
        self._limits.refused()

    def answered(self, model: str, counted: Counted, sent_s: float, tpm: float | None) -> None:
        """A call of a model that was sent then was answered, and what is left of its limit."""
        now_s = self._clock.monotonic_s()
        if not self._limits.answered(model, counted, sent_s=sent_s, now_s=now_s, tpm=tpm):
            return
        together = self._limits.together()
        if together != self._together:
            self._regroup(self._all(self._together), self._all(together))
            self._together = together

    def _all(self, groups: Iterable[frozenset[str]]) -> set[frozenset[str]]:
        """The groups, and each other model as one of its own."""
        grouped = frozenset[str]().union(*groups)
        return {*groups, *(frozenset({model}) for model in self._members if model not in grouped)}

    def _regroup(self, before: set[frozenset[str]], after: set[frozenset[str]]) -> None:
        gates = {model: member.gate for model, member in self._members.items()}
        rates = {model: member.rate for model, member in self._members.items()}
        for group in after - before:
            gate = Gate.in_place_of([gates[model] for model in sorted(group)])
            rate = _most_cautious([rates[model] for model in sorted(group)])
            for model in group:
                self._members[model].go_through(gate, rate)


def _most_cautious(rates: Sequence[RateSearch | None]) -> RateSearch:
    """A search that goes on where the slowest of these is: what was found is not found again by refusals."""
    found = [rate for rate in rates if rate and rate.rpm is not None]
    return copy.deepcopy(min(found, key=lambda rate: rate.rpm or 0.0)) if found else RateSearch()
