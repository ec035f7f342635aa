"""What can go wrong, as exceptions that follow what a person can do about it, each with its exit code.

A run that stops with records pending (gateway, budget, key, time) is no exception: its report has the exit code.

BatchRouterError
├── WrongUsage             2  an option names something that is not there
├── InputUnfit            65  the input, or the database, is not the one this run began with, or none at all
│   └── DatabaseUnfit     65  not a batchrouter database, or a newer one
├── InputMissing          66  a file that should be read is not there or cannot be read
├── StorageFailed         74  the disk refused a write; what was committed is intact
├── Interrupted           75  another process holds the database
└── ConfigurationError    78  a setting must be changed before the run can go on
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command; the numbers from 64 to 78 follow sysexits.h where it has a word for it."""

    OK = 0
    FAULT = 1
    USAGE = 2
    SOME_FAILED = 3
    PLANNED_STOP = 4
    UNFIT = 65
    MISSING = 66
    UNAVAILABLE = 69
    STORAGE = 74
    INTERRUPTED = 75
    BUDGET = 76
    ACCESS = 77
    CONFIGURATION = 78


class BatchRouterError(Exception):
    """Base of all errors a person can act on: what happened, and what to do next."""

    exit_code = ExitCode.FAULT

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """A stable name for programs, for example ``configuration``."""
        return self.exit_code.name.lower()


class WrongUsage(BatchRouterError):
    """An option has a value that nothing can be meant by."""

    exit_code = ExitCode.USAGE


class InputUnfit(BatchRouterError):
    """The input or its settings differ from those that the run began with, or it is no file of lines."""

    exit_code = ExitCode.UNFIT


class DatabaseUnfit(InputUnfit):
    """The file is not a batchrouter database, or one of a newer version."""


class InputMissing(BatchRouterError):
    """A file that the command reads is missing or unreadable."""

    exit_code = ExitCode.MISSING


class StorageFailed(BatchRouterError):
    """A write or sync failed; everything committed before it is intact."""

    exit_code = ExitCode.STORAGE


class Interrupted(BatchRouterError):
    """The database belongs to another process now."""

    exit_code = ExitCode.INTERRUPTED


class ConfigurationError(BatchRouterError):
    """A setting is wrong, missing, or refused by the gateway."""

    exit_code = ExitCode.CONFIGURATION
