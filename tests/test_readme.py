"""The README does not rot: its queries run on a demo run, its configuration is valid, its codes are the program's."""

import asyncio
import io
import re
import sqlite3
import subprocess
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from batchrouter import api
from batchrouter.core.errors import ExitCode
from batchrouter.core.options import RunOptions
from batchrouter.core.settings import Settings
from batchrouter.reporting import terminal

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def demo_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    db = tmp_path_factory.mktemp("readme") / "demo.db"
    for name in ("tickets", "broken_lines"):
        source = str(ROOT / "sample_inputs" / f"{name}.jsonl")
        asyncio.run(
            api.run(
                source,
                db=db,
                settings=api.load_settings(ROOT / "sample_inputs/batchrouter.toml"),
                options=RunOptions(demo=True),
            )
        )
    return db


@pytest.mark.parametrize("query", blocks("sql"))
def test_each_query_runs_and_answers(query: str, demo_db: Path) -> None:
    connection = sqlite3.connect(demo_db)
    if "daily_cost" in query:
        assert connection.execute(query).fetchall() == [], "nobody bills a demo"
        connection.execute("UPDATE runs SET demo = 0")  # for the moment: it is not committed
    rows = connection.execute(query).fetchall()
    connection.close()
    assert rows


def test_there_are_six_queries() -> None:
    assert len(blocks("sql")) == 6


def test_the_configuration_is_valid_once_its_other_tiers_are_there() -> None:
    (text,) = blocks("toml")
    config = tomllib.loads(text, parse_float=Decimal)
    config["tier"] |= {"medium": config["tier"]["simple"], "complex": config["tier"]["simple"]}
    config["model"]["google/gemini-flash-1.5"] = {"input": 7, "output": 28}
    assert Settings.model_validate(config).budget_nano == 500 * 10**9


def test_the_table_of_exit_codes_is_the_programs() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


def test_the_unit_starts_nothing_outside_the_night(tmp_path: Path) -> None:
    (condition,) = re.findall(r"^ExecCondition=/bin/sh -c '(.*)'$", README, flags=re.MULTILINE)
    clock = tmp_path / "date"
    clock.write_text('#!/bin/sh\necho "$HOUR"\n')
    clock.chmod(0o755)
    command = ["/bin/sh", "-c", condition.replace("%%", "%")]
    hours = {
        hour
        for hour in range(24)
        if subprocess.run(command, env={"PATH": str(tmp_path), "HOUR": f"{hour:02}"}, check=False).returncode == 0
    }
    assert hours == {22, 23, 0, 1, 2, 3, 4, 5}, "--until 06:30 is the one of the same night"


def test_the_sample_tickets_save_money_in_rupees(demo_db: Path) -> None:
    run = api.report("1", db=demo_db).run
    assert (run.currency, run.done, run.records) == ("INR", 60, 60)
    assert run.saved is not None
    assert run.saved > 0


def test_the_first_output_is_what_the_first_command_prints(demo_db: Path) -> None:
    shown = io.StringIO()
    terminal.print_summary(api.report("1", db=demo_db), shown, Path("batchrouter-demo.db"))
    _, _, *printed = blocks("text")[0].splitlines()
    _, *real = shown.getvalue().splitlines()
    assert [without_latencies(line) for line in printed] == [without_latencies(line) for line in real]


def without_latencies(line: str) -> list[str]:
    """The words of a line, but for what is measured in a tier's."""
    words = line.split()
    return words[:-2] if words and words[0] in ("simple", "medium", "complex") else words


@pytest.mark.parametrize("name", ["tickets.jsonl", "openai_batch.jsonl", "broken_lines.jsonl"])
async def test_each_sample_can_be_estimated(name: str) -> None:
    settings = api.load_settings(ROOT / "sample_inputs/batchrouter.toml")
    estimate = await api.estimate(str(ROOT / "sample_inputs" / name), settings=settings)
    assert estimate.total.records == sum(row.records for row in estimate.tiers) > 0
    assert estimate.total.cost_nano == sum(row.cost_nano or 0 for row in estimate.tiers)
    assert estimate.total.time_s is not None
