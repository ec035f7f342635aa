from __future__ import annotations

import pytest

from batchrouter.core.settings import Settings
from batchrouter.intake.configuration import default_settings


@pytest.fixture(scope="session")
def settings() -> Settings:
    return default_settings()
