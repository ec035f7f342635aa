"""The key of all tests is a canary: nothing that the program writes or says may hold it.

When the tests have ended, every file below pytest's temporary folder is searched for it: databases and their logs,
exports, lock files, configurations. What processes and commands say is searched while it passes. A test that itself
has to put the key into a file does so in a file or folder whose name begins with ``given``.
"""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

CANARY = "sk-canary-8c1f5e07d3"
GIVEN = "given"
_NEEDLE = b"canary-8c1f5e07d3"  # without the part that a program might cut off, and in small letters
_BLOCK_BYTES = 1 << 22

leaks: list[str] = []
"""Where the key was found, in this session."""


def holds_key(data: bytes | str | None) -> bool:
    """Whether the key stands in what was written or said, in whatever case."""
    text = data.encode(errors="replace") if isinstance(data, str) else data or b""
    return _NEEDLE in text.lower()


def files_with_key(folder: Path) -> list[Path]:
    """The files below a folder that hold the key, those apart that a test has written with it."""
    return [path for path in _files(folder) if _file_holds_key(path)]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(GIVEN) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def _file_holds_key(path: Path) -> bool:
    before = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if holds_key(before + block):
                return True
            before = block[-len(_NEEDLE) :]
    return False


def _watched(where: str, said: Iterable[Any]) -> None:
    if any(holds_key(text) for text in said if isinstance(text, bytes | str)):
        leaks.append(where)


@pytest.fixture(scope="session", autouse=True)
def outputs_are_watched() -> Iterator[None]:
    """Look at all that processes and commands say to tests."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((subprocess.Popen, "communicate"), (pytest.CaptureFixture, "readouterr")):
            patch.setattr(owner, name, _watching(getattr(owner, name)))
        process = asyncio.subprocess.Process
        patch.setattr(process, "communicate", _watching_awaited(process.communicate))
        yield


def _watching(read: Callable[..., Any]) -> Callable[..., Any]:
    def watching(*args: Any, **kwargs: Any) -> Any:
        said = read(*args, **kwargs)
        _watched(f"what was said in {_test()}", said)
        return said

    return watching


def _watching_awaited(read: Callable[..., Any]) -> Callable[..., Any]:
    async def watching(*args: Any, **kwargs: Any) -> Any:
        said = await read(*args, **kwargs)
        _watched(f"what was said in {_test()}", said)
        return said

    return watching


def _test() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "no test")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What a test has printed or logged itself."""
    _watched(f"what was captured in {report.nodeid}", (text for _, text in report.sections))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search what is left; a key that was found fails the session. A worker process passes on what it has heard."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leaks"] = leaks
        return
    folder = getattr(session.config, "_tmp_path_factory").getbasetemp()  # noqa: B009 - pytest gives it to fixtures only
    leaks.extend(str(path) for path in files_with_key(folder))
    if leaks and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker process has heard."""
    leaks.extend(getattr(node, "workeroutput", {}).get("leaks", ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say where the key was found."""
    if leaks:
        terminalreporter.section("the key of the tests was found where no key may be", red=True)
        for leak in dict.fromkeys(leaks):
            terminalreporter.line(leak)
