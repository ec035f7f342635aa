"""What was asked and what was paid: totals for each model in memory and, if wanted, one line a paid call in a file.

A call is booked before its answer is sent, so a client that dies in between has paid, as with any real gateway.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from batchrouter.demo.tokens import Usage

MODELS_MOST = 1000
OTHER_MODELS = "(other models)"
EXCERPT_CHARACTERS = 120


@dataclass(slots=True)
class ModelTotals:
    """Counts of one model. ``requests``: all that named it and were well formed; the rest: of the paid calls."""

    requests: int = 0
    paid_calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Ledger:
    """The gateway's own books; ``totals`` by model name, at most 1,000 of them, the rest under one name."""

    def __init__(self, path: Path | None = None) -> None:
        self.totals: dict[str, ModelTotals] = {}
        self._path = path
        self._file: int | None = None

    @property
    def total(self) -> ModelTotals:
        """The sums over all models."""
        return ModelTotals(
            requests=sum(model.requests for model in self.totals.values()),
            paid_calls=sum(model.paid_calls for model in self.totals.values()),
            prompt_tokens=sum(model.prompt_tokens for model in self.totals.values()),
            cached_tokens=sum(model.cached_tokens for model in self.totals.values()),
            completion_tokens=sum(model.completion_tokens for model in self.totals.values()),
        )

    def open(self) -> None:
        """Open the file, if there is to be one; what is in it stays."""
        if self._path is not None and self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def asked(self, model: str) -> None:
        """Count a request."""
        self._of(model).requests += 1

    def paid(self, call_id: str, model: str, usage: Usage, last_user: str) -> None:
        """Book a paid call, in the file first. Raises OSError when it cannot be written."""
        if self._file is not None:
            line = {
                "id": call_id,
                "model": model,
                "prompt_tokens": usage.prompt,
                "cached_tokens": usage.cached,
                "completion_tokens": usage.completion,
                "prompt": last_user[:EXCERPT_CHARACTERS],
            }
            os.write(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        totals = self._of(model)
        totals.paid_calls += 1
        totals.prompt_tokens += usage.prompt
        totals.cached_tokens += usage.cached
        totals.completion_tokens += usage.completion

    def _of(self, model: str) -> ModelTotals:
        totals = self.totals.get(model)
        if totals is None:
            name = model if len(self.totals) < MODELS_MOST else OTHER_MODELS
            totals = self.totals.setdefault(name, ModelTotals())
        return totals
