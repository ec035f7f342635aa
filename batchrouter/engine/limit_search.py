"""Finding the limits of one model that nobody configured, from what its gateway says and from what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from batchrouter.core.concurrency_search import ConcurrencySearch
from batchrouter.core.limits import Announced
from batchrouter.core.rate_search import RateSearch
from batchrouter.engine.account import Account
from batchrouter.engine.gate import Gate
from batchrouter.engine.pacing import Pacing
from batchrouter.ports import Clock


class LimitSearch:
    """Watches the calls of a model and sets its pacing. ``rate``, ``concurrency`` None: configured, not to be found.

    ``account``: where it is found out which models share a limit. ``found``: what an earlier start found.
    """

    def __init__(
        self,
        pacing: Pacing,
        clock: Clock,
        *,
        rate: RateSearch | None,
        concurrency: ConcurrencySearch | None,
        tokens_are_configured: bool,
        model: str = "",
        account: Account | None = None,
        found: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._pacing = pacing
        self._clock = clock
        self._rate = rate
        self._concurrency = concurrency
        self._looks_at_tokens = not tokens_are_configured
        self._announced_rpm: float | None = None
        self._announced_tpm: float | None = None
        self._is_answered = False
        self._found_before = found
        self._model = model
        self._account = account
        if account:
            account.add(model, self)

    @property
    def is_of_rate(self) -> bool:
        """Whether nobody configured the limit of requests/min."""
        return self._rate is not None

    @property
    def found(self) -> dict[str, int]:
        """The limits as they seem to be, by their keys in the configuration; none that is configured or was not met."""
        if not self._is_answered:
            return dict(self._found_before)
        refused_from = self._rate.found_rpm if self._rate else None
        rpms = [rpm for rpm in (refused_from, self._announced_rpm) if rpm]
        found = {
            "rpm": min(rpms, default=None),
            "tpm": self._announced_tpm,
            "concurrency": self._concurrency.found if self._concurrency else None,
        }
        return {key: int(value) for key, value in found.items() if value}

    @property
    def one_limit(self) -> tuple[str, ...]:
        """The models, this one among them, that are known to share a limit; none: it has its own."""
        groups = self._account.one_limit if self._account else []
        return next((tuple(group) for group in groups if self._model in group), ())

    @property
    def calls_most(self) -> int:
        """How many calls may ever be in flight."""
        return self._concurrency.most if self._concurrency else self._pacing.place.size

    @property
    def gate(self) -> Gate:
        """What the model's calls go through."""
        return self._pacing.gate

    @property
    def rate(self) -> RateSearch | None:
        """The search for the limit of requests."""
        return self._rate

    def go_through(self, gate: Gate, rate: RateSearch) -> None:
        """Keep to the limit of that gate from now on, and search it there."""
        self._pacing.go_through(gate)
        self._rate = rate

    def recall(self, age_s: float, tokens: int) -> None:
        """A call of so many tokens was sent so long ago by a process before this one; the oldest is told first."""
        self._pacing.recall(age_s, tokens)
        self.sent(self._clock.monotonic_s() - age_s)

    def sent(self, at_s: float) -> None:
        """A call leaves."""
        if self._rate:
            self._rate.sent(at_s)
        if self._concurrency:
            self._concurrency.sent(at_s)
        if self._account:
            self._account.sent(self._model, at_s)

    def answered(self, sent_s: float, announced: Announced | None) -> None:
        """A call that was sent then was answered, and what the answer says of limits."""
        now_s = self._clock.monotonic_s()
        self._is_answered = True
        if announced:
            self._heed(announced)
        if self._account and announced and announced.requests:
            self._account.answered(self._model, announced.requests, sent_s, announced.tpm)
        elif self._account:
            self._account.unannounced()
        if self._rate:
            self._rate.answered(sent_s, now_s)
            self._follow(self._rate)
        if self._concurrency:
            self._concurrency.answered(sent_s, now_s, is_full=self._pacing.entry.locked())
            self._pacing.set_concurrency(self._concurrency.size)

    def refused(self, sent_s: float, retry_after_s: float) -> bool:
        """A call that was sent then was refused; whether all others should wait."""
        if self._account:
            self._account.refused()
        if self._rate is None:
            return True
        waits = self._rate.refused(sent_s, self._clock.monotonic_s(), retry_after_s)
        self._follow(self._rate)
        return waits

    def choked(self, sent_s: float) -> None:
        """A call that was sent then came to nothing because the gateway has too much to do."""
        if self._concurrency:
            self._concurrency.choked(sent_s, self._clock.monotonic_s())
            self._pacing.set_concurrency(self._concurrency.size)

    def _heed(self, announced: Announced) -> None:
        if self._rate and announced.rpm:
            self._announced_rpm = announced.rpm
        if self._looks_at_tokens and announced.tpm:
            self._announced_tpm = announced.tpm
            self._pacing.set_tpm(announced.tpm)
        if announced.exhausted_s:
            self._pacing.hold(announced.exhausted_s)

    def _follow(self, rate: RateSearch) -> None:
        rpms = [rpm for rpm in (rate.rpm, self._announced_rpm) if rpm is not None]
        if rpms:
            self._pacing.set_rpm(min(rpms))
