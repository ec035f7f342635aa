"""The gateway's own books: exact, bounded in memory, appended to in the file."""

from __future__ import annotations

import json
from pathlib import Path

from batchrouter.demo.ledger import MODELS_MOST, OTHER_MODELS, Ledger, ModelTotals
from batchrouter.demo.tokens import Usage


def test_totals_and_lines_agree(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for _ in range(2):  # the second one goes on in the same file
        ledger = Ledger(path)
        ledger.open()
        ledger.asked("m")
        ledger.asked("m")
        ledger.paid("call-1", "m", Usage(prompt=10, completion=5, cached=4), "₹" * 500)
        ledger.close()
        assert ledger.totals == {"m": ModelTotals(2, 1, 10, 4, 5)}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    line = {"id": "call-1", "model": "m", "prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 5}
    assert lines == [{**line, "prompt": "₹" * 120}] * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_number_of_models_in_memory_is_bounded() -> None:
    ledger = Ledger()
    for number in range(MODELS_MOST + 50):
        ledger.paid("c", f"model-{number}", Usage(1, 1), "")
    assert len(ledger.totals) == MODELS_MOST + 1
    assert ledger.totals[OTHER_MODELS].paid_calls == 50
    assert ledger.total == ModelTotals(0, MODELS_MOST + 50, MODELS_MOST + 50, 0, MODELS_MOST + 50)
