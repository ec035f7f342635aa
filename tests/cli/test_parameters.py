"""Times, durations, amounts and lists as people write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import click
import pytest

from batchrouter.cli.parameters import Amount, Duration, Failures, ListOfWords, Some, TimeOfStop
from batchrouter.core.errors import InputMissing
from batchrouter.core.options import MaxFailed


def converted(kind: click.ParamType[object], text: str) -> object:
    return kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("6h", 21_600),
        ("1h30m", 5_400),
        ("2d", 172_800),
        ("2w", 1_209_600),
        (" 1m5s ", 65),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert converted(Duration(), text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "soon", "-5", "1.5h", "5 m", "30m1h", "h", "1e3", "inf"])
def test_no_durations(text: str) -> None:
    with pytest.raises(click.BadParameter, match="1h30m"):
        converted(Duration(), text)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "text", "utc"),
    [
        ("2026-01-10T01:00", "06:30", "2026-01-10T05:30"),
        ("2026-01-10T06:30", "06:30", "2026-01-11T05:30"),
        ("2026-01-10T22:00", "6:30", "2026-01-11T05:30"),
        ("2026-03-28T22:00", "06:30", "2026-03-29T04:30"),  # the night when summer time begins
        ("2026-10-24T22:00", "06:30", "2026-10-25T05:30"),  # and ends
    ],
)
def test_a_clock_time_is_the_next_one_to_come(now: str, text: str, utc: str) -> None:
    at = TimeOfStop(lambda: datetime.fromisoformat(now)).convert(text, None, None)
    assert at.tzinfo is not None
    assert at.astimezone(UTC).isoformat() == f"{utc}:00+00:00"


def test_an_iso_time_keeps_its_offset() -> None:
    times = TimeOfStop(lambda: datetime(2026, 1, 30))  # noqa: DTZ001 - a wall clock
    at = times.convert("2026-01-31T06:30:00+05:30", None, None)
    assert at.utcoffset() == timedelta(hours=5, minutes=30)
    assert times.convert("2026-01-31T01:00:00Z", None, None) == at


def test_a_time_that_is_over_is_none() -> None:
    with pytest.raises(click.BadParameter, match="is over already"):
        converted(TimeOfStop(), "2020-01-31T06:30:00+05:30")


@pytest.mark.parametrize("text", ["24:00", "6:3", "noon", "2026-01-31T06:30:00", ""])
def test_no_times(text: str) -> None:
    with pytest.raises(click.BadParameter):
        converted(TimeOfStop(), text)


def test_an_iso_time_without_offset_is_told_how() -> None:
    with pytest.raises(click.BadParameter, match=r"2026-01-31T06:30:00\+05:30"):
        converted(TimeOfStop(), "2026-01-31T06:30:00")


def test_amounts_are_exact() -> None:
    assert converted(Amount(), "0.1") == Decimal("0.1")


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "₹5", "5,000", ""])
def test_no_amounts(text: str) -> None:
    with pytest.raises(click.BadParameter):
        converted(Amount(), text)


def test_failures() -> None:
    assert converted(Failures(), "20") == MaxFailed(Decimal(20))
    assert converted(Failures(), "1.5%") == MaxFailed(Decimal("1.5"), is_percent=True)
    assert converted(Failures(), "100%") == MaxFailed(Decimal(100), is_percent=True)
    for wrong in ("1.5", "200%", "100.1%"):
        with pytest.raises(click.BadParameter):
            converted(Failures(), wrong)


def test_some_words() -> None:
    kind = Some("done", "failed")
    assert converted(kind, "done, failed") == ("done", "failed")
    for wrong in ("", ",", "done,rejected"):
        with pytest.raises(click.BadParameter):
            converted(kind, wrong)


def test_a_list_of_words(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_bytes("\ufeffa\r\n\n b c \n₹".encode())
    assert converted(ListOfWords(), str(file)) == ("a", "b c", "₹")
    file.write_bytes(b"\n \n")
    with pytest.raises(click.BadParameter, match="no id"):
        converted(ListOfWords(), str(file))
    file.write_bytes(b"\xff")
    with pytest.raises(InputMissing, match="UTF-8"):
        converted(ListOfWords(), str(file))
