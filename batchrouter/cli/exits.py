"""The one place where exceptions become exit codes and sentences."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence

import click

from batchrouter.core.errors import BatchRouterError, ExitCode

log = logging.getLogger("batchrouter")


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Whatever goes wrong is a sentence on stderr, or an object with ``--json``."""
    from batchrouter.cli.group import batchrouter  # noqa: PLC0415 - the commands import this module

    as_json = "--json" in arguments
    try:
        code = batchrouter.main(list(arguments), prog_name="batchrouter", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _tell(ExitCode.INTERRUPTED, "interrupted", "stopped", "", as_json=as_json)
    except click.ClickException as error:
        if as_json:
            return _tell(ExitCode.USAGE, "usage", error.format_message(), "", as_json=True)
        error.show()
        return ExitCode.USAGE
    except BatchRouterError as error:
        return _tell(error.exit_code, error.code, error.message, error.hint, as_json=as_json)
    except BrokenPipeError:
        # Whoever read our output has had enough of it. Point stdout elsewhere, so that the flush at exit is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        log.exception("a fault of batchrouter itself")
        message = f"{type(error).__name__}: {error}"
        hint = "This is a fault of batchrouter; the traceback is in the log above. What was committed is intact."
        return _tell(ExitCode.FAULT, "fault", message, hint, as_json=as_json)
    return code if isinstance(code, int) else ExitCode.OK


def _tell(code: ExitCode, name: str, message: str, hint: str, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": {"code": name, "message": message, "hint": hint}}, ensure_ascii=False))
    else:
        click.echo(f"error: {message}", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)
    return code
