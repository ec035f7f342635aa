"""What the program does in threads happens on the loop here, and its connections are those of the simulation."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from batchrouter.assembly import wiring, workplace
from batchrouter.store import ledger
from tests.simulation.store import LoopConnection, empty_database


async def _at_once(function: Any, /, *arguments: Any, **more: Any) -> Any:
    return function(*arguments, **more)


@pytest.fixture(autouse=True)
def on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def reading_beside(path: Path) -> LoopConnection:
        return LoopConnection(path, random.Random(1), isolation_level=None)

    monkeypatch.setattr(asyncio, "to_thread", _at_once)
    monkeypatch.setattr(ledger, "reading_beside", reading_beside)
    monkeypatch.setattr(workplace, "ballast_bytes", lambda _settings, _concurrency: 0)
    monkeypatch.setattr(wiring, "guard_for", lambda _rpm: None)  # it reads the machine's own clock


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "empty.db"
    empty_database(path)
    return path
