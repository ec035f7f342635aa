"""A run in a process of its own that writes a line for each record it is told to be done.

Arguments: input, database, settings as JSON, and what SQLite's ``synchronous`` is to be.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from batchrouter import api
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import BatchRouterError
from batchrouter.core.options import RunOptions
from batchrouter.core.settings import Settings
from batchrouter.store import opening


class Telling(Silent):
    def finished(self, tier: str | None, state: str, baseline_nano: int | None) -> None:
        os.write(sys.stdout.fileno(), b"done\n")


def main(source: str, db: str, settings: str, synchronous: str) -> int:
    opening.PRAGMAS = tuple(
        f"synchronous = {synchronous}" if pragma.startswith("synchronous") else pragma for pragma in opening.PRAGMAS
    )
    run = api.run(
        source,
        db=Path(db),
        settings=Settings.model_validate(json.loads(settings)),
        options=RunOptions(concurrency=8),
        observer=Telling(),
    )
    try:
        return asyncio.run(run).exit_code
    except BatchRouterError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
