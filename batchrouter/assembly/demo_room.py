"""The demo gateway beside a run, and on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from batchrouter.core.errors import ConfigurationError
from batchrouter.core.settings import Settings
from batchrouter.core.tables import GatewaySettings
from batchrouter.intake.configuration import overridden

DEMO_PATIENCE_S = 60.0


@asynccontextmanager
async def demo_settings(settings: Settings, notice: Callable[[str], None]) -> AsyncIterator[Settings]:
    """The settings with a demo gateway, which runs as long as the block, in the place of every gateway."""
    from batchrouter.demo import DemoGateway, banner  # noqa: PLC0415 - a web server, which few runs need

    async with DemoGateway() as gateway:
        notice(banner(gateway.base_url))
        own = GatewaySettings(base_url=gateway.base_url, auth="none", patience_s=DEMO_PATIENCE_S)
        yield overridden(settings, gateway=own)


async def serve(
    *,
    host: str,
    port: int,
    seed: int,
    latency_ms: float,
    rpm: float | None,
    tpm: float | None,
    key: str | None,
    ledger: Path | None,
    faults: Mapping[str, float],
    ready: Callable[[str], None],
) -> None:
    """Serve until cancelled; ``ready`` is given the first line to print, with the address."""
    from batchrouter.demo import DemoGateway, Faults, banner  # noqa: PLC0415

    gateway = DemoGateway(
        seed=seed, latency_ms=latency_ms, rpm=rpm, tpm=tpm, key=key, faults=Faults(**faults), ledger_path=ledger
    )
    try:
        await gateway.start(host=host, port=port)
    except OSError as error:
        raise ConfigurationError(
            f"the demo gateway cannot start: {error.strerror or error}", "Choose another --host, --port or --ledger."
        ) from error
    try:
        ready(banner(gateway.base_url))
        await asyncio.Event().wait()
    finally:
        await gateway.close()
