"""Texts that need not be kept leave no trace in the files; figures stay."""

import asyncio
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from batchrouter import api
from batchrouter.core.errors import Interrupted, StorageFailed
from batchrouter.core.options import InputOptions
from batchrouter.store import purging

from .conftest import Job, completion, problem
from .test_processes import config, held_after, ran, started, until

SENT, CAME = "MARKER-SENT", "MARKER-CAME"
LONG = " and more of it" * 400


def traces(job: Job, marker: str) -> dict[str, int]:
    """How often a text stands in the raw bytes of each file of the database."""
    files = {path.name: path.read_bytes().count(marker.encode()) for path in job.folder.glob("runs.db*")}
    return {name: count for name, count in files.items() if count}


def everything_sent(*numbers: int) -> list[dict[str, Any]]:
    """Records with a text wherever a line can have one."""
    return [
        {
            "id": str(n),
            "prompt": f"{SENT}-{n}{LONG if n % 3 == 0 else ''}",
            "metadata": {"note": f"{SENT}-note-{n}"},
            "expect": {"regex": f"{CAME}|{SENT}" if n % 2 else CAME},
        }
        for n in numbers
    ]


async def finished(job: Job, records: int = 60) -> None:
    """A run with done and failed records, whose answers and errors quote what was sent."""
    job.write(everything_sent(*range(records)))

    def reply(body: dict[str, Any], n: int) -> Any:
        if "-7" in body["messages"][-1]["content"]:
            return problem(400, f"{CAME}: no to {body['messages'][-1]['content'][:40]}")
        return completion(f"{CAME}-{n}{LONG if n % 4 == 0 else ''}")

    job.gateway.reply = reply
    await job.run()


async def test_after_a_purge_of_both_no_file_holds_a_word_and_every_figure_is_as_before(job: Job) -> None:
    await finished(job)
    before, states = api.report(db=job.db).as_dict(), job.answers("status, cost, input_tokens, attempts")
    assert before["run"]["failed"] > 0
    assert traces(job, SENT)
    assert traces(job, CAME)
    purged = await api.purge("latest", db=job.db, requests=True, answers=True)
    assert (purged.runs, purged.requests, purged.answers) == ((1,), 60, 60)
    assert purged.bytes_freed > 0
    assert (traces(job, SENT), traces(job, CAME)) == ({}, {})
    assert api.report(db=job.db).as_dict() == before
    assert job.answers("status, cost, input_tokens, attempts") == states
    job.check()
