"""For all tests: properties are tried alike on every machine, and no key is left anywhere (``tests/canary.py``)."""

import pytest
from hypothesis import settings

from tests.canary import (  # noqa: F401 - hooks and fixtures of all tests
    outputs_are_watched,
    pytest_runtest_logreport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

settings.register_profile("every time", derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=1_500, deadline=None, database=None, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    """``-m long`` draws far more examples, and other ones each time."""
    settings.load_profile("long" if config.option.markexpr == "long" else "every time")
