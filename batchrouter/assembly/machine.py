"""What this machine gives a run: room on the disk, the kind of filesystem, open files, the SQLite that is used."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from pathlib import Path

from batchrouter.core import surroundings
from batchrouter.core.filesystems import filesystem_finding, is_network, kind_of
from batchrouter.core.findings import Finding
from batchrouter.core.room import need, room_finding
from batchrouter.core.settings import Settings
from batchrouter.core.surroundings import calls_in_flight_most, descriptors_finding, sqlite_finding
from batchrouter.intake.sampling import sample
from batchrouter.store.ballast import ballast_bytes

_MOUNTS = Path("/proc/self/mountinfo")


def machine_findings(db: Path) -> list[Finding]:
    """What concerns every run on this database."""
    filesystem = filesystem_finding(_kind_below(db), str(_folder(db)))
    return [*([filesystem] if filesystem else []), sqlite_finding(sqlite3.sqlite_version_info)]


def descriptors(settings: Settings, concurrency: int | None) -> Finding:
    """Open files against the calls in flight."""
    limit = _open_files_most()
    calls = calls_in_flight_most(settings, concurrency, found_most=found_concurrency_most(settings))
    return descriptors_finding(limit, calls)


def found_concurrency_most(settings: Settings) -> int:
    """How far this machine lets the calls in flight grow of each model whose concurrency is to be found."""
    return surroundings.found_concurrency_most(settings, _open_files_most())


def _open_files_most() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def room_for(source: Path, settings: Settings, db: Path) -> Finding:
    """Whether the database of a whole run of a regular file has room. Raises InputMissing, or ConfigurationError."""
    longest = max(tier.max_output_tokens for tier in settings.tier.values())
    wanted = need(sample(str(source)), output_tokens_most=longest, ballast_bytes=ballast_bytes(settings, None))
    folder = _folder(db)
    return room_finding(wanted, shutil.disk_usage(folder).free, str(folder), output_tokens_most=longest)


def doubts(db: Path, settings: Settings, concurrency: int | None) -> list[str]:
    """What a run says of this machine when it begins, each with what to do."""
    kind = _kind_below(db)
    findings = [filesystem_finding(kind, str(_folder(db)))] if is_network(kind) else []
    findings.append(descriptors(settings, concurrency))
    return [f"{finding.what}. {finding.advice}" for finding in findings if finding and finding.level != "ok"]


def _kind_below(db: Path) -> str | None:
    try:
        return kind_of(_MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"), str(_folder(db)))
    except OSError:  # not every system has this table
        return None


def _folder(db: Path) -> Path:
    """Where the file itself lies, links followed."""
    return db.resolve().parent
