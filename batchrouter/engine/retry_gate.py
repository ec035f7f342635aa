"""The gate for retries, shared by all lanes: new records first, retries as far as the quota goes, then probes.

Probes begin with one at a time; each that is answered lets one more be in flight, a failed one begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from batchrouter.core.errors import ExitCode
from batchrouter.core.outcome import Outcome
from batchrouter.core.quota import RetryQuota
from batchrouter.engine.stopping import Stop
from batchrouter.ports import Job, RunEnd


class _Lane(Protocol):
    @property
    def has_only_retries(self) -> bool: ...

    def wake(self) -> None: ...


class RetryGate:
    """Lets a retry through or holds it back; lanes that were refused are woken when that may have changed."""

    def __init__(self, stop: Stop, quota: RetryQuota | None = None) -> None:
        self._stop = stop
        self._quota = quota or RetryQuota()
        self._lanes: Sequence[_Lane] = ()
        self._intake_over: Callable[[], bool] = lambda: True
        self._probes: set[int] = set()
        self._probes_most = 1
        self._has_refused = False

    def watch(self, lanes: Sequence[_Lane], intake_over: Callable[[], bool]) -> None:
        """The lanes that share the quota, and whether no new record can come to them from the input."""
        self._lanes = lanes
        self._intake_over = intake_over

    def lets_through(self, job: Job) -> bool:
        """Whether this retry may be made now; it is then paid for, or it is the probe."""
        if self._quota.take(job.retry_cost):
            return True
        if (
            len(self._probes) < self._probes_most
            and self._intake_over()
            and all(lane.has_only_retries for lane in self._lanes)
        ):
            self._probes.add(job.line)
            return True
        self._has_refused = True
        return False

    def ended(self, line: int, outcome: Outcome) -> None:
        """A call came to this: an answer earns something, a failed probe may be the last."""
        if outcome.state == "ok":
            self._quota.succeeded()
        if line in self._probes and outcome.state != "not_sent":
            answered = outcome.state == "ok"
            self._quota.probed(answered=answered)
            self._probes_most = self._probes_most + 1 if answered else 1
            if self._quota.is_exhausted:
                self._stop.request(_too_many_failures(outcome))
        self.released(line)

    def released(self, line: int) -> None:
        """The job is out of its worker's hands, however it ended: it may have been the last that was not a retry."""
        self._probes.discard(line)
        self.look_again()

    def look_again(self) -> None:
        """Something changed: lanes that were refused may ask again."""
        if self._has_refused:
            self._has_refused = False
            for lane in self._lanes:
                lane.wake()


def _too_many_failures(outcome: Outcome) -> RunEnd:
    return RunEnd(
        ExitCode.UNAVAILABLE,
        f"the gateway failed too many calls: only retries are left, and they fail too, the last: {outcome.message}",
        "Nothing is lost: start the same command again when the gateway is better.",
    )
