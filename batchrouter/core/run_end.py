"""The exit code of a run from what its records came to."""

from __future__ import annotations

from collections.abc import Mapping

from batchrouter.core.errors import ExitCode
from batchrouter.core.options import MaxFailed


def exit_code(stopped: ExitCode, records: Mapping[str, int], max_failed: MaxFailed | None) -> ExitCode:
    """``stopped`` is the engine's word (OK: nothing was left to do), ``records`` the number in each state."""
    if stopped is not ExitCode.OK:
        return stopped
    if records.get("queued", 0):
        return ExitCode.FAULT
    not_answered = records.get("failed", 0) + records.get("rejected", 0)
    total = not_answered + records.get("done", 0)
    if not_answered == 0 or (max_failed is not None and max_failed.allows(not_answered, total)):
        return ExitCode.OK
    return ExitCode.SOME_FAILED
