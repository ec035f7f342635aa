"""``verify`` and ``doctor``: looking before and after, without spending anything."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from batchrouter.assembly import wiring
from batchrouter.assembly.machine import descriptors, machine_findings, room_for
from batchrouter.assembly.retracing import retraced
from batchrouter.core.counting import counted
from batchrouter.core.errors import BatchRouterError
from batchrouter.core.findings import Finding
from batchrouter.core.settings import Settings
from batchrouter.core.surroundings import unbounded_findings
from batchrouter.gateway import check_gateways, read_key
from batchrouter.intake import configuration
from batchrouter.store.reading import open_reader
from batchrouter.store.verification import violations


def verify(reader: sqlite3.Connection) -> list[Finding]:
    """Every invariant of the database, and its rows worked out again from what they came from."""
    return [*violations(reader), *retraced(reader)]


async def doctor(settings: Settings | None, config: Path | None, db: Path, source: str | None) -> list[Finding]:
    """Findings on prices, database, machine, input, keys and gateways, the wrong ones with what to do.

    Nothing that is wrong hides the rest: without ``settings`` (None: read from ``config``) what needs none is looked at.
    """
    findings = []
    try:
        settings = settings or configuration.load(config, os.environ)
        findings += [*_origin(settings), *_prices(settings), *unbounded_findings(settings)]
    except BatchRouterError as error:
        findings.append(_as_finding(error))
    findings += [*_database(db), *machine_findings(db)]
    if source is not None:
        findings += _input(source, settings, db)
    if settings:
        findings += [descriptors(settings, None), *await _gateways(settings)]
    return findings


async def _gateways(settings: Settings) -> list[Finding]:
    """The gateways whose keys are there are asked, whatever the others lack."""
    findings, keys = [], {}
    for name in settings.gateways_used:
        try:
            keys[name] = read_key(name, settings, os.environ)
        except BatchRouterError as error:
            findings.append(_as_finding(error))
    return [*(findings or [Finding("ok", "the keys are set")]), *await check_gateways(settings, keys)]


def _origin(settings: Settings) -> list[Finding]:
    return [Finding("ok", f"configuration: {settings.origin}")] if settings.origin else []


def _prices(settings: Settings) -> list[Finding]:
    try:
        wiring.check_prices(settings)
    except BatchRouterError as error:
        return [_as_finding(error)]
    advice = "Vendors retire models and change prices: compare them with your gateway's price list now and then."
    tiers = ", ".join(f"{name}: {tier.models[0]}" for name, tier in settings.tier.items())
    return [
        Finding("ok", f"every model has a price ({tiers})"),
        Finding("warning", "prices are as configured", advice),
    ]


def _database(db: Path) -> list[Finding]:
    if not db.exists():
        folder = db.absolute().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            return [Finding("error", f"{folder} is not a folder that can be written to", "Choose another --db.")]
        return [Finding("ok", f"{db} will be made by the first run")]
    try:
        with open_reader(db) as reader:
            count = reader.execute("SELECT count(*) FROM runs").fetchone()[0]
    except BatchRouterError as error:
        return [_as_finding(error)]
    return [Finding("ok", f"{db} is a batchrouter database with {counted(count, 'run')}")]


def _input(source: str, settings: Settings | None, db: Path) -> list[Finding]:
    path = Path(source)
    if source == "-" or path.is_fifo():
        return [Finding("ok", f"{source} is a pipe: how much room its records need is not known before")]
    if not (path.is_file() and os.access(path, os.R_OK)):
        return [Finding("error", f"{source} is not a file that can be read", "Give the path of a JSONL file.")]
    findings = [Finding("ok", f"{source} can be read")]
    if settings and db.absolute().parent.is_dir():
        try:
            findings.append(room_for(path, settings, db))
        except BatchRouterError as error:
            return [_as_finding(error)]
    return findings


def _as_finding(error: BatchRouterError) -> Finding:
    return Finding("error", error.message, error.hint)
