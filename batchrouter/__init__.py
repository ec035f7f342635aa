"""Run a JSONL file of LLM requests through the cheapest model that does each one well.

The same functions as the command line's, for programs: ``await batchrouter.run("tickets.jsonl", db="night.db")``.
They are loaded when they are first used, so that ``batchrouter --help`` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchrouter.core.version import VERSION

if TYPE_CHECKING:
    from batchrouter.api import estimate, evaluate, load_settings, report, results, resume, route, run
    from batchrouter.core.errors import (
        BatchRouterError,
        ConfigurationError,
        DatabaseUnfit,
        ExitCode,
        InputMissing,
        InputUnfit,
        Interrupted,
        StorageFailed,
        WrongUsage,
    )
    from batchrouter.core.options import EvaluationOptions, InputOptions, RunOptions
    from batchrouter.core.records import Decision, Record, Result
    from batchrouter.core.settings import Settings

__version__ = VERSION

__all__ = [
    "BatchRouterError",
    "ConfigurationError",
    "DatabaseUnfit",
    "Decision",
    "EvaluationOptions",
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
    "WrongUsage",
    "__version__",
    "estimate",
    "evaluate",
    "load_settings",
    "report",
    "results",
    "resume",
    "route",
    "run",
]

_HOMES = ("core.errors", "core.options", "core.records", "core.settings", "api")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"batchrouter.{home}")
            if hasattr(module, name):
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module 'batchrouter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
