"""Options that several commands share, and what they make."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from batchrouter.cli.parameters import Amount, Duration, Failures, TimeOfStop
from batchrouter.core.errors import InputMissing
from batchrouter.core.options import InputOptions, RunOptions

DEFAULT_DB = Path("batchrouter.db")
DEMO_DB = Path("batchrouter-demo.db")
FORCE_AFTER_S = 9.0
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Common:
    """What every command understands."""

    config: Path | None
    db: Path | None
    as_json: bool
    quiet: bool
    verbose: bool
    log_format: str

    def database(self, *, demo: bool = False) -> Path:
        """The database that is meant; runs with the demo gateway have one of their own."""
        return self.db or (DEMO_DB if demo else DEFAULT_DB)

    def existing_database(self) -> Path:
        """The same for what makes none; where no --db was given and only the demo's is there, that one is named."""
        path = self.database()
        if self.db is None and not os.access(path, os.F_OK) and os.access(DEMO_DB, os.F_OK):
            raise InputMissing(f"there is no database {path}", f"Runs with --demo have their own: --db {DEMO_DB}")
        return path


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class _TextLines(logging.Formatter):
    """One line a message; what came from outside cannot drive a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from batchrouter.reporting.terminal import printable_lines  # noqa: PLC0415 - keeps --help quick

        return printable_lines(super().format(record))


def _configure_log(common: Common) -> None:
    handler = logging.StreamHandler(sys.stderr)
    text = _TextLines("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    handler.setFormatter(_JsonLines() if common.log_format == "json" else text)
    logger = logging.getLogger("batchrouter")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if common.quiet else logging.DEBUG if common.verbose else logging.INFO)


def common_options(command: Command) -> Command:
    """Give a command the options of all commands, as one argument ``common``."""

    @functools.wraps(command)
    def with_common(
        *args: Any,
        config: Path | None,
        db: Path | None,
        as_json: bool,
        quiet: bool,
        verbose: bool,
        log_format: str,
        **kwargs: Any,
    ) -> Any:
        common = Common(config, db, as_json, quiet, verbose, log_format)
        _configure_log(common)
        return command(*args, common=common, **kwargs)

    path = click.Path(path_type=Path, readable=False)  # what may not be read is 66, and no wrong usage
    for option in reversed(
        (
            click.option(
                "--config", type=path, envvar="BATCHROUTER_CONFIG", help="Configuration file [./batchrouter.toml]."
            ),
            click.option("--db", type=path, envvar="BATCHROUTER_DB", help="Database file [./batchrouter.db]."),
            click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout and nothing else."),
            click.option(
                "-q",
                "--quiet",
                is_flag=True,
                help="No progress, only warnings and results; of findings only what is not ok.",
            ),
            click.option("-v", "--verbose", is_flag=True, help="More in the log."),
            click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True),
        )
    ):
        with_common = option(with_common)
    return with_common


def input_options(command: Command) -> Command:
    """Options that say how lines become requests, as one argument ``input_options``."""

    @functools.wraps(command)
    def with_input(
        *args: Any,
        template: str | None,
        system: str | None,
        id_field: str | None,
        task_field: str | None,
        no_routing: bool,
        **kwargs: Any,
    ) -> Any:
        from batchrouter import api  # noqa: PLC0415 - keeps --help quick

        if template is None and (id_field or task_field):
            raise click.UsageError("--id-field and --task-field belong to --template")
        options = InputOptions(
            template=None if template is None else api.text_or_file(template),
            system=None if system is None else api.text_or_file(system),
            id_field=id_field,
            task_field=task_field,
            no_routing=no_routing,
        )
        return command(*args, input_options=options, **kwargs)

    for option in reversed(
        (
            click.option("--template", metavar="FILE|TEXT", help="Every line is a row; {field} makes the prompt."),
            click.option("--system", metavar="FILE|TEXT", help="A system message for records that have none."),
            click.option("--id-field", metavar="NAME", help="The row's field that is its id."),
            click.option("--task-field", metavar="NAME", help="The row's field that is its task."),
            click.option("--no-routing", is_flag=True, help="Each record keeps the model of its body."),
        )
    ):
        with_input = option(with_input)
    return with_input


router_option = click.option(
    "--router",
    type=click.Choice(["rules", "llm", "rules,llm"]),
    callback=lambda _context, _option, value: value.split(",") if value else None,
    help="Who decides a record's tier: rules, a small model, or a model where the rules are unsure.",
)


def which_run_options(command: Command) -> Command:
    """Options that say which run an input means; they go into the ``options`` of ``run_options`` above."""

    @functools.wraps(command)
    def with_which(
        *args: Any,
        name: str | None,
        demo: bool,
        new: bool,
        options: RunOptions,
        **kwargs: Any,
    ) -> Any:
        return command(*args, options=replace(options, name=name, demo=demo, new=new), **kwargs)

    for option in reversed(
        (
            click.option("--name", help="The run of this name; needed for stdin."),
            click.option("--demo", is_flag=True, help="Use a simulated gateway on this machine: no key, no cost."),
            click.option("--new", is_flag=True, help="Start a new run even if an old one could go on."),
        )
    ):
        with_which = option(with_which)
    return with_which


def run_options(command: Command) -> Command:
    """Options that say how far one invocation goes, as one argument ``options``, and ``budget``."""

    @functools.wraps(command)
    def with_run(
        *args: Any,
        limit: int | None,
        until: Any,
        max_duration: float | None,
        grace: float,
        concurrency: int | None,
        max_failed: Any,
        output: Path | None,
        **kwargs: Any,
    ) -> Any:
        options = RunOptions(
            limit=limit,
            until=until,
            max_duration_s=max_duration,
            grace_s=grace,
            force_after_s=FORCE_AFTER_S,
            concurrency=concurrency,
            max_failed=max_failed,
            output=output,
        )
        return command(*args, options=options, **kwargs)

    for option in reversed(
        (
            click.option("--budget", type=Amount(), help="Most that the run may cost, all its invocations together."),
            click.option(
                "--until",
                type=TimeOfStop(),
                help="Start no call after this: 06:30 (the next one to come), or ISO with offset.",
            ),
            click.option("--max-duration", type=Duration(), help="Start no call after so long: 90s, 15m, 6h."),
            click.option(
                "--limit",
                type=click.IntRange(min=1),
                help="Only the first N records: of the input, or of those that `retry` does again.",
            ),
            click.option(
                "--grace",
                type=click.FloatRange(min=0),
                default=20.0,
                show_default=True,
                help="Seconds for calls in flight after a signal.",
            ),
            click.option("--concurrency", type=click.IntRange(min=1), help="Cap on all calls in flight."),
            click.option("--max-failed", type=Failures(), help="So many failed or rejected records still exit 0."),
            click.option(
                "-o",
                "--output",
                type=click.Path(path_type=Path),
                help="Export all lines here when the run ends, and when it stops with some pending: CSV where the name ends in .csv, else JSON lines.",
            ),
        )
    ):
        with_run = option(with_run)
    return with_run
