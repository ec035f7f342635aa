"""How many calls should have their row committed before one of those in flight has ended. Pure.

A call waits for the commit of its row, in which a place for a call in flight would not be used. By Little's law the calls
that end while a commit lasts are their rate times its duration; twice as many keep every place in use where they come
and go in bursts. A slow gateway needs one or none.
"""

from __future__ import annotations

WINDOW_S = 0.25
BURSTS = 2
LEAD_MOST = 256
"""Each is told as possibly paid twice when the process dies; beyond this many the machine is the limit, not the commits."""


def lead_most(in_flight: int) -> int:
    """The most calls that may be ahead of so many in flight."""
    return min(in_flight, LEAD_MOST)


class CommitLead:
    """Watches the commits and the calls of one model; ``calls`` is the number that should be ahead, 0 at first."""

    def __init__(self) -> None:
        self.calls = 0
        self._since_s: float | None = None
        self._rows = 0
        self._committing_s = 0.0
        self._ended = 0

    def ended(self) -> None:
        """A call is no longer in flight."""
        self._ended += 1

    def committed(self, began_s: float, now_s: float) -> None:
        """A row that was handed over at ``began_s`` is durable now."""
        if self._since_s is None:
            self._since_s = began_s
        self._rows += 1
        self._committing_s += now_s - began_s
        window_s = now_s - self._since_s
        if window_s >= WINDOW_S:
            self.calls = round(BURSTS * self._committing_s / self._rows * self._ended / window_s)
            self._since_s, self._rows, self._committing_s, self._ended = now_s, 0, 0.0, 0
