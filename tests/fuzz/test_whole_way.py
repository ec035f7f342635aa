"""A file of good, hostile and damaged lines, all the way through ``batchrouter run``: lines in, rows out, nothing else."""

import json
import sys

import pytest

from batchrouter.intake.lines import line_digest
from tests.acceptance.conftest import Job, gateway, job  # noqa: F401 - fixtures
from tests.acceptance.test_processes import config, ran
from tests.fuzz.writing import hostile_file, lines_of

ROWS = 'SELECT line, state, "offset", digest FROM records ORDER BY line'


@pytest.mark.parametrize("seed", range(3))
async def test_every_line_of_a_hostile_file_is_a_row_and_every_valid_one_is_answered(
    job: Job,  # noqa: F811
    seed: int,
) -> None:
    sys.stdout.write(f"seed {seed}\n")
    data = hostile_file(seed, 300)
    job.input.write_bytes(data)
    config(job)
    code, out, err = await ran(job, "run", "in.jsonl", "--db", "runs.db", "--json")
    assert code == 3, err
    ((blank, records),) = job.rows("SELECT intake_blank, (SELECT count(*) FROM records) FROM runs")
    assert records == json.loads(out)["run"]["records"]
    written = {line.number: line for line in lines_of(data)}
    rows = {line: (state, offset, digest) for line, state, offset, digest in job.rows(ROWS)}
    assert [written[number].data.strip() for number in written.keys() - rows.keys()] == [b""] * blank
    for number, (_, offset, digest) in rows.items():
        assert (offset, digest) == (written[number].offset, line_digest(written[number].data))
    assert {state for state, _, _ in rows.values()} == {"done", "failed", "rejected"}
    errors = dict(job.rows("SELECT error, status FROM answers WHERE error IS NOT NULL"))
    assert all(
        error.startswith(("expect.", "response_format: ")) for error, status in errors.items() if status == "failed"
    )
    assert all(5 < len(error) <= 300 for error in errors)
    assert job.rows("SELECT count(*), sum(state = 'ok') FROM attempts") == [(len(job.gateway.requests),) * 2]
    job.check()
    for form in ("jsonl", "openai", "csv"):
        code, _, err = await ran(job, "export", "--db", "runs.db", "--format", form, "-o", f"out.{form}")
        assert code == 0, err
    assert len((job.folder / "out.jsonl").read_bytes().splitlines()) == len(rows)
    for command in (["report"], ["status"], ["route", "-i", "in.jsonl"], ["estimate", "in.jsonl"]):
        code, out, err = await ran(job, *command, "--db", "runs.db")
        assert code == 0, err
        assert (out + err).replace("\n", "").isprintable()
