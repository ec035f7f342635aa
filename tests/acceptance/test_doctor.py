"""``doctor`` as a person calls it, against a gateway that is there."""

import gzip
import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from batchrouter import api
from batchrouter.assembly import machine
from batchrouter.assembly.silence import Silent
from batchrouter.core.findings import Finding
from batchrouter.core.settings import Settings
from batchrouter.intake.sampling import sample
from tests.acceptance.conftest import Job
from tests.acceptance.test_processes import config, ran

EXAMINED = (
    "configuration: batchrouter.toml",
    "every model has a price",
    "will be made by the first run",
    "SQLite",
    "open files",
    "can be read",
    "a run of about 200 lines",
    "the keys are set",
    "answers",
    "clock agrees",
    "knows all 3 configured models",
)


async def examined(job: Job, source: str | None = None) -> list[Finding]:
    return await api.doctor(settings=Settings.model_validate(job.settings), db=job.db, source=source)


async def test_all_that_a_run_needs_is_said_in_one_go(job: Job) -> None:
    config(job)
    job.prompts(*("hello " * 50 for _ in range(200)))
    code, out, err = await ran(job, "doctor", "in.jsonl", "--db", "runs.db")
    assert code == 0, out + err
    assert out.startswith("ok    configuration: ")
    for words in EXAMINED:
        assert words in out
    assert job.gateway.requests == [], "nothing that costs"


async def test_a_missing_key_hides_nothing_else(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY")
    job.prompts("hello")
    findings = await examined(job, str(job.input))
    assert "TEST_KEY" in next(finding for finding in findings if finding.level == "error").what
    assert any("a run of about 1 line " in finding.what for finding in findings)


async def test_a_disk_too_small_for_the_input_is_wrong(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.prompts(*("hello " * 500 for _ in range(2_000)))
    usage = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path: usage)
    findings = await examined(job, str(job.input))
    (wrong,) = (finding for finding in findings if finding.level == "error")
    assert "a run of about 2,00" in wrong.what
    assert "10.0 MB are free" in wrong.what


async def test_a_compressed_input_is_judged_by_its_beginning(job: Job) -> None:
    job.prompts(*(os.urandom(500).hex() for _ in range(6_000)))
    packed = Path(f"{job.input}.gz")
    packed.write_bytes(gzip.compress(job.input.read_bytes()))
    said = next(finding.what for finding in await examined(job, str(packed)) if "lines needs" in finding.what)
    assert 5_800 < int(said.split()[4].replace(",", "")) < 6_200


async def test_a_network_filesystem_is_told_by_doctor_and_by_the_run(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:40 / {job.folder.resolve()} rw - nfs4 there:/ rw\n"
    )
    monkeypatch.setattr(machine, "_MOUNTS", mounts)
    assert any("network filesystem (nfs4)" in finding.what for finding in await examined(job))
    job.prompts("hello")
    notices: list[str] = []

    class Listening(Silent):
        def notice(self, message: str) -> None:
            notices.append(message)

    job.observer = Listening()
    assert (await job.run()).exit_code == 0
    assert sum("network filesystem (nfs4)" in notice for notice in notices) == 1


@pytest.mark.parametrize(("ahead_min", "level"), [(0, "ok"), (-10, "warning"), (10, "warning")])
async def test_the_gateways_clock_is_compared(job: Job, ahead_min: int, level: str) -> None:
    there = format_datetime(datetime.now(UTC) + timedelta(minutes=ahead_min), usegmt=True)
    job.gateway.models_headers["Date"] = there
    assert [finding.level for finding in await examined(job) if "this machine's clock" in finding.what] == [level]


async def test_a_gateways_clock_is_not_judged_by_an_answer_that_a_cache_has_kept(job: Job) -> None:
    then = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
    job.gateway.models_headers |= {"Date": then, "Age": "600"}
    assert not [finding for finding in await examined(job) if "this machine's clock" in finding.what]


@pytest.mark.parametrize("text", ["tiers = [", "wrong = 1", None])
async def test_a_configuration_that_cannot_be_used_hides_nothing_else(job: Job, text: str | None) -> None:
    job.prompts("hello")
    if text is not None:
        Path(job.folder, "bad.toml").write_text(text)
    code, out, err = await ran(job, "doctor", "in.jsonl", "--config", "bad.toml", "--db", "runs.db")
    assert code == 78, out + err
    for words in ("bad.toml", "will be made by the first run", "SQLite", "can be read"):
        assert words in out


async def test_mistakes_of_a_configuration_stand_on_lines_of_their_own(job: Job) -> None:
    job.folder.joinpath("bad.toml").write_text("wrong = 1\n[run]\nbudgte = 2\n")
    _, out, _ = await ran(job, "doctor", "--config", "bad.toml", "--db", "runs.db")
    assert out.startswith(
        "wrong bad.toml:\n        run.budgte: unknown key, did you mean 'budget'?\n        wrong: unknown key\n      → "
    )


async def test_a_gateway_is_asked_although_the_key_of_another_is_missing(job: Job) -> None:
    job.settings["gateway"]["far"] = {"base_url": "http://127.0.0.1:1/v1"}
    job.settings["model"]["distant"] = {"input": 1, "output": 2, "gateway": "far"}
    findings = await examined(job)
    assert [finding.what for finding in findings if finding.level == "error"] == [
        "no key for gateway 'far': neither api_key_env nor api_key_file is configured"
    ]
    assert f"{job.gateway.base_url} answers" in [finding.what for finding in findings]


async def test_a_run_says_that_too_few_files_may_be_open(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _what: (70, 70))
    for model in job.settings["model"].values():
        model["concurrency"] = 32
    job.prompts("hello")
    notices: list[str] = []

    class Listening(Silent):
        def notice(self, message: str) -> None:
            notices.append(message)

    job.observer = Listening()
    assert (await job.run()).exit_code == 0
    assert sum("only 70 open files" in notice for notice in notices) == 1


def test_a_link_is_judged_by_the_file_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = tmp_path.resolve() / "far"
    far.mkdir()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:40 / {far} rw - nfs4 there:/ rw\n")
    monkeypatch.setattr(machine, "_MOUNTS", mounts)
    (tmp_path / "here.db").symlink_to(far / "there.db")
    assert any("nfs4" in finding.what for finding in machine.machine_findings(tmp_path / "here.db"))


def test_the_line_that_a_sample_cuts_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_bytes((b"x" * 1_500_000 + b"\n") * 20)
    assert sample(str(path)).records == 20
