"""What all parts of one running run share."""

from __future__ import annotations

import random
from dataclasses import dataclass

from batchrouter.core.settings import Settings
from batchrouter.engine.budgeting import Budgeting
from batchrouter.engine.stopping import Stop
from batchrouter.ports import Clock, Gateway, Ledger, Observer


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run's configuration, its ports, its budget and its stop."""

    settings: Settings
    ledger: Ledger
    gateway: Gateway
    observer: Observer
    clock: Clock
    chance: random.Random
    budgeting: Budgeting
    stop: Stop
