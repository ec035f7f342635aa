"""What doctor says of a machine: room, filesystems, open files, SQLite, clocks, settings without a bound."""

from datetime import UTC, datetime, timedelta

import pytest

from batchrouter.core.filesystems import filesystem_finding, kind_of
from batchrouter.core.room import Need, Sample, need, record_bytes, room_finding, stored_bytes
from batchrouter.core.settings import Settings
from batchrouter.core.surroundings import clock_finding, descriptors_finding, sqlite_finding, unbounded_findings

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw shared:5 - nfs4 server:/export rw
31 30 0:41 / /srv/fast rw - xfs /dev/sdb rw
32 22 0:42 / /mnt/with\\040space rw shared:9 master:2 - fuse.sshfs me@there: rw
33 22 0:43 / /tmp rw - tmpfs tmpfs rw
34 22 0:44 / /twice rw - ext4 /dev/sdc rw
35 22 0:45 / /twice rw - cifs //there/share rw
not a line of mounts
"""


@pytest.mark.parametrize(
    ("folder", "kind", "level"),
    [
        ("/home/me", "ext4", None),
        ("/srv/jobs", "nfs4", "warning"),
        ("/srvx", "ext4", None),
        ("/srv/fast/jobs", "xfs", None),
        ("/mnt/with space", "fuse.sshfs", "warning"),
        ("/tmp/x", "tmpfs", "warning"),
        ("/twice", "cifs", "warning"),
    ],
)
def test_a_folder_lies_on_the_nearest_mount_above_it(folder: str, kind: str, level: str | None) -> None:
    assert kind_of(MOUNTS, folder) == kind
    finding = filesystem_finding(kind, folder)
    assert (finding and finding.level) == level
    assert not finding or finding.advice


def test_without_a_table_of_mounts_nothing_is_said() -> None:
    assert kind_of("", "/srv") is None
    assert filesystem_finding(None, "/srv") is None


@pytest.mark.parametrize(("free", "level"), [(99, "error"), (100, "warning"), (199, "warning"), (200, "ok")])
def test_room_is_judged_by_what_a_run_needs(free: int, level: str) -> None:
    finding = room_finding(Need(10, 100, 1_000, ballast_bytes=0), free, "/srv", output_tokens_most=4_096)
    assert finding.level == level
    assert bool(finding.advice) == (level != "ok")


@pytest.mark.parametrize(
    ("free", "level", "advice"),
    [
        (130, "error", "Free some space"),
        (140, "warning", "less than twice"),
        (270, "warning", "A run fits, with 0.1 kB in hand"),
        (4_000, "ok", ""),
    ],
)
def test_a_disk_too_small_for_the_whole_ballast_is_advice_as_long_as_a_run_fits(
    free: int, level: str, advice: str
) -> None:
    finding = room_finding(Need(10, 100, 1_000, ballast_bytes=1_000), free, "/srv", output_tokens_most=4_096)
    assert (finding.level, advice in finding.advice) == (level, True)


def test_the_beginning_of_an_input_stands_for_its_rest() -> None:
    part = Sample([100] * 50, file_bytes=10_000, read_bytes=5_000)
    whole = Sample([100] * 100, file_bytes=10_000, read_bytes=10_000)
    assert part.records == whole.records == 100
    assert need(part, output_tokens_most=512, ballast_bytes=0) == need(whole, output_tokens_most=512, ballast_bytes=0)
    empty = need(Sample([], 0, 0), output_tokens_most=512, ballast_bytes=1_000)
    assert (empty.records, empty.typical_bytes) == (0, empty.most_bytes)


def test_longer_lines_and_answers_never_need_less() -> None:
    sizes = [stored_bytes(size) for size in range(1, 20_000, 7)]
    assert all(stored >= size for stored, size in zip(sizes, range(1, 20_000, 7), strict=True))
    assert record_bytes(100, 100) < record_bytes(100, 1_000) < record_bytes(10_000, 1_000)


@pytest.mark.parametrize(
    ("version", "is_told"),
    [
        ((3, 6, 23), False),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_the_versions_of_sqlite_with_the_bug_are_told(version: tuple[int, int, int], is_told: bool) -> None:
    assert ("WAL-reset" in sqlite_finding(version).what) == is_told


def test_each_call_in_flight_needs_an_open_file() -> None:
    assert descriptors_finding(None, 10_000).level == "ok"
    assert descriptors_finding(164, 100).level == "ok"
    short = descriptors_finding(163, 100)
    assert short.level == "warning"
    assert "ulimit -n 164" in short.advice


@pytest.mark.parametrize(
    ("apart_s", "level"), [(0, "ok"), (300, "ok"), (-300, "ok"), (301, "warning"), (-301, "warning")]
)
def test_clocks_may_be_five_minutes_apart(apart_s: int, level: str) -> None:
    there = datetime(2026, 1, 1, tzinfo=UTC)
    finding = clock_finding(there + timedelta(seconds=apart_s), there)
    assert finding.level == level
    assert level == "ok" or ("ahead of" if apart_s > 0 else "behind") in finding.what


def test_a_model_that_drops_its_cap_is_told() -> None:
    model = {"input": 1, "output": 1, "drop": ["max_tokens"]}
    settings = Settings.model_validate(
        {
            "gateway": {"base_url": "http://127.0.0.1:1/v1"},
            "tier": {
                tier: {"models": ["a", "b", "c"], "max_output_tokens": 10} for tier in ("simple", "medium", "complex")
            },
            "model": {"a": model, "b": {**model, "set": {"max_tokens": 5}}, "c": {"input": 1, "output": 1}},
        }
    )
    assert [finding.what.split('"')[1] for finding in unbounded_findings(settings)] == ["a"]
