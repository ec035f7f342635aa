"""Real processes: killed, signalled, crowded; and the command line's own promises."""

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from tests.acceptance.conftest import Gateway, Job, completion
from tests.canary import CANARY, files_with_key, holds_key

BATCHROUTER = [sys.executable, "-m", "batchrouter"]


def config(job: Job) -> Path:
    """The job's settings as a file."""
    lines = [f'[gateway]\nbase_url = "{job.gateway.base_url}"\napi_key_env = "TEST_KEY"']
    for name, tier in job.settings["tier"].items():
        lines.append(f"[tier.{name}]\nmodels = {json.dumps(tier['models'])}\nmax_output_tokens = 100")
    for name, model in job.settings["model"].items():
        lines.append(f"[model.{name}]\ninput = {model['input']}\noutput = {model['output']}\nconcurrency = 8")
    path = job.folder / "batchrouter.toml"
    path.write_text("\n".join(lines))
    return path


async def started(job: Job, *arguments: str, preexec_fn: Callable[[], None] | None = None, **environ: str) -> Process:
    """The command in a process of its own, in the job's folder."""
    return await asyncio.create_subprocess_exec(
        *BATCHROUTER,
        *arguments,
        cwd=job.folder,
        env={**os.environ, "TEST_KEY": CANARY, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=preexec_fn,
    )


async def ran(job: Job, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = await started(job, *arguments, **environ)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def until(event: asyncio.Event, process: Process) -> None:
    """Wait for what the gateway sees; a process that ended before it has failed."""
    waits = [asyncio.create_task(event.wait()), asyncio.create_task(process.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    assert event.is_set(), process.returncode


async def said(process: Process, words: str) -> str:
    """Read the log until the program says this."""
    assert process.stderr
    log = ""
    async for line in process.stderr:
        assert not holds_key(line)
        log += line.decode()
        if words in log:
            return log
    raise AssertionError(f"the program never said {words!r}")


def held_after(gateway: Gateway, requests: int) -> asyncio.Event:
    """Let so many requests through, hold all later ones, and say when the first is held."""
    reached = asyncio.Event()

    async def hold() -> Any:
        reached.set()
        await asyncio.Event().wait()

    gateway.reply = lambda _body, n: completion() if n < requests else hold()
    return reached


async def test_after_several_kills_every_line_is_answered_once_and_double_payments_are_bounded_and_told(
    job: Job,
) -> None:
    chance = random.Random(0)
    config(job)
    job.prompts(*(f"question {n}" for n in range(400)))
    for _ in range(3):
        reached = held_after(job.gateway, len(job.gateway.requests) + chance.randint(1, 90))
        process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "8")
        await until(reached, process)
        process.kill()
        await process.communicate()
    job.gateway.reply = lambda _body, _n: completion()
    code, out, err = await ran(job, "run", "in.jsonl", "--db", "runs.db", "--json")
    assert code == 0, err
    run = json.loads(out)["run"]
    assert job.rows("SELECT count(*), count(DISTINCT line) FROM results WHERE state = 'done'") == [(400, 400)]
    repeated = len(job.gateway.requests) - 400
    assert 0 < repeated <= run["unknown_calls"] <= 3 * 8
    job.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_lets_calls_in_flight_finish_and_nothing_is_paid_twice(job: Job, number: signal.Signals) -> None:
    config(job)
    if number is signal.SIGHUP:  # ignored by whoever runs the tests under nohup, and then by the program too
        signal.signal(number, signal.SIG_DFL)
    go_on = asyncio.Event()
    reached = asyncio.Event()

    async def slow() -> Any:
        reached.set()
        await go_on.wait()
        return completion()

    job.gateway.reply = lambda _body, n: completion() if n < 20 else slow()
    job.prompts(*(f"question {n}" for n in range(200)))
    process = await started(job, "run", "in.jsonl", "--db", "runs.db")
    await until(reached, process)
    process.send_signal(number)
    await said(process, "no new calls")
    go_on.set()
    _, told = await process.communicate()
    assert process.returncode == 75
    assert f"stopped: interrupted by {number.name}\n" in told.decode()
    seen = len(job.gateway.requests)
    assert job.rows("SELECT count(*) FROM records WHERE state = 'done'") == [(seen,)]
    assert job.rows("SELECT count(*) FROM attempts WHERE state = 'unknown'") == [(0,)]
    job.gateway.reply = lambda _body, _n: completion()
    code, _, err = await ran(job, "resume", "--db", "runs.db")
    assert code == 0, err
    assert len(job.gateway.requests) == 200
    job.check()


async def test_a_second_signal_leaves_at_once_and_tells_what_may_have_been_paid(job: Job) -> None:
    config(job)
    reached = held_after(job.gateway, 5)
    job.prompts(*(f"question {n}" for n in range(50)))
    process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--grace", "600")
    await until(reached, process)
    process.send_signal(signal.SIGINT)
    await said(process, "no new calls")
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 75
    assert job.rows("SELECT count(*) > 0 FROM attempts WHERE state = 'unknown'") == [(1,)]
    assert job.rows("SELECT count(*) FROM attempts WHERE state = 'open'") == [(0,)]
    job.check()


async def test_a_second_process_is_told_who_holds_the_database(job: Job) -> None:
    config(job)
    reached = held_after(job.gateway, 0)
    job.prompts("hi")
    first = await started(job, "run", "in.jsonl", "--db", "runs.db")
    await until(reached, first)
    code, _, err = await ran(job, "run", "in.jsonl", "--db", "runs.db")
    assert code == 75
    assert f"pid {first.pid}" in err
    code, out, _ = await ran(job, "status", "--db", "runs.db", "--json")
    assert code == 0
    assert json.loads(out)["runs"][0]["oldest_open"][0]["line"] == 1
    first.kill()
    await first.communicate()
    job.gateway.reply = lambda _body, _n: completion()
    assert (await ran(job, "run", "in.jsonl", "--db", "runs.db"))[0] == 0


async def test_status_tells_a_run_that_works_from_one_whose_process_was_killed(job: Job) -> None:
    config(job)
    reached = held_after(job.gateway, 3)
    job.prompts(*(f"question {n}" for n in range(20)))
    process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "4")
    await until(reached, process)
    while len(api.status(job.db)[0].oldest_open) < 4:
        await asyncio.sleep(0)
    code, out, _ = await ran(job, "status", "--db", "runs.db")
    (line,) = [line for line in out.splitlines() if line.startswith("1 ")]
    assert (code, line.split()[2]) == (0, "running")
    assert re.findall(r"^in flight for \d+ s: run 1, line \d+, small$", out, re.MULTILINE) == out.splitlines()[2:]
    assert len(out.splitlines()) == 6
    assert api.report(db=job.db).run.state == "running"
    assert "in flight           4 calls, at most ₹" in (await ran(job, "report", "--db", "runs.db"))[1]
    watching = await started(job, "status", "--db", "runs.db", "--watch")
    assert watching.stdout
    await watching.stdout.readline()
    process.kill()
    await process.communicate()
    code, out, _ = await ran(job, "status", "--db", "runs.db")
    assert code == 0
    assert "interrupted" in out
    assert "`batchrouter resume 1` goes on" in out
    assert "in flight for" not in out
    left_open = "4 calls were open when the process ended, may have been paid: at most ₹"
    assert f"run 1: {left_open}" in out
    (run,) = json.loads((await ran(job, "status", "--db", "runs.db", "--json"))[1])["runs"]
    assert (run["state"], run["oldest_open"], run["unknown_calls"]) == ("interrupted", [], 0)
    report = (await ran(job, "report", "--db", "runs.db"))[1]
    assert "interrupted" in report.splitlines()[0]
    assert f"possibly paid twice {left_open}" in report
    seen, _ = await watching.communicate()
    assert (watching.returncode, b"interrupted" in seen) == (0, True)
    job.gateway.reply = lambda _body, _n: completion()
    assert (await ran(job, "resume", "--db", "runs.db"))[0] == 0
    counted = api.report(db=job.db)
    assert (counted.run.unknown_calls, counted.open_calls) == (run["open_calls"]["calls"], None)
    assert counted.run.unknown_cost == pytest.approx(run["open_calls"]["cost"])


async def test_a_dead_run_is_told_from_another_one_that_works_on_the_same_database(job: Job) -> None:
    config(job)
    for name in ("dead", "alive"):
        reached = held_after(job.gateway, len(job.gateway.requests) + 2)
        job.prompts(*(f"question {n}" for n in range(20)))
        process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--name", name)
        await until(reached, process)
        if name == "dead":
            process.kill()
            await process.communicate()
    assert [(one.summary.name, one.summary.state) for one in api.status(job.db)] == [
        ("dead", "interrupted"),
        ("alive", "running"),
    ]
    process.kill()
    await process.communicate()
    job.gateway.reply = lambda _body, _n: completion()
    code, _, err = await ran(job, "resume", "--all", "--db", "runs.db")
    assert code == 0, err
    assert {one.summary.state for one in api.status(job.db)} == {"finished"}
    job.check()


async def test_records_of_a_killed_run_can_be_queued_again_before_it_goes_on(job: Job) -> None:
    config(job)
    reached = held_after(job.gateway, 5)
    job.prompts(*(f"question {n}" for n in range(20)))
    process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "2")
    await until(reached, process)
    process.kill()
    await process.communicate()
    code, out, err = await ran(job, "retry", "--status", "done", "--queue-only", "--db", "runs.db")
    assert (code, "records queued again" in out) == (0, True), err
    job.check()
    job.gateway.reply = lambda _body, _n: completion()
    assert (await ran(job, "resume", "--db", "runs.db"))[0] == 0
    job.check()


async def test_stdin_is_taken_in_completely_before_the_first_call(job: Job) -> None:
    config(job)
    process = await asyncio.create_subprocess_exec(
        *BATCHROUTER, "run", "-", "--name", "piped", "--db", "runs.db",
        cwd=job.folder, env={**os.environ, "TEST_KEY": CANARY}, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(b'{"prompt": "%b"}\n' % (b"one " * 200) * 1200)
    await process.stdin.drain()
    while not (job.db.exists() and _count(job.db)):
        await asyncio.sleep(0)
    assert job.gateway.requests == []
    await process.communicate(b'{"prompt": "last"}')
    assert process.returncode == 0
    assert len(job.gateway.requests) == 1201


def _count(db: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "nowhere.jsonl"], 66, "nowhere.jsonl"),
        (["run", "in.jsonl", "--config", "nowhere.toml"], 66, "nowhere.toml"),
        (["run", "-"], 2, "--name"),
        (["run", "in.jsonl", "--budget", "lots"], 2, "not an amount"),
        (["run", "in.jsonl", "--until", "25:00"], 2, "not a time"),
        (["rum", "in.jsonl"], 2, "run"),
        (["run", "in.jsonl", "--budgt", "5"], 2, "--budget"),
        (["status", "--db", "nowhere.db"], 66, "there is no database"),
        (["report", "--db", "text.db"], 65, "not an SQLite database"),
        (["run", "in.jsonl", "--db", "text.db"], 65, "not an SQLite database"),
        (["run", "in.jsonl", "--db", "other.db"], 65, "other tables"),
        (["run", "in.jsonl", "--db", "no/such/folder/x.db"], 74, "no/such/folder"),
        (["resume", "--db", "nowhere.db"], 66, "there is no database"),
        (["route"], 2, "TEXT"),
    ],
)
async def test_mistakes_are_sentences_with_their_exit_code(
    job: Job, arguments: list[str], code: int, says: str
) -> None:
    config(job)
    job.prompts("hi")
    (job.folder / "text.db").write_text("this is not a database, it is a letter to somebody" * 30)
    connection = sqlite3.connect(job.folder / "other.db")
    connection.execute("CREATE TABLE shopping (item)")
    connection.close()
    got, out, err = await ran(job, *arguments)
    assert (got, "Traceback" in err) == (code, False)
    assert says in err
    assert out == ""
    if code != 2:
        _, out, _ = await ran(job, *arguments, "--json")
        assert says in json.loads(out)["error"]["message"]


async def test_a_missing_key_is_78_before_any_call_and_leaves_the_run_startable(job: Job) -> None:
    config(job)
    job.prompts("hi")
    code, _, err = await ran(job, "run", "in.jsonl", "--db", "runs.db", TEST_KEY="")
    assert code == 78
    assert "export TEST_KEY" in err
    assert (await ran(job, "run", "in.jsonl", "--db", "runs.db"))[0] == 0


async def test_nothing_the_program_writes_holds_the_key(job: Job) -> None:
    config(job)
    job.prompts("hi")
    code, out, err = await ran(job, "run", "in.jsonl", "--db", "runs.db", "-v")
    assert code == 0
    assert files_with_key(job.folder) == []
    assert not holds_key(out + err)


async def test_the_database_is_its_owners_alone(job: Job) -> None:
    config(job)
    job.prompts("hi")
    await ran(job, "run", "in.jsonl", "--db", "runs.db", "-o", "answers.jsonl")
    assert {oct(path.stat().st_mode & 0o777) for path in (job.db, job.folder / "answers.jsonl")} == {"0o600"}
    assert json.loads((job.folder / "answers.jsonl").read_text())["answer"] == "yes"
