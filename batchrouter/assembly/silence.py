"""An observer for programs that want none."""

from __future__ import annotations


class Silent:
    """Implements ``ports.Observer`` and keeps everything to itself."""

    def resumed(self, tier: str | None, state: str, records: int) -> None:
        """Nothing to show."""

    def taken_in(self, tier: str | None, records: int, rejected: int) -> None:
        """Nothing to show."""

    def started(self, tier: str | None) -> None:
        """Nothing to show."""

    def ended(self, tier: str | None, cost_nano: int | None, *, retried: bool) -> None:
        """Nothing to show."""

    def finished(self, tier: str | None, state: str, baseline_nano: int | None) -> None:
        """Nothing to show."""

    def moved(self, before: str | None, after: str) -> None:
        """Nothing to show."""

    def notice(self, message: str) -> None:
        """Nothing to show."""
