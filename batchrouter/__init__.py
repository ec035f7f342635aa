"""Run a JSONL file of LLM requests through the cheapest model that does each one well.

The same functions as the command line's, for programs: ``await batchrouter.run("tickets.jsonl", db=Path("night.db"))``.
They are loaded when they are first used, so that ``batchrouter --help`` stays quick.
"""

from typing import TYPE_CHECKING

from batchrouter.api.lazy_names import loaded_when_used
from batchrouter.core.version import VERSION

if TYPE_CHECKING:
    from batchrouter.api import estimate, load_settings, report, results, resume, route, run
    from batchrouter.core.errors import (
        BatchRouterError,
        ConfigurationError,
        DatabaseUnfit,
        ExitCode,
        InputMissing,
        InputUnfit,
        Interrupted,
        StorageFailed,
    )
    from batchrouter.core.options import InputOptions, RunOptions
    from batchrouter.core.records import Decision, Record, Result
    from batchrouter.core.settings import Settings
else:
    __getattr__ = loaded_when_used(
        __name__,
        {
            "batchrouter.api": ("estimate", "load_settings", "report", "results", "resume", "route", "run"),
            "batchrouter.core.errors": (
                "BatchRouterError",
                "ConfigurationError",
                "DatabaseUnfit",
                "ExitCode",
                "InputMissing",
                "InputUnfit",
                "Interrupted",
                "StorageFailed",
            ),
            "batchrouter.core.options": ("InputOptions", "RunOptions"),
            "batchrouter.core.records": ("Decision", "Record", "Result"),
            "batchrouter.core.settings": ("Settings",),
        },
    )

__version__ = VERSION

__all__ = [
    "BatchRouterError",
    "ConfigurationError",
    "DatabaseUnfit",
    "Decision",
    "ExitCode",
    "InputMissing",
    "InputOptions",
    "InputUnfit",
    "Interrupted",
    "Record",
    "Result",
    "RunOptions",
    "Settings",
    "StorageFailed",
    "__version__",
    "estimate",
    "load_settings",
    "report",
    "results",
    "resume",
    "route",
    "run",
]


def __dir__() -> list[str]:
    return sorted(__all__)
