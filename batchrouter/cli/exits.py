"""The one place where exceptions become exit codes and sentences."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import click

from batchrouter.core.errors import BatchRouterError, ExitCode

log = logging.getLogger("batchrouter")

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})


class OutputClosed(Exception):
    """Whoever read our output has had enough of it."""


class Commands(click.Group):
    """A group that keeps a closed pipe away from click, which would leave with 1 there and then."""

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise OutputClosed from None
        except KeyboardInterrupt:
            raise click.Abort from None


def run_command_line(group: click.Group, arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Whatever goes wrong is a sentence on stderr, or an object with ``--json``."""
    _prepare_streams()
    interrupt_on_signals()
    code = _exit_code(group, arguments)
    _leave_streams()
    return int(code)


def interrupt_on_signals() -> None:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, also before and after a run looks at them itself."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _exit_code(group: click.Group, arguments: Sequence[str]) -> int:
    as_json = "--json" in arguments
    try:
        code = group.main(list(arguments), prog_name="batchrouter", standalone_mode=False)
    except OutputClosed:
        return ExitCode.OK
    except click.Abort:
        return _tell(ExitCode.INTERRUPTED, "interrupted", "interrupted", "", as_json=as_json)
    except click.ClickException as error:
        if as_json:
            return _tell(ExitCode.USAGE, "usage", error.format_message(), "", as_json=True)
        with suppress(OSError):
            error.show()
        return ExitCode.USAGE
    except BatchRouterError as error:
        return _tell(error.exit_code, error.code, error.message, error.hint, as_json=as_json)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            hint = "What was committed is intact. Free some space, or mend the disk, and start the same command again."
            return _tell(ExitCode.STORAGE, "storage", str(error), hint, as_json=as_json)
        log.exception("a fault of batchrouter itself")
        message = f"{type(error).__name__}: {error}"
        hint = "This is a fault of batchrouter; the traceback is in the log above. What was committed is intact."
        return _tell(ExitCode.FAULT, "fault", message, hint, as_json=as_json)
    return code if isinstance(code, int) else ExitCode.OK


def after_a_run(code: int, show: Callable[[], None], reasons: Iterable[str] = ()) -> int:
    """Show what a run came to, and tell on stderr why.

    Neither stream can take away what belongs on the other, nor the exit code, where it is full or nobody reads it.
    """
    try:
        show()
        sys.stdout.flush()
    except BrokenPipeError:
        _point_elsewhere(sys.stdout)
    except OSError as error:
        _point_elsewhere(sys.stdout)
        reasons = (f"the summary could not be written: {error}; `batchrouter report` shows it again", *reasons)
    with suppress(OSError):
        for reason in reasons:
            click.echo(reason, err=True)
    return code


def in_words(kind: str, message: str, hint: str) -> Iterator[str]:
    """What happened and what to do next, as lines."""
    from batchrouter.reporting.terminal import printable_lines  # noqa: PLC0415 - keeps --help quick

    yield f"{kind}: {printable_lines(message)}"
    if hint:
        yield f"hint: {printable_lines(hint)}"


def _tell(code: ExitCode, name: str, message: str, hint: str, *, as_json: bool) -> int:
    with suppress(OSError):  # nobody reads it: the code says it still
        if as_json:
            click.echo(json.dumps({"error": {"code": name, "message": message, "hint": hint}}))
        else:
            for line in in_words("error", message, hint):
                click.echo(line, err=True)
    return code


def _prepare_streams() -> None:
    """Cron may have closed them, and a locale may lack our signs: neither is a reason to fail.

    What is opened later must not get the number of a standard stream: an event loop refuses to give it back.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for the process's life
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _leave_streams() -> None:
    """Flush now; the interpreter would make an exit code of its own, 120, of what cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _point_elsewhere(stream)


def _point_elsewhere(stream: Any) -> None:
    with suppress(OSError):  # a stream without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
