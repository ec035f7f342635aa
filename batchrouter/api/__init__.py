"""One function for each thing that batchrouter does; the command line and programs call the same ones.

All of them raise ``BatchRouterError`` or a child of it for anything that a person can put right. Each is loaded when it
is first used: `status` needs neither an HTTP client nor a configuration.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchrouter.api.caring import cached_decisions, clear_cache, demo, doctor, purge, verify
    from batchrouter.api.evaluating import evaluate
    from batchrouter.api.foreseeing import estimate, route, route_lines
    from batchrouter.api.reading import export, report, results, status
    from batchrouter.api.settings import configuration_template, load_settings, text_or_file
    from batchrouter.api.working import resume, resume_all, retry, run

__all__ = [
    "cached_decisions",
    "clear_cache",
    "configuration_template",
    "demo",
    "doctor",
    "estimate",
    "evaluate",
    "export",
    "load_settings",
    "purge",
    "report",
    "results",
    "resume",
    "resume_all",
    "retry",
    "route",
    "route_lines",
    "run",
    "status",
    "text_or_file",
    "verify",
]

_HOMES = {
    "cached_decisions": "caring",
    "clear_cache": "caring",
    "demo": "caring",
    "doctor": "caring",
    "purge": "caring",
    "verify": "caring",
    "evaluate": "evaluating",
    "estimate": "foreseeing",
    "route": "foreseeing",
    "route_lines": "foreseeing",
    "export": "reading",
    "report": "reading",
    "results": "reading",
    "status": "reading",
    "configuration_template": "settings",
    "load_settings": "settings",
    "text_or_file": "settings",
    "resume": "working",
    "resume_all": "working",
    "retry": "working",
    "run": "working",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'batchrouter.api' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"batchrouter.api.{_HOMES[name]}"), name)
    return value
