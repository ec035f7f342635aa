"""The demo gateway on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from batchrouter.assembly import demo_room


async def demo(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 0,
    latency_ms: float = 0.0,
    rpm: float | None = None,
    tpm: float | None = None,
    key: str | None = None,
    ledger: Path | None = None,
    faults: Mapping[str, float],
    ready: Callable[[str], None],
) -> None:
    """Serve the demo gateway until cancelled; ``ready`` is given its first line."""
    await demo_room.serve(
        host=host,
        port=port,
        seed=seed,
        latency_ms=latency_ms,
        rpm=rpm,
        tpm=tpm,
        key=key,
        ledger=ledger,
        faults=faults,
        ready=ready,
    )
