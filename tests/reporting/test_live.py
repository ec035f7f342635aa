"""The display follows the run and never harms it, whatever happens to its stream."""

import asyncio
import io
import logging
from collections.abc import Iterator

import pytest

from batchrouter.reporting import live
from batchrouter.reporting.progress import Progress, log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Hung(Terminal):
    """A terminal whose window was closed."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.fixture(autouse=True)
def a_terminal_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(live, "REFRESH_S", 0.0)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    propagate, log.propagate = log.propagate, True
    with caplog.at_level(logging.INFO, logger="batchrouter"):
        yield caplog
    log.propagate = propagate


def working() -> Progress:
    progress = Progress()
    progress.taken_in("simple", 3, 0)
    progress.started("simple")
    return progress


async def turns(number: int = 20) -> None:
    """Let other tasks run."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("logged")
async def test_a_table_on_a_terminal() -> None:
    stream, progress, handlers = Terminal(), working(), list(log.handlers)
    async with live.shown(progress, stream=stream, quiet=False):
        await turns()
        progress.notice("the gateway \x1b[2J is down")
        assert log.handlers != handlers, "log lines would tear the table"
    text = stream.getvalue()
    assert "simple" in text
    assert "in flight" in text
    assert "₹0.00" in text
    assert "the gateway ·[2J is down" in text
    assert log.handlers == handlers


@pytest.mark.parametrize("stream", [Hung(), None], ids=["hung", "none"])
async def test_a_lost_stream_does_not_stop_the_run(stream: io.StringIO | None) -> None:
    progress, handlers = working(), list(log.handlers)
    async with live.shown(progress, stream=stream, quiet=False):
        await turns()
        progress.notice("still here")
        await turns()
    assert log.handlers == handlers


async def test_a_closed_stream_does_not_stop_the_run() -> None:
    stream = Terminal()
    async with live.shown(working(), stream=stream, quiet=False):
        await turns()
        stream.close()
        await turns()


async def test_the_runs_own_error_comes_through() -> None:
    async def failing() -> None:
        async with live.shown(working(), stream=Terminal(), quiet=False):
            await turns()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()


@pytest.mark.parametrize(
    ("stream", "log_format", "term"),
    [(io.StringIO(), "text", "xterm"), (Terminal(), "json", "xterm"), (Terminal(), "text", "dumb")],
    ids=["pipe", "json", "dumb"],
)
async def test_log_lines_elsewhere(
    stream: io.StringIO, log_format: str, term: str, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    clock = iter(range(0, 3_000, 30))
    async with live.shown(
        working(),
        stream=stream,
        quiet=False,
        log_format=log_format,
        log_every_s=0.0,
        now_s=lambda: float(next(clock)),
    ):
        await turns(5)
    assert logged.messages[0].startswith("simple 0/3, 1 in flight, 0 retries; 0.0/s, cost ₹0.00")
    assert stream.getvalue() == ""


async def test_quiet_is_quiet(logged: pytest.LogCaptureFixture) -> None:
    stream = Terminal()
    async with live.shown(working(), stream=stream, quiet=True, log_every_s=0.0):
        await turns()
    assert stream.getvalue() == ""
    assert logged.messages == []
