"""The retry quota: how many calls a run may make again, earned by calls that succeed.

A gateway in trouble gets new requests once and few of the old ones again, whatever the policy for a single record
says. With these figures a run of 2,000 records or more makes 1.2 calls a record at most, however the gateway fails.
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
PROBES_MOST = 24
ANSWERS_PER_PROBE = 100
"""A failed probe adds to the debt, a good one takes one off: three failures with few answers between are enough.
So many probes, and one more for each hundred answers, are all that a run has, however lucky they are.

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
    answers: int = 0
    probes: int = 0
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
        self.answers += 1
        self.tokens = min(QUOTA_MOST, self.tokens + EARNED)

    def probed(self, *, answered: bool) -> None:
        """A probe came back."""
        self.probes += answered or not self.is_failing
        if answered:
            self.probe_debt = max(0, self.probe_debt - 1)
        elif not self.is_failing:
            self.probe_debt += PROBE_DEBT
        self.is_failing = not answered

    @property
    def is_exhausted(self) -> bool:
        """True when even probes fail too often, or were too many: the gateway is to be left alone."""
        return self.probe_debt >= PROBE_DEBT_MOST or self.probes > PROBES_MOST + self.answers // ANSWERS_PER_PROBE
