"""Between the engine and whoever looks on: a record is told to be finished only when its row is on disk."""

from __future__ import annotations

from functools import partial

from batchrouter.ports import Observer
from batchrouter.store.ledger import RunLedger


class DurableNews:
    """Implements ``ports.Observer``: holds back ``finished`` until the result that was queued before it is durable."""

    def __init__(self, observer: Observer, ledger: RunLedger) -> None:
        self._observer = observer
        self._ledger = ledger
        self.resumed = observer.resumed
        self.taken_in = observer.taken_in
        self.started = observer.started
        self.ended = observer.ended
        self.moved = observer.moved
        self.notice = observer.notice

    def finished(self, tier: str | None, state: str, baseline_nano: int | None) -> None:
        """A record's result is queued for the next transaction."""
        self._ledger.tell(partial(self._observer.finished, tier, state, baseline_nano))
