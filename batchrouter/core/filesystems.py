"""What a database's filesystem means for it, from the kernel's table of mounts."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from batchrouter.core.findings import Finding

BESIDE_A_DATABASE = ("-wal", "-shm", "-journal", ".lock", ".ballast")
"""What the names of the files end in that belong to a database: whoever replaces one of them loses what is in it."""


def files_of_database(path: str | Path) -> list[Path]:
    """The database and what may lie beside it."""
    return [Path(path), *(Path(f"{path}{ending}") for ending in BESIDE_A_DATABASE)]


_NETWORK = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "davfs2",
        "gcsfuse",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "pvfs2",
        "rclone",
        "s3fs",
        "smb3",
        "smbfs",
        "sshfs",
    ]
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def kind_of(mountinfo: str, folder: str) -> str | None:
    """The kind of filesystem that an absolute folder lies on, by ``/proc/self/mountinfo``; None: not found there.

    The longest mount point above it counts; of two at the same point the later one, which covers the other.
    """
    inside = PurePosixPath(folder)
    depth, found = -1, None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = PurePosixPath(_unescaped(fields[4]))
        if len(point.parts) >= depth and inside.is_relative_to(point):
            depth, found = len(point.parts), after.split(" ", 1)[0]
    return found


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), path)


def is_network(kind: str | None) -> bool:
    """Whether it is a network's filesystem (``fuse.sshfs`` and its like are)."""
    return kind is not None and kind.removeprefix("fuse.") in _NETWORK


def filesystem_finding(kind: str | None, folder: str) -> Finding | None:
    """A warning where a database is not safe; None where nothing is to be said."""
    if is_network(kind):
        return Finding(
            "warning",
            f"{folder} is on a network filesystem ({kind}), where SQLite's locks and write-ahead log are not to be trusted",
            "Choose a --db on a local disk.",
        )
    if kind in ("tmpfs", "ramfs"):
        return Finding(
            "warning", f"{folder} is in memory ({kind}): it is gone after a reboot", "Choose a --db on a disk."
        )
    return None
