"""The retry quota: how many calls a run may make again, earned by calls that succeed.

A gateway in trouble gets new requests once and few of the old ones again, whatever the policy for a single record
says. With these figures a run of 2,000 records or more makes at most 1.2 calls a record, however the gateway fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchrouter.core.outcome import ErrorClass

QUOTA_MOST = 120
RETRY_COST = 6
LOST_COST = 12
"""A call that may have been paid for costs twice as much to repeat."""
FAILED_PROBES_MOST = 3

_NEVER_ARRIVED = frozenset({ErrorClass.NOT_SENT, ErrorClass.STOPPED, ErrorClass.CRASH})
_MAYBE_PAID = frozenset({ErrorClass.RESET, ErrorClass.LOST})


def retry_cost(error: ErrorClass | None) -> int:
    """What it takes to repeat a call that ended so; 0 where the gateway had no hand in it."""
    if error is None or error in _NEVER_ARRIVED:
        return 0
    return LOST_COST if error in _MAYBE_PAID else RETRY_COST


@dataclass(slots=True)
class RetryQuota:
    """Tokens for retries, and how often probes failed that were made without any."""

    tokens: int = QUOTA_MOST
    failed_probes: int = 0

    def take(self, cost: int) -> bool:
        """Pay for a retry; False if there is not enough."""
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self.tokens = min(QUOTA_MOST, self.tokens + 1)

    def probe_failed(self) -> None:
        """A probe was no better than the calls before it."""
        self.failed_probes += 1

    @property
    def is_exhausted(self) -> bool:
        """True when even probes have failed too often: the gateway is to be left alone."""
        return self.failed_probes >= FAILED_PROBES_MOST
