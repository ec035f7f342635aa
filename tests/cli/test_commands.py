"""What each command asks of the api, and what it prints of the answer."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from batchrouter.cli import looking
from batchrouter.cli.group import batchrouter
from batchrouter.core.errors import ExitCode, StorageFailed
from batchrouter.core.findings import Finding
from batchrouter.core.options import InputOptions, MaxFailed, RetrySelection
from batchrouter.reporting.figures import RunStatus
from batchrouter.store.purging import Purged

from .conftest import FIGURES, TICKETS, Asked, Shell, a_report

StandIn = Callable[..., Asked]


def test_run_hands_on_every_option(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("run", a_report(), awaited=True)
    Path("template.txt").write_text("Judge {text}")
    words = "run in.jsonl --db x.db --name n --demo --new --template template.txt --system be-brief --id-field i"
    more = "--task-field t --no-routing --budget 12.5 --max-duration 1h --limit 3 --grace 5 --concurrency 7"
    assert shell(*words.split(), *more.split(), "--max-failed", "1%", "-o", "out.jsonl").code == 0
    assert asked.args == ("in.jsonl",)
    assert asked.named["db"] == Path("x.db")
    assert asked.named["settings"].run.budget == Decimal("12.5")
    assert asked.named["input_options"] == InputOptions("Judge {text}", "be-brief", "i", "t", no_routing=True)
    options = asked.named["options"]
    assert (options.name, options.demo, options.new, options.limit) == ("n", True, True, 3)
    assert (options.max_duration_s, options.grace_s, options.concurrency) == (3600, 5, 7)
    assert (options.max_failed, options.output) == (MaxFailed(Decimal(1), is_percent=True), Path("out.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "db"),
    [((), "batchrouter.db"), (("--demo",), "batchrouter-demo.db"), (("--demo", "--db", "mine.db"), "mine.db")],
)
def test_demo_runs_have_a_database_of_their_own(
    shell: Shell, stand_in: StandIn, arguments: tuple[str, ...], db: str
) -> None:
    asked = stand_in("run", a_report(), awaited=True)
    shell("run", "in.jsonl", *arguments)
    assert asked.named["db"] == Path(db)


@pytest.mark.parametrize("code", list(ExitCode))
def test_run_ends_with_the_code_of_its_report(shell: Shell, stand_in: StandIn, code: ExitCode) -> None:
    stand_in("run", a_report(code), awaited=True)
    assert shell("run", "in.jsonl").code == code


def test_run_says_why_it_stopped_on_stderr(shell: Shell, stand_in: StandIn) -> None:
    report = a_report(ExitCode.BUDGET, "the budget is\x1b spent", "raise it", pending=5, state="stopped", exit_code=76)
    stand_in("run", report, awaited=True)
    ended = shell("run", "in.jsonl")
    assert ended.err == "stopped: the budget is· spent\nhint: raise it\n"
    assert "5 pending" in ended.out
    assert "batchrouter resume 1" in ended.out
    assert "spent" not in ended.out, "not twice on one terminal"


def test_a_report_says_why_the_run_stopped(shell: Shell, stand_in: StandIn) -> None:
    stand_in("report", a_report(ExitCode.BUDGET, "the budget is spent", state="stopped", exit_code=76).summary)
    assert "stopped, exit code 76\n  stopped: the budget is spent\n" in shell("report").out
    assert json.loads(shell("report", "--json").out)["stop_reason"] == "the budget is spent"


def test_run_with_json_writes_one_object(shell: Shell, stand_in: StandIn) -> None:
    stand_in("run", a_report(ExitCode.PLANNED_STOP, "enough"), awaited=True)
    ended = shell("run", "in.jsonl", "--json")
    assert ended.code == 4
    assert json.loads(ended.out)["run"]["saved_pct"] == 66.67


@pytest.mark.parametrize("output", ["in.jsonl", "./x.db", "x.db-wal", "x.db.lock"])
def test_run_does_not_write_over_its_sources(shell: Shell, stand_in: StandIn, output: str) -> None:
    asked = stand_in("run", a_report(), awaited=True)
    assert shell("run", "in.jsonl", "--db", "x.db", "-o", output).code == 2
    assert not asked.calls, "before any money is spent"


@pytest.mark.parametrize(("pending", "words"), [(1, "1 pending record"), (1200, "1,200 pending records")])
@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_the_export_of_a_stopped_run_is_said_to_hold_pending_records(
    shell: Shell, stand_in: StandIn, pending: int, words: str, quiet: tuple[str, ...]
) -> None:
    report = a_report(ExitCode.ACCESS, "the key was refused", "look", pending=pending)
    stand_in("run", report, awaited=True)
    told = "stopped: the key was refused\nhint: look\n"
    assert shell("run", "in.jsonl", *quiet).err == told
    ended = shell("run", "in.jsonl", "-o", "out.jsonl", *quiet)
    assert ended.err == f"{told}out.jsonl holds {words}: lines without an answer yet\n"
    stand_in("resume", report, awaited=True)
    assert words in shell("resume", "-o", "out.jsonl", *quiet).err


def test_one_file_does_not_take_the_answers_of_all_runs(shell: Shell) -> None:
    ended = shell("resume", "--all", "-o", "out.jsonl", "--db", "x.db")
    assert ended.code == 2
    assert "-o is the file of one run" in ended.err


@pytest.mark.parametrize(("code", "ends_with"), [(0, 74), (3, 74), (77, 77)])
def test_an_export_that_failed_is_told_after_the_run(
    shell: Shell, stand_in: StandIn, code: int, ends_with: int
) -> None:
    failure = StorageFailed("out.jsonl cannot be written", "export again")
    reason = "the key was refused" if code == 77 else ""
    stand_in("run", replace(a_report(ExitCode(ends_with), reason), export_failure=failure), awaited=True)
    ended = shell("run", "in.jsonl", "-o", "out.jsonl")
    assert ended.code == ends_with
    assert "2 records" in ended.out
    stopped = f"stopped: {reason}\n" if reason else ""
    assert ended.err == f"{stopped}error: out.jsonl cannot be written\nhint: export again\n"
    value = json.loads(shell("run", "in.jsonl", "-o", "out.jsonl", "--json").out)
    assert (value["run"]["done"], value["error"]["code"]) == (2, "storage")


def test_resume_takes_a_run_and_more_budget(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("resume", a_report(ExitCode.SOME_FAILED), awaited=True)
    assert shell("resume", "3", "--budget", "800").code == 3
    assert asked.args == ("3",)
    assert asked.named["settings"].run.budget == 800
    shell("resume")
    assert asked.args == ("latest",)


def test_resume_all_is_one_object_and_the_worst_code(shell: Shell, stand_in: StandIn) -> None:
    reports = [a_report(ExitCode.SOME_FAILED, run=1), a_report(ExitCode.BUDGET, "no money", run=2)]
    stand_in("resume_all", reports, awaited=True)
    ended = shell("resume", "--all", "--json")
    assert ended.code == 76
    assert [one["run"]["run"] for one in json.loads(ended.out)["runs"]] == [1, 2]
    assert ended.err == "stopped: no money\n"


def test_resume_all_with_nothing_to_do(shell: Shell, stand_in: StandIn) -> None:
    stand_in("resume_all", [], awaited=True)
    ended = shell("resume", "--all")
    assert (ended.code, ended.out) == (0, "")
    assert "nothing" in ended.err


def test_retry_chooses(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("retry", (3, None), awaited=True)
    Path("ids").write_text("a\nb\n")
    words = "retry 2 --status done,failed --error server --error lost --task t --ids ids --tier simple --queue-only"
    ended = shell(*words.split(), "--json")
    assert asked.args == ("2",)
    assert asked.named["which"] == RetrySelection(("done", "failed"), ("server", "lost"), ("t",), ("a", "b"), "simple")
    assert asked.named["queue_only"] is True
    assert json.loads(ended.out) == {"queued": 3}


def test_one_is_told_in_the_singular(shell: Shell, stand_in: StandIn) -> None:
    stand_in("retry", (1, None), awaited=True)
    assert shell("retry", "--queue-only").out == "1 record queued again\n"
    stand_in("retry", (1200, None), awaited=True)
    assert shell("retry", "--queue-only").out == "1,200 records queued again\n"
    stand_in("export", 1)
    assert shell("export", "-o", "out.csv").err == "1 row written to out.csv\n"
    stand_in("run", a_report(records=1, done=1), awaited=True)
    assert "  1 record: 1 done, 0 failed" in shell("run", "in.jsonl").out
    stand_in("purge", Purged((1,), 1, 0, 0), awaited=True)
    assert shell("purge", "1", "--answers", "--yes").out.startswith("1 request and 0 answers deleted from 1 run;")


def test_retry_is_of_failed_records_unless_told(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("retry", (1, a_report(ExitCode.SOME_FAILED)), awaited=True)
    assert shell("retry").code == 3
    assert asked.named["which"] == RetrySelection()


def test_an_empty_list_of_ids_is_not_all_records(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("retry", (1, None), awaited=True)
    Path("ids").touch()
    assert shell("retry", "--ids", "ids").code == 2
    assert not asked.calls


def test_estimate_takes_the_options_of_run(shell: Shell) -> None:
    ended = shell("estimate", str(TICKETS), "--name", "n", "--demo", "--limit", "10", "--json")
    assert ended.code == 0
    value = json.loads(ended.out)
    assert list(value) == ["tiers", "total", "assumptions"]
    assert value["total"]["records"] == 10
    assert list(Path().iterdir()) == [], "no database"


def test_estimate_says_where_a_run_would_stop(shell: Shell) -> None:
    slow = re.sub(r"rpm = [\d_]+", "rpm = 5", TICKETS.with_name("batchrouter.toml").read_text())
    Path("batchrouter.toml").write_text(slow)
    said = shell("estimate", str(TICKETS), "--budget", "0.01", "--max-duration", "1s").out
    assert "the cost is over the budget of ₹0.01" in said
    assert "the time is over the 1 s" in said
    said = shell("estimate", str(TICKETS), "--budget", "100", "--max-duration", "1h").out
    assert "is over" not in said


def test_estimate_for_people(shell: Shell) -> None:
    text = shell("estimate", str(TICKETS)).out
    assert "total" in text
    assert "Assumed:" in text


def test_status_with_json(shell: Shell, stand_in: StandIn) -> None:
    stand_in("status", [RunStatus(FIGURES, ())])
    (run,) = json.loads(shell("status", "--json").out)["runs"]
    assert (run["run"], run["oldest_open"]) == (1, [])


def test_watch_looks_until_nothing_runs(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    states, slept = iter(["running", "running", "finished"]), []
    monkeypatch.setattr("batchrouter.api.status", lambda _db: [RunStatus(replace(FIGURES, state=next(states)), ())])
    monkeypatch.setattr(looking.time, "sleep", slept.append)
    assert shell("status", "--watch").code == 0
    assert slept == [looking.WATCH_EVERY_S] * 2


def test_ctrl_c_ends_a_watch_in_peace(shell: Shell, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    stand_in("status", [RunStatus(replace(FIGURES, state="running"), ())])
    monkeypatch.setattr(looking.time, "sleep", interrupted)
    ended = shell("status", "--watch")
    assert (ended.code, ended.err) == (0, "")


def test_export_hands_on(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("export", 7)
    ended = shell("export", "3", "-o", "out.csv", "--format", "csv", "--status", "done,failed")
    assert asked.args == ("3",)
    assert asked.named["destination"] == Path("out.csv")
    assert (asked.named["format"], asked.named["statuses"]) == ("csv", ("done", "failed"))
    assert (ended.out, ended.err) == ("", "7 rows written to out.csv\n")
    shell("export")
    assert (asked.named["destination"], asked.named["format"], asked.named["statuses"]) == (None, None, ())


@pytest.mark.parametrize(("level", "verify", "doctor"), [("ok", 0, 0), ("warning", 0, 0), ("error", 65, 78)])
def test_findings_and_their_codes(shell: Shell, stand_in: StandIn, level: Any, verify: int, doctor: int) -> None:
    stand_in("verify", [Finding(level, "x", "y")])
    stand_in("doctor", [Finding(level, "x", "y")], awaited=True)
    assert shell("verify").code == verify
    assert shell("doctor").code == doctor
    assert json.loads(shell("doctor", "--json").out) == {"findings": [{"level": level, "what": "x", "advice": "y"}]}


@pytest.mark.parametrize("command", ["verify", "doctor"])
def test_quiet_says_only_what_is_not_ok(shell: Shell, stand_in: StandIn, command: str) -> None:
    findings = [Finding("ok", "good"), Finding("warning", "odd", "look"), Finding("error", "bad", "mend")]
    stand_in(command, findings, awaited=command == "doctor")
    assert shell(command, "-q").out == "look  odd\n      → look\nwrong bad\n      → mend\n"
    assert "good" in shell(command).out
    assert len(json.loads(shell(command, "-q", "--json").out)["findings"]) == 3, "programs choose for themselves"
    stand_in(command, findings[:1], awaited=command == "doctor")
    assert shell(command, "-q").out == ""


def test_route_a_text(shell: Shell) -> None:
    assert shell("route", "Compare these contracts").out.startswith("complex  (")
    assert list(json.loads(shell("route", "hello", "--json").out)) == ["tier", "reason", "router"]


def test_route_a_file(shell: Shell) -> None:
    Path("in.jsonl").write_text('{"id": "a\\u001b[2J", "prompt": "label it"}\nnot json\n')
    lines = shell("route", "-i", "in.jsonl").out.splitlines()
    assert lines[0].split()[:3] == ["1", "a·[2J", "simple"]
    assert "rejected: " in lines[1]
    first, second = (json.loads(line) for line in shell("route", "-i", "in.jsonl", "--json").out.splitlines())
    assert (first["line"], first["tier"], second["tier"]) == (1, "simple", None)


def test_demo_serves_what_was_asked(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("demo", None, awaited=True)
    assert shell("demo", "--port", "0", "--rpm", "60", "--fault", "reset=0.1", "--fault", "slow=0.2").code == 0
    assert (asked.named["port"], asked.named["rpm"]) == (0, 60)
    assert asked.named["faults"] == {"reset": 0.1, "slow": 0.2}


@pytest.mark.parametrize("gateway", ["aicredits", "openai", "openrouter", "litellm", "vllm"])
def test_init_writes_a_configuration_that_works(shell: Shell, gateway: str) -> None:
    assert shell("init", "--gateway", gateway).code == 0
    assert shell("route", "hello").code == 0, "./batchrouter.toml is read"
    Path("batchrouter.toml").write_text("mine")
    assert shell("init").code == 2
    assert Path("batchrouter.toml").read_text() == "mine"


def test_init_says_where_with_json(shell: Shell) -> None:
    assert json.loads(shell("init", "--json", "--config", "x.toml").out) == {"config": "x.toml"}
    assert shell("init", "--config", "no/folder.toml").code == 74


PURGED = Purged((1, 2), 3, 4, 5_000_000)


def test_purge_hands_on(shell: Shell, stand_in: StandIn) -> None:
    asked = stand_in("purge", PURGED, awaited=True)
    ended = shell("purge", "3", "--requests", "--older-than", "2w", "--yes", "--db", "x.db")
    assert (ended.code, ended.out) == (0, "3 requests and 4 answers deleted from 2 runs; 5.00 MB freed\n")
    assert asked.args == ("3",)
    assert asked.named == {"db": Path("x.db"), "requests": True, "answers": False, "older_than_s": 1_209_600}
    value = json.loads(shell("purge", "--answers", "--older-than", "30d", "--yes", "--json").out)
    assert value == {"purged": {"runs": [1, 2], "requests": 3, "answers": 4, "bytes_freed": 5_000_000}}
    assert (asked.args, asked.named["answers"]) == ((None,), True)
    stand_in("purge", Purged((), 0, 0, 0), awaited=True)
    assert shell("purge", "1", "--answers", "--yes").out == "no run fits: nothing deleted\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("1", "--yes"), "--requests, --answers or both"),
        (("--requests", "--yes"), "--older-than"),
        (("1", "--requests"), "--yes"),
        (("1", "--requests", "--older-than", "soon", "--yes"), "30d"),
    ],
)
def test_purge_wants_to_be_told_what_and_whose(
    shell: Shell, stand_in: StandIn, arguments: tuple[str, ...], says: str
) -> None:
    asked = stand_in("purge", PURGED, awaited=True)
    ended = shell("purge", *arguments)
    assert (ended.code, says in ended.err, asked.calls) == (2, True, [])


@pytest.mark.parametrize(
    ("answer", "arguments", "question"),
    [
        ("y", ("latest", "--answers"), "Delete the answers of the latest run in batchrouter.db for good? [y/N]"),
        (
            "n",
            ("--requests", "--answers", "--older-than", "30d"),
            "Delete the requests and answers of every run that ended more than 30 days ago in batchrouter.db",
        ),
    ],
)
def test_purge_asks_a_person(
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: str,
    arguments: tuple[str, ...],
    question: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = stand_in("purge", PURGED, awaited=True)
    monkeypatch.setattr("batchrouter.cli.forgetting._can_be_asked", lambda: True)
    ended = CliRunner().invoke(batchrouter, ["purge", *arguments], input=f"{answer}\n", standalone_mode=False)
    assert question in ended.stderr
    assert len(asked.calls) == (answer == "y")
