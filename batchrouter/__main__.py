"""``python -m batchrouter`` and the ``batchrouter`` command."""

from __future__ import annotations

import sys

from batchrouter.cli.exits import run_command_line
from batchrouter.cli.group import batchrouter


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run_command_line(batchrouter, sys.argv[1:]))


if __name__ == "__main__":
    main()
