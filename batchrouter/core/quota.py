"""The retry quota: how many calls a run may make again, earned by calls that succeed.

A gateway in trouble gets new requests once and few of the old ones again, whatever the policy for a single record
says. With these figures a run of 2,000 records or more makes some 1.2 calls a record at most, however the gateway fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchrouter.core.outcome import ErrorClass

QUOTA_MOST = 161
RETRY_COST = 23
EARNED = 4
"""By a call that succeeds: a gateway that fails one call in seven can be kept up with, a worse one cannot."""
PROBE_DEBT = 12
PROBE_DEBT_MOST = 30
"""A failed probe adds to the debt, a good one takes one off: three failures with few answers between are enough.

Failures with no answer between them count once: that is an outage or a storm of refusals, which the gateway's patience
bounds and not this quota.
"""

_NEVER_ARRIVED = frozenset({ErrorClass.NOT_SENT, ErrorClass.STOPPED, ErrorClass.CRASH})


def retry_cost(error: ErrorClass | None) -> int:
    """What it takes to repeat a call that ended so; 0 where the gateway had no hand in it."""
    return 0 if error is None or error in _NEVER_ARRIVED else RETRY_COST


@dataclass(slots=True)
class RetryQuota:
    """Tokens for retries, and the debt of probes that were made without any."""

    tokens: int = QUOTA_MOST
    probe_debt: int = 0
    is_failing: bool = False

    def take(self, cost: int) -> bool:
        """Pay for a retry; False if there is not enough."""
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self.tokens = min(QUOTA_MOST, self.tokens + EARNED)

    def probed(self, *, answered: bool) -> None:
        """A probe came back."""
        if answered:
            self.probe_debt = max(0, self.probe_debt - 1)
        elif not self.is_failing:
            self.probe_debt += PROBE_DEBT
        self.is_failing = not answered

    @property
    def is_exhausted(self) -> bool:
        """True when even probes fail too often: the gateway is to be left alone."""
        return self.probe_debt >= PROBE_DEBT_MOST
