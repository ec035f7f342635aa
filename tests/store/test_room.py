"""The room that doctor asks for is the room that the rows take, whatever their size."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchrouter.core.room import record_bytes
from batchrouter.core.tokens import BYTES_A_TOKEN
from tests.store.filled import fill

RECORDS = 1_000


@pytest.mark.parametrize("line_bytes", [200, 700, 1_500, 2_500, 5_000, 12_000])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_run_takes_the_room_that_was_told_to_within_a_fifth(tmp_path: Path, line_bytes: int, mixed: bool) -> None:
    chance = random.Random(line_bytes)
    lines = [int(line_bytes * chance.uniform(0.5, 1.5)) if mixed else line_bytes for _ in range(RECORDS)]
    answers = [chance.randrange(100, 900) if mixed else 480 for _ in lines]
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        fill(connection, lines, answers)
    told = sum(record_bytes(line, 2 * answer // BYTES_A_TOKEN) for line, answer in zip(lines, answers, strict=True))
    assert path.stat().st_size == pytest.approx(told, rel=0.2)
