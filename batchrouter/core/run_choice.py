"""Which run does ``run`` mean? A pure table over what is stored, what the input holds now, and what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from batchrouter.core.errors import InputUnfit


@dataclass(frozen=True, slots=True)
class Comparison:
    """The input now against what was taken in of it.

    ``same``: nothing new. ``grown``: the same, and more behind it. ``different``: ``line`` is the first that differs,
    ``what`` says how.
    """

    content: Literal["same", "grown", "different"]
    line: int | None = None
    what: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do, and what to tell the user.

    ``new``: a new run. ``go_on``: work on the stored run. ``repeat``: finished, its summary and exit code again.
    """

    action: Literal["new", "go_on", "repeat"]
    notice: str = ""


def choose(
    *,
    run: int,
    finished: bool,
    comparison: Comparison,
    settings_differ: str,
    failed: int = 0,
) -> Choice:
    """The row of the table that applies; InputUnfit where a person has to decide.

    ``settings_differ`` names a setting fixed at intake that has changed ('' if none), ``failed`` how many records of a
    finished run have failed.
    """
    if finished:
        return _of_finished(run, comparison, settings_differ, failed)
    if comparison.content == "different":
        raise InputUnfit(
            f"the input changed since run {run} began: {comparison.what}",
            f"`batchrouter resume {run}` goes on with what was taken in; `batchrouter run --new` starts a new run.",
        )
    if settings_differ:
        raise _settings_changed(run, settings_differ)
    if comparison.content == "grown":
        return Choice("go_on", f"run {run} goes on; the input has lines that it has not taken in yet")
    return Choice("go_on", f"run {run} goes on")


def _of_finished(run: int, comparison: Comparison, settings_differ: str, failed: int) -> Choice:
    if comparison.content == "different":
        return Choice("new", f"the input differs from that of run {run}: a new run")
    if comparison.content == "grown":
        if settings_differ:
            raise _settings_changed(run, settings_differ)
        return Choice("go_on", f"the input has grown since run {run} finished: it goes on with the new lines")
    notice = f"run {run} is finished and its input unchanged: nothing to do"
    if failed:
        notice = f"{notice}; `batchrouter retry {run}` does failed records again"
    if settings_differ:
        notice = f"{notice}; --new does all of it again under other settings ({settings_differ})"
    return Choice("repeat", notice)


def _settings_changed(run: int, difference: str) -> InputUnfit:
    return InputUnfit(
        f"settings that records carry from intake on have changed since run {run} began: {difference}",
        f"Undo the change, or `batchrouter run --new` for a new run; `batchrouter resume {run}` goes on under the old ones.",
    )


def first_difference(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> str:
    """The first setting that differs, with both values, or ''."""
    for key in sorted(before.keys() | now.keys()):
        old, new, where = before.get(key), now.get(key), f"{path}{key}"
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            return first_difference(old, new, f"{where}.")
        return f"{where} was {_short(old)}, is {_short(new)}"
    return ""


def _short(value: Any) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
