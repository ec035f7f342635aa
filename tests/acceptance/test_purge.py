"""Texts that need not be kept leave no trace in the files; states, counts, tokens and costs stay."""

import asyncio
import json
import random
import resource
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.assembly.silence import Silent
from batchrouter.core.errors import InputMissing, InputUnfit, Interrupted
from batchrouter.core.options import InputOptions, RetrySelection
from batchrouter.core.settings import Settings
from batchrouter.store import opening

from .conftest import Job, completion, problem
from .test_processes import config, held_after, ran, started, until

SENT, CAME = "MARKER-SENT", "MARKER-CAME"
LONG = " and more of it" * 400
BOTH = ("--requests", "--answers")


def traces(job: Job, marker: str) -> dict[str, int]:
    """How often a text stands in the raw bytes of each file of the database."""
    files = {path.name: path.read_bytes().count(marker.encode()) for path in job.folder.glob("runs.db*")}
    return {name: count for name, count in files.items() if count}


def records(*numbers: int) -> list[dict[str, Any]]:
    """Records with a text wherever a line can have one."""
    return [
        {
            "id": str(n),
            "prompt": f"{SENT}-{n}-{LONG if n % 3 == 0 else ''}",
            "metadata": {"note": f"{SENT}-note-{n}"},
            "expect": {"one_of": [f"{SENT}-only-this"]} if n % 10 == 9 else {"regex": CAME},
        }
        for n in numbers
    ]


def reply(body: dict[str, Any], n: int) -> Any:
    """Answers of many sizes; the record 7 is refused with its own words, and 9, 19 … fail their check."""
    prompt = body["messages"][-1]["content"]
    if "-7-" in prompt:
        return problem(400, f"{CAME}: no to {prompt[:40]}")
    return completion(f"{CAME}-{n}{LONG if n % 4 == 0 else ''}")


async def worked(job: Job, count: int = 60) -> None:
    """A finished run with done and failed records."""
    job.write(records(*range(count)))
    job.gateway.reply = reply
    await job.run()


@contextmanager
def reading(job: Job) -> Iterator[sqlite3.Connection]:
    """Somebody looks at the database and does not go away."""
    connection = sqlite3.connect(f"file:{job.db}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM records").fetchone()
        yield connection
    finally:
        connection.close()


@pytest.fixture
def without_secure_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a build of SQLite that does not overwrite what it deletes, and a program that does not ask for it."""
    pragmas = [pragma for pragma in opening.PRAGMAS if "secure_delete" not in pragma]
    monkeypatch.setattr(opening, "PRAGMAS", (*pragmas, "secure_delete = OFF"))


async def test_after_a_purge_no_file_holds_a_word_and_every_figure_is_as_before(job: Job) -> None:
    await worked(job)
    columns = "id, task, status, tier, cost_nano, input_tokens, output_tokens, attempts, finish_reason, finished_at"
    before, rows = api.report(db=job.db).as_dict(), job.answers(columns)
    assert (before["run"]["done"], before["run"]["failed"]) == (53, 7)
    assert traces(job, SENT)
    assert traces(job, CAME)
    purged = await api.purge("latest", db=job.db, requests=True, answers=True)
    assert (purged.runs, purged.requests, purged.answers) == ((1,), 60, 60)
    assert purged.bytes_freed > 100_000
    assert (traces(job, SENT), traces(job, CAME)) == ({}, {})
    assert api.report(db=job.db).as_dict() == before
    assert job.answers(columns) == rows
    job.check()
    again = await api.purge("latest", db=job.db, requests=True, answers=True)
    assert (again.requests, again.answers) == (0, 0)


async def test_each_kind_goes_alone(job: Job) -> None:
    job.write({"prompt": f"{SENT}-{n}"} for n in range(5))
    job.gateway.reply = lambda _body, n: completion(f"{CAME}-{n}")
    await job.run()
    await api.purge("1", db=job.db, requests=True)
    assert traces(job, SENT) == {}
    assert sorted(job.answers("answer")) == [(f"{CAME}-{n}",) for n in range(5)]
    await api.purge("1", db=job.db, answers=True)
    assert traces(job, CAME) == {}
    job.check()


@pytest.mark.usefixtures("without_secure_delete")
async def test_what_was_deleted_by_a_program_that_did_not_overwrite_goes_too(job: Job) -> None:
    await worked(job)
    connection = sqlite3.connect(job.db)
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("UPDATE requests SET body = NULL, metadata = NULL, expect = NULL")
    connection.commit()
    connection.close()
    assert traces(job, SENT)
    await api.purge("1", db=job.db, requests=True, answers=True)
    assert traces(job, SENT) == {}


async def test_records_that_are_still_to_be_done_keep_their_request(job: Job) -> None:
    job.write(records(*range(10)))
    job.gateway.reply = lambda body, n: reply(body, n) if n < 4 else problem(401)
    await job.run(concurrency=1)
    await api.purge("latest", db=job.db, requests=True, answers=True)
    assert job.answers("status, request IS NULL, metadata IS NULL") == [("done", 1, 1)] * 4 + [("pending", 0, 0)] * 6
    job.check()
    job.gateway.reply = reply
    assert (await job.run()).exit_code == 3
    assert job.answers("answer IS NULL")[4:7] == [(0,)] * 3
    job.check()


async def test_the_same_command_after_a_purge_makes_no_call_and_gives_its_summary_again(job: Job) -> None:
    await worked(job)
    before = await job.run()
    calls = len(job.gateway.requests)
    await api.purge("latest", db=job.db, requests=True, answers=True)
    after = await job.run()
    assert (after.exit_code, after.summary.run) == (before.exit_code, before.summary.run)
    assert len(job.gateway.requests) == calls


async def test_a_run_is_as_old_as_its_end(job: Job) -> None:
    for name in ("old", "young", "dead"):
        job.prompts(f"{SENT}-{name}")
        await job.run(name=name)
    connection = sqlite3.connect(job.db)
    connection.execute("UPDATE runs SET finished_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-31 days') WHERE run = 1")
    connection.execute("UPDATE runs SET finished_at = NULL, state = 'running' WHERE run = 3")
    connection.commit()
    connection.close()
    purged = await api.purge(db=job.db, requests=True, older_than_s=30 * 86_400)
    assert purged.runs == (1,)
    assert (await api.purge("young", db=job.db, requests=True, older_than_s=30 * 86_400)).runs == ()
    assert (await api.purge(db=job.db, requests=True, older_than_s=1e12)).runs == ()
    connection = sqlite3.connect(job.db)
    connection.execute("UPDATE results SET finished_at = '2020-01-01T00:00:00.000Z' WHERE run = 3")
    connection.commit()
    connection.close()
    assert (await api.purge(db=job.db, requests=True, older_than_s=30 * 86_400)).runs == (1, 3)
    assert job.answers("request IS NULL") == [(1,), (0,), (1,)]


async def test_retry_says_that_there_is_no_request_any_more(job: Job) -> None:
    told: list[str] = []

    class Listening(Silent):
        def notice(self, message: str) -> None:
            told.append(message)

    await worked(job, 20)
    await api.purge("latest", db=job.db, requests=True)
    settings = Settings.model_validate(job.settings)
    with pytest.raises(InputUnfit, match="3 records cannot be done again: the request was purged"):
        await api.retry("latest", db=job.db, settings=settings)
    job.write(records(*range(30)))
    await job.run()
    queued, _ = await api.retry("latest", db=job.db, settings=settings, observer=Listening(), queue_only=True)
    assert queued == 1
    assert [line for line in told if "3 records cannot be done again" in line]
    assert (await api.retry("1", db=job.db, settings=settings, which=RetrySelection(tasks=("none",))))[0] == 0
    job.check()


async def test_every_command_says_why_there_is_nothing(job: Job) -> None:
    config(job)
    await worked(job, 20)
    await api.purge("latest", db=job.db, requests=True, answers=True)
    for form in ("jsonl", "csv", "openai"):
        code, out, err = await ran(job, "export", "--db", "runs.db", "--format", form)
        assert (code, "Traceback" in err) == (0, False)
        assert "run 1: 20 requests and 17 answers are empty: they were purged" in err
        assert SENT not in out
        assert CAME not in out
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["error"]["message"] for line in lines} == {"the answer was purged", "purged"}
    assert {line["response"] and line["response"]["body"] for line in lines} == {None}
    for command, code in (("report", 0), ("status", 0), ("verify", 0), ("resume", 3), ("retry", 65)):
        got, out, err = await ran(job, command, "--db", "runs.db")
        assert (got, "Traceback" in err) == (code, False), err
        assert SENT not in out + err
        if command == "report":
            assert "1 × bad_request: purged" in out
        if command == "retry":
            assert "the request was purged" in err
    assert [result.answer for result in api.results(db=job.db)] == [None] * 20


async def test_nothing_is_purged_while_a_run_works(job: Job) -> None:
    config(job)
    reached = held_after(job.gateway, 3)
    job.prompts(*(f"{SENT}-{n}" for n in range(20)))
    process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "2")
    await until(reached, process)
    code, _, err = await ran(job, "purge", "latest", *BOTH, "--yes", "--db", "runs.db")
    assert (code, f"pid {process.pid}" in err) == (75, True)
    process.kill()
    await process.communicate()
    code, out, err = await ran(job, "purge", "latest", *BOTH, "--yes", "--db", "runs.db", "--json")
    assert code == 0, err
    done = job.rows("SELECT count(*) FROM records WHERE state = 'done'")[0][0]
    assert json.loads(out)["purged"]["requests"] == done
    job.check()
    job.gateway.reply = lambda _body, _n: completion()
    assert (await job.run()).exit_code == 0
    job.check()


async def test_who_reads_the_old_rows_is_named_and_a_second_purge_ends_it(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    await worked(job, 20)
    with reading(job):
        with pytest.raises(Interrupted, match="another process reads"):
            await api.purge("latest", db=job.db, requests=True, answers=True)
        assert traces(job, SENT)
    await api.purge("latest", db=job.db, requests=True, answers=True)
    assert (traces(job, SENT), traces(job, CAME)) == ({}, {})


async def refused(job: Job, bytes_a_file: int, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a command whose files may not grow beyond this."""
    limit = (bytes_a_file, bytes_a_file)
    process = await started(job, *arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    _, err = await process.communicate()
    return process.returncode or 0, err.decode()


async def test_without_room_for_the_log_nothing_is_deleted(job: Job) -> None:
    config(job)
    await worked(job)
    before = job.answers("*")
    code, err = await refused(job, 20_000, "purge", "latest", *BOTH, "--yes", "--db", "runs.db")
    assert (code, "Traceback" in err) == (74, False), err
    assert job.answers("*") == before
    job.check()


async def test_without_room_for_a_new_file_the_rows_are_cleared_and_it_says_that_traces_may_be_left(job: Job) -> None:
    config(job)
    job.write({"prompt": f"{SENT}-{n}"} for n in range(100))
    job.gateway.reply = lambda _body, n: completion(f"{CAME}-{n}{LONG}")
    await job.run()
    before = api.report(db=job.db).as_dict()
    command = ("purge", "latest", "--requests", "--yes", "--db", "runs.db")
    code, err = await refused(job, job.db.stat().st_size // 2, *command)
    assert (code, "Traceback" in err) == (74, False), err
    assert "cannot be written anew" in err
    assert "traces of them may be left" in err
    assert job.answers("count(request), count(answer)") == [(0, 100)]
    assert api.report(db=job.db).as_dict() == before
    job.check()
    assert (await ran(job, *command))[0] == 0
    assert traces(job, SENT) == {}


async def test_a_purge_that_is_killed_leaves_a_sound_file_and_the_next_one_ends_it(job: Job) -> None:
    config(job)
    await worked(job, 200)
    before = api.report(db=job.db).as_dict()
    chance = random.Random(1)
    sys.stdout.write("seed 1\n")
    for _ in range(8):
        process = await started(job, "purge", "latest", *BOTH, "--yes", "--db", "runs.db")
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.3 + chance.random() * 0.4)
        if process.returncode is None:
            process.kill()
        await process.communicate()
        assert api.report(db=job.db).as_dict() == before
    job.check()
    await api.purge("latest", db=job.db, requests=True, answers=True)
    assert (traces(job, SENT), traces(job, CAME)) == ({}, {})


async def test_a_run_that_keeps_no_requests_leaves_no_trace_of_those_that_are_done(job: Job) -> None:
    job.settings["run"] = {"keep_requests": "until_done"}
    job.write({"prompt": f"{SENT}-{n}-{LONG * (n % 4)}"} for n in range(2_000))
    assert (await job.run()).exit_code == 0
    assert traces(job, SENT) == {}
    job.check()


async def test_the_row_of_a_template_is_a_request_and_metadata_is_not(job: Job) -> None:
    job.settings["run"] = {"keep_requests": "until_done"}
    job.write([{"prompt": "hi", "metadata": {"note": "kept"}}])
    await job.run()
    job.input_options = InputOptions(template="Judge {text}")
    job.write([{"text": f"{SENT}-{n}"} for n in range(20)])
    await job.run()
    assert job.answers("request, metadata")[:2] == [(None, '{"note": "kept"}'), (None, None)]
    assert traces(job, SENT) == {}


@pytest.mark.usefixtures("without_secure_delete")
async def test_a_run_that_keeps_no_requests_leaves_no_trace_without_secure_delete_either(job: Job) -> None:
    job.settings["run"] = {"keep_requests": "until_done"}
    job.write({"prompt": f"{SENT}-{n}-{LONG * (n % 4)}"} for n in range(200))
    await job.run()
    assert traces(job, SENT) == {}


async def test_a_run_that_keeps_no_requests_leaves_no_trace_after_kills_and_a_resume(job: Job) -> None:
    path = config(job)
    path.write_text(path.read_text() + '\n[run]\nkeep_requests = "until_done"\n')
    job.write({"prompt": f"{SENT}-{n}-{LONG * (n % 4)}"} for n in range(300))
    for _ in range(3):
        reached = held_after(job.gateway, len(job.gateway.requests) + 60)
        process = await started(job, "run", "in.jsonl", "--db", "runs.db", "--concurrency", "4")
        await until(reached, process)
        process.kill()
        await process.communicate()
    job.gateway.reply = lambda _body, _n: completion()
    code, _, err = await ran(job, "resume", "--db", "runs.db")
    assert code == 0, err
    assert traces(job, SENT) == {}
    job.check()


async def test_a_planned_stop_leaves_no_trace_of_requests_that_are_done(job: Job) -> None:
    job.settings["run"] = {"keep_requests": "until_done"}
    job.write({"prompt": f"{SENT}-{n:05d}-{LONG * (n % 4)}"} for n in range(2_000))
    assert (await job.run(limit=1_500)).exit_code == 4
    assert job.answers("count(request)") == [(0,)]
    assert traces(job, SENT) == {}
    assert (await job.run()).exit_code == 0
    assert traces(job, SENT) == {}
    job.check()


async def test_errors_on_the_way_to_an_answer_are_not_kept_with_the_request_that_they_quote(job: Job) -> None:
    """The first generation is refused, the second fails once before it is done."""
    job.settings["run"] = {"keep_requests": "until_done"}
    job.write({"prompt": f"{SENT}-{n}"} for n in range(20))
    refused = {f"{SENT}-7", f"{SENT}-17"}
    failed: set[str] = set()

    def quoting(body: dict[str, Any], _n: int) -> Any:
        prompt = body["messages"][-1]["content"]
        if prompt in refused:
            return problem(400, f"no to {prompt}")
        if prompt in failed:
            return completion()
        failed.add(prompt)
        return problem(500, f"no to {prompt}")

    job.gateway.reply = quoting
    assert (await job.run()).exit_code == 3
    assert job.rows("SELECT count(*) FROM attempts WHERE error LIKE '%MARKER-SENT%'") == [(2,)]
    job.check()
    refused.clear()
    await api.retry("latest", db=job.db, settings=Settings.model_validate(job.settings))
    assert job.answers("DISTINCT status") == [("done",)]
    assert job.rows("SELECT DISTINCT status_code, error FROM attempts WHERE error IS NOT NULL ORDER BY 1") == [
        (400, "purged"),
        (500, "purged"),
    ]
    assert traces(job, SENT) == {}
    job.check()


async def test_why_a_line_was_rejected_goes_with_the_requests_for_it_quotes_the_line(job: Job) -> None:
    job.write([{"prompt": "x", "tier": SENT}, {"prompt": "x", "max_tokens": SENT}, {"prompt": "hi"}])
    await job.run()
    before = api.report(db=job.db).as_dict()
    await api.purge("latest", db=job.db, answers=True)
    assert traces(job, SENT)
    purged = await api.purge("latest", db=job.db, requests=True)
    assert purged.requests == 1
    assert traces(job, SENT) == {}
    assert api.report(db=job.db).as_dict() == before
    assert job.answers("status, error")[:2] == [("rejected", "purged")] * 2
    job.check()


async def test_a_run_ends_well_where_its_file_cannot_be_written_anew(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Listening(Silent):
        def notice(self, message: str) -> None:
            told.append(message)

    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    job.observer = Listening()
    job.settings["run"] = {"keep_requests": "until_done"}
    job.prompts("one")
    await job.run(name="other")
    job.prompts("hi")
    with reading(job):
        assert (await job.run()).exit_code == 0
    assert [line for line in told if "`batchrouter purge --requests`" in line]


def test_a_purge_never_makes_a_database(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        asyncio.run(api.purge("latest", db=tmp_path / "none.db", requests=True))
    assert list(tmp_path.glob("none*")) == []
