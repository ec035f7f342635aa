"""The group of all commands."""

from __future__ import annotations

import click

from batchrouter.cli import evaluating, forgetting, looking, running, setting_up
from batchrouter.cli.exits import Commands
from batchrouter.core.version import VERSION

_EPILOG = """
\b
A first look, without a key and without cost:
  batchrouter run sample_inputs/tickets.jsonl --demo
\b
Every night, the same command (it resumes what stopped):
  batchrouter run tickets.jsonl --db night.db --budget 500 --until 06:30
\b
Shell completion:
  eval "$(_BATCHROUTER_COMPLETE=bash_source batchrouter)"      # or zsh_source, fish_source
\b
Exit codes: 0 all answered, 3 some failed or rejected, 4 planned stop, 65-78 see the README.
"""


def _variables(command: click.Command, option: click.Option) -> list[str]:
    """BATCHROUTER_<COMMAND>_<OPTION>, named as the option is on the command line, before a variable of its own."""
    long = max(option.opts, key=len).lstrip("-").replace("-", "_").upper()
    own = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
    return [f"BATCHROUTER_{(command.name or '').upper()}_{long}", *own]


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="batchrouter")
def batchrouter() -> None:
    """Run a JSONL file of LLM requests through the cheapest model that does each one well.

    Every line is answered once, every rupee accounted for, in one SQLite file that can be interrupted at will.
    """


for command in (*running.COMMANDS, *looking.COMMANDS, *evaluating.COMMANDS, *forgetting.COMMANDS, *setting_up.COMMANDS):
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            parameter.envvar = _variables(command, parameter)
    batchrouter.add_command(command)
