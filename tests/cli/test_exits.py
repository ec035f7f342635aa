"""Each way to end has its exit code and its sentence."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from batchrouter.core import errors
from batchrouter.core.errors import BatchRouterError, ExitCode
from tests.rights import anothers_rights, public_folder

from .conftest import TICKETS, Asked, Shell

__all__ = ["public_folder"]
KINDS = {
    errors.WrongUsage: 2,
    errors.InputUnfit: 65,
    errors.DatabaseUnfit: 65,
    errors.InputMissing: 66,
    errors.StorageFailed: 74,
    errors.Interrupted: 75,
    errors.ConfigurationError: 78,
}
StandIn = Callable[..., Asked]


@pytest.mark.parametrize(("kind", "code"), KINDS.items())
def test_every_error_has_its_code_and_a_sentence(
    shell: Shell, stand_in: StandIn, kind: type[BatchRouterError], code: int
) -> None:
    stand_in("report", kind("it is so", "do this"))
    ended = shell("report")
    assert (ended.code, ended.out, ended.err) == (code, "", "error: it is so\nhint: do this\n")


@pytest.mark.parametrize(("kind", "code"), KINDS.items())
def test_every_error_is_an_object_with_json(
    shell: Shell, stand_in: StandIn, kind: type[BatchRouterError], code: int
) -> None:
    stand_in("report", kind("₹ \udcff", "do this"))
    ended = shell("report", "--json")
    assert ended.code == code
    error = json.loads(ended.out)["error"]
    assert error == {"code": ExitCode(code).name.lower(), "message": "₹ \udcff", "hint": "do this"}
    assert ended.err == ""


def test_an_error_without_a_hint_has_none(shell: Shell, stand_in: StandIn) -> None:
    stand_in("report", errors.InputMissing("gone"))
    assert shell("report").err == "error: gone\n"


def test_messages_cannot_drive_the_terminal(shell: Shell, stand_in: StandIn) -> None:
    stand_in("report", errors.StorageFailed("two\nlines \x1b[2J"))
    assert shell("report").err == "error: two\nlines ·[2J\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("rum",),
        ("run",),
        ("run", "in.jsonl", "--bugdet", "5"),
        ("run", "in.jsonl", "--limit", "0"),
        ("run", "-"),
        ("run", "in.jsonl", "--id-field", "id"),
        ("route",),
        ("route", "text", "-i", "in.jsonl"),
        ("export", "--format", "xml"),
        ("export", "--status", "finished"),
        ("retry", "--status", "rejected"),
        ("demo", "--fault", "fire=0.5"),
        ("demo", "--fault", "reset=0.7", "--fault", "slow=0.7"),
        ("init", "--gateway", "mine"),
    ],
)
def test_wrong_usage_is_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


def test_wrong_usage_is_an_object_with_json(shell: Shell) -> None:
    ended = shell("report", "--jsno", "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(("rum", "x"), "run"), (("exprot",), "export"), (("run", "x", "--bugdet", "5"), "--budget")],
)
def test_did_you_mean(shell: Shell, arguments: tuple[str, ...], meant: str) -> None:
    assert meant in shell(*arguments).err


@pytest.mark.parametrize("command", ["status", "report", "export", "verify", "resume", "retry"])
def test_a_database_that_is_not_there_is_66_and_stays_so(shell: Shell, command: str) -> None:
    ended = shell(command, "--db", "none.db")
    assert ended.code == 66
    assert shell(command, "--db", "none.db").code == 66, "no command made it"


@pytest.mark.parametrize("command", ["status", "report", "export", "verify", "resume", "retry", "evaluate", "cache"])
def test_after_a_demo_its_database_is_named(shell: Shell, command: str) -> None:
    assert shell("run", str(TICKETS), "--demo", "--limit", "1").code == 4
    ended = shell(command)
    assert ended.code == 66
    assert ended.err == (
        "error: there is no database batchrouter.db\nhint: Runs with --demo have their own: --db batchrouter-demo.db\n"
    )
    assert "--demo" not in shell(command, "--db", "other.db").err, "another one was meant"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "none.jsonl"),
        ("estimate", "none.jsonl"),
        ("route", "-i", "none.jsonl"),
        ("run", "x.jsonl", "--config", "none.toml"),
        ("retry", "--ids", "none.txt"),
    ],
)
def test_a_file_that_is_not_there_is_66_and_not_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell(*arguments).code == 66


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--db", "secret"),
        ("run", "in.jsonl", "--db", "secret"),
        ("route", "hello", "--config", "secret"),
        ("evaluate", "--db", "runs.db", "--gold", "secret"),
    ],
)
def test_a_file_that_may_not_be_read_is_66_and_not_2(
    shell: Shell, public_folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    assert shell("run", str(TICKETS), "--demo", "--limit", "1", "--db", str(public_folder / "runs.db")).code == 4
    public_folder.chmod(0o777)
    monkeypatch.chdir(public_folder)
    Path("in.jsonl").write_text('{"prompt": "hi"}\n')
    shell(*arguments)  # whatever is loaded for it is loaded by root
    Path("runs.db").chmod(0o666)
    Path("secret").write_text("")
    Path("secret").chmod(0o000)
    Path("secret.lock").unlink(missing_ok=True)
    with anothers_rights():
        ended = shell(*arguments)
    assert (ended.code, ended.out) == (66, "")
    assert "secret" in ended.err


@pytest.mark.parametrize("arguments", [("report",), ("report", "--json")])
def test_ctrl_c_is_75(shell: Shell, stand_in: StandIn, arguments: tuple[str, ...]) -> None:
    stand_in("report", KeyboardInterrupt())
    ended = shell(*arguments)
    assert ended.code == 75
    assert "interrupted" in ended.out + ended.err


def test_our_own_fault_is_1_with_a_traceback(shell: Shell, stand_in: StandIn) -> None:
    stand_in("report", ZeroDivisionError("oh"))
    ended = shell("report")
    assert (ended.code, ended.out) == (1, "")
    assert "Traceback" in ended.err
    assert "error: ZeroDivisionError: oh\nhint: This is a fault of batchrouter" in ended.err


def test_our_own_fault_is_json_too(shell: Shell, stand_in: StandIn) -> None:
    stand_in("report", ZeroDivisionError("oh"))
    ended = shell("report", "--json", "--log-format", "json")
    assert json.loads(ended.out)["error"]["code"] == "fault"
    assert "Traceback" in json.loads(ended.err)["traceback"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_full_or_broken_disk_is_74(shell: Shell, stand_in: StandIn, number: int) -> None:
    stand_in("report", OSError(number, "the disk says no"))
    ended = shell("report")
    assert ended.code == 74
    assert "Traceback" not in ended.err


def test_a_reader_that_has_had_enough_is_no_error(shell: Shell, stand_in: StandIn) -> None:
    stand_in("report", BrokenPipeError(errno.EPIPE, "Broken pipe"))
    ended = shell("report")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
