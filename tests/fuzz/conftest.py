"""``-m long`` runs the same properties, with the many examples of that profile (``tests/conftest.py``)."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr == "long":
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker("long")
