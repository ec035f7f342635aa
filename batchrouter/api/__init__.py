"""One function for each thing that batchrouter does; the command line and programs call the same ones.

All of them raise ``BatchRouterError`` or a child of it for anything that a person can put right. Each is loaded when
it is first used: who looks at a database does not wait for an HTTP client.
"""

from typing import TYPE_CHECKING

from batchrouter.api.lazy_names import loaded_when_used

if TYPE_CHECKING:
    from batchrouter.api.demo_gateway import demo
    from batchrouter.api.examining import doctor, verify
    from batchrouter.api.exporting import export, results
    from batchrouter.api.looking import report, status
    from batchrouter.api.planning import (
        configuration_template,
        estimate,
        load_settings,
        route,
        route_lines,
        text_or_file,
    )
    from batchrouter.api.purging import purge
    from batchrouter.api.working import resume, resume_all, retry, run
else:
    __getattr__ = loaded_when_used(
        __name__,
        {
            "batchrouter.api.demo_gateway": ("demo",),
            "batchrouter.api.examining": ("doctor", "verify"),
            "batchrouter.api.exporting": ("export", "results"),
            "batchrouter.api.looking": ("report", "status"),
            "batchrouter.api.planning": (
                "configuration_template",
                "estimate",
                "load_settings",
                "route",
                "route_lines",
                "text_or_file",
            ),
            "batchrouter.api.purging": ("purge",),
            "batchrouter.api.working": ("resume", "resume_all", "retry", "run"),
        },
    )

__all__ = [
    "configuration_template",
    "demo",
    "doctor",
    "estimate",
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
