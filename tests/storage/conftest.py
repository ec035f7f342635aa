"""Disks that become full, and the job whose database lies on one."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.conftest import Job, gateway, job

__all__ = ["gateway", "job"]
Mount = Callable[..., Path]


@dataclass
class DiskJob(Job):
    """A job with its database on another disk than its input."""

    disk: Path = Path()

    @property
    def db(self) -> Path:
        return self.disk / "runs.db"


def on_disk(job: Job, disk: Path) -> DiskJob:
    return DiskJob(job.folder, job.gateway, job.settings, disk=disk)


def sh(*command: object) -> None:
    """A command that must succeed."""
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a file system for the test; skips where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("SKIPPED, NOT SHOWN: only root can mount a file system of its own")
    mounted: list[Path] = []

    def mount_it(name: str, *options: object) -> Path:
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        try:
            sh("mount", *options, place)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"SKIPPED, NOT SHOWN: nothing can be mounted here: {getattr(error, 'stderr', error)!r}")
        mounted.append(place)
        return place

    yield mount_it
    for place in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)
