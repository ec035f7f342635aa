"""The command line as a shell sees it: arguments in; exit code, stdout and stderr out. The api can be a stand-in."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.cli.exits import run_command_line
from batchrouter.cli.group import batchrouter
from batchrouter.core.errors import ExitCode
from batchrouter.reporting.figures import RunReport, RunSummary, Summary

TICKETS = Path(__file__).parents[2] / "sample_inputs" / "tickets.jsonl"
FIGURES = RunSummary(
    run=1,
    name=None,
    input="/data/in.jsonl",
    state="finished",
    started_at="2026-01-31T00:00:00Z",
    finished_at=None,
    records=2,
    done=2,
    failed=0,
    rejected=0,
    pending=0,
    cost=1.0,
    answer_cost=1.0,
    classify_cost=0.0,
    judge_cost=0.0,
    wasted=0.0,
    unknown_cost=0.0,
    unknown_calls=0,
    baseline=3.0,
    saved=2.0,
    saved_pct=66.67,
    currency="INR",
    exit_code=0,
)


def a_report(code: ExitCode = ExitCode.OK, reason: str = "", hint: str = "", **figures: Any) -> RunReport:
    return RunReport(Summary(replace(FIGURES, **figures), (), (), stop_reason=reason or None), code, reason, hint)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Shell = Callable[..., Ended]


@pytest.fixture
def shell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Ended]]:
    """Runs a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("batchrouter")
    before = (list(logger.handlers), logger.propagate, logger.level)

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run_command_line(batchrouter, arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    yield run
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


@dataclass
class Asked:
    """What a command asked of the api: positional and named arguments of each call."""

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]]

    @property
    def args(self) -> tuple[Any, ...]:
        return self.calls[-1][0]

    @property
    def named(self) -> dict[str, Any]:
        return self.calls[-1][1]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """Puts an answer, or an exception, in the place of one function of the api."""

    def place(function: str, answer: Any, *, awaited: bool = False) -> Asked:
        asked = Asked([])

        def call(*args: Any, **named: Any) -> Any:
            asked.calls.append((args, named))
            if isinstance(answer, BaseException):
                raise answer
            return answer

        async def awaited_call(*args: Any, **named: Any) -> Any:
            return call(*args, **named)

        monkeypatch.setattr(api, function, awaited_call if awaited else call)
        return asked

    return place
