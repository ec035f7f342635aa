"""A job against the fault gateway: run in this process, or in one that may be killed."""

import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.options import RunOptions
from batchrouter.core.settings import Settings
from tests.faults.gateway import PRICES

OF_EACH_MODEL = (3, 3, 2)
CALLS_IN_FLIGHT = sum(OF_EACH_MODEL)


def settings_for(base_url: str, **gateway: Any) -> dict[str, Any]:
    """Settings with prices for the three models of the kit."""
    return {
        "gateway": {"base_url": base_url, "auth": "none", **gateway},
        "tier": {
            tier: {"models": [model], "max_output_tokens": 100}
            for tier, model in zip(("simple", "medium", "complex"), PRICES, strict=True)
        },
        "model": {
            name: {**prices, "concurrency": calls}
            for (name, prices), calls in zip(PRICES.items(), OF_EACH_MODEL, strict=True)
        },
    }


async def run_in(folder: Path, settings: dict[str, Any], **options: Any) -> Any:
    """``batchrouter run`` on the folder's input."""
    return await api.run(
        str(folder / "in.jsonl"),
        db=folder / "runs.db",
        settings=Settings.model_validate(settings),
        options=RunOptions(**options),
    )


def mixed(shares: dict[str, float], seed: int) -> Callable[[int, str], str]:
    """A schedule that draws kinds by their shares; what is left is answered."""
    chance = random.Random(seed)

    def kind(_n: int, _key: str) -> str:
        draw = chance.random()
        for name, share in shares.items():
            draw -= share
            if draw < 0:
                return name
        return "ok"

    return kind


@pytest.fixture(scope="session")
def processes() -> Any:
    """Processes that start in milliseconds, because the program is loaded once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.child"])
    return context
