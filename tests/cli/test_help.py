"""Help that teaches, variables of the environment, completion."""

from collections.abc import Callable

import click
import pytest

from batchrouter import __version__
from batchrouter.cli.group import batchrouter

from .conftest import Asked, Shell, a_report

COMMANDS = sorted(batchrouter.commands)


def test_these_are_the_commands() -> None:
    expected = "cache demo doctor estimate evaluate export init purge report resume retry route run status verify"
    assert expected.split() == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_example_and_takes_the_common_options(shell: Shell, command: str) -> None:
    text = shell(command, "--help").out
    assert f"  batchrouter {command}" in text
    for option in ("--config", "--db", "--json", "--quiet", "--verbose", "--log-format"):
        assert option in text


def test_the_group_shows_two_ways_to_begin(shell: Shell) -> None:
    text = shell("--help").out
    assert "--demo" in text
    assert "_BATCHROUTER_COMPLETE" in text
    assert shell("-h").out == text


def test_version(shell: Shell) -> None:
    assert shell("--version").out == f"batchrouter, version {__version__}\n"


def test_no_command_is_wrong_usage(shell: Shell) -> None:
    assert shell().code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_has_its_variable(command: str) -> None:
    for option in batchrouter.commands[command].params:
        if isinstance(option, click.Option):
            long = next(name for name in option.opts if name.startswith("--"))
            name = f"BATCHROUTER_{command}_{long[2:]}".replace("-", "_").upper()
            assert isinstance(option.envvar, list)
            assert option.envvar[0] == name


def test_variables_of_the_environment_serve_and_options_win(
    shell: Shell, stand_in: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = stand_in("run", a_report(), awaited=True)
    monkeypatch.setenv("BATCHROUTER_DB", "every.db")
    monkeypatch.setenv("BATCHROUTER_RUN_LIMIT", "5")
    shell("run", "in.jsonl")
    assert (str(asked.named["db"]), asked.named["options"].limit) == ("every.db", 5)
    monkeypatch.setenv("BATCHROUTER_RUN_DB", "run.db")
    shell("run", "in.jsonl", "--limit", "6")
    assert (str(asked.named["db"]), asked.named["options"].limit) == ("run.db", 6)


def test_a_variable_is_named_as_its_option(
    shell: Shell, stand_in: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = stand_in("export", 0)
    monkeypatch.setenv("BATCHROUTER_EXPORT_FORMAT", "csv")
    monkeypatch.setenv("BATCHROUTER_EXPORT_STATUS", "done")
    shell("export")
    assert (asked.named["format"], asked.named["statuses"]) == ("csv", ("done",))
