"""A record's tier: its pin, else what the router says; none at all under ``--no-routing``."""

from __future__ import annotations

from dataclasses import dataclass

from batchrouter.core.records import Decision, Record, RequestText
from batchrouter.ports import Router


@dataclass(frozen=True, slots=True)
class Deciding:
    """Decides records. ``router`` None: every record keeps the model that its body names."""

    router: Router | None

    def of(self, record: Record) -> Decision | None:
        """The decision, or None where the router leaves it open."""
        if self.router is None:
            return Decision(None, f"--no-routing: {record.request.requested_model}", "none")
        if record.pinned_tier:
            return Decision(record.pinned_tier, "pinned by the record or its task", "pin")
        return self.of_text(record.text)

    def of_text(self, text: RequestText) -> Decision | None:
        """The decision by the text alone."""
        return self.router.decide(text) if self.router else None
