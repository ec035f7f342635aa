"""RESULTS.md: one section for each benchmark, replaced when it is run again, with the machine and the versions."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FILE = Path(__file__).with_name("RESULTS.md")
TITLE = "# Results\n\nEach section is written by the command that it names; ratios are medians of paired runs."


def write_section(name: str, command: str, text: str) -> None:
    """Put the section in place of the one of the same name, and print it."""
    section = f"## {name}\n\n`{command}`, {_today()}\n\n{facts()}\n\n{text.strip()}\n"
    old = FILE.read_text(encoding="utf-8") if FILE.exists() else TITLE
    head, *sections = old.split("\n## ")
    by_name = {each.split("\n", 1)[0]: f"## {each.strip()}\n" for each in sections}
    by_name[name] = section
    FILE.write_text("\n".join([head.strip() + "\n", *by_name.values()]), encoding="utf-8")
    print(section)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts() -> str:
    """The machine and the versions, in one line."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    load, *_ = os.getloadavg()
    packages = " · ".join(f"{name} {_version(name)}" for name in ("batchrouter", "aiohttp", "aiosqlite", "uvloop"))
    return (
        f"{os.cpu_count()} cores · {pages * page_bytes / 2**30:.0f} GB · {platform.system()} {platform.release()}"
        f" · Python {platform.python_version()} · SQLite {sqlite3.sqlite_version} · {packages}"
        f" · load {load:.1f} at the end"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
