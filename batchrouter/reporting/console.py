"""A rich console that leaves it to its caller what a closed pipe means. Imported only where something is drawn."""

from __future__ import annotations

import errno
from typing import IO

from rich.console import Console

PLAIN_WIDTH = 4_000
"""Columns of a file or a pipe: nothing is cut or wrapped there, and no table is wider than what it holds."""


class StreamConsole(Console):
    """Plain text unless the stream is a terminal, whatever the environment says.

    ``soft_wrap``: the terminal folds long lines; a display that is drawn over and over must fold them itself.
    """

    def __init__(self, file: IO[str], *, soft_wrap: bool = True) -> None:
        terminal = file.isatty()
        super().__init__(
            file=file,
            width=None if terminal else PLAIN_WIDTH,
            highlight=False,
            markup=False,  # what is printed comes from outside: "[/x]" and ":memo:" are texts
            emoji=False,
            force_terminal=terminal,
            soft_wrap=soft_wrap,
        )

    def on_broken_pipe(self) -> None:
        """Rich would end the process here, in the middle of a run; tell the caller instead."""
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, "the stream was closed")
