"""Answers that identical requests can be given again, read from the rows of the record that was asked for."""

from __future__ import annotations

from typing import Any

from batchrouter.core.outcome import Answer, Outcome
from batchrouter.core.pricing import Usage
from batchrouter.ports import Reusable

REUSABLE = """
SELECT s.run, s.line, s.model, s.answer, s.finish_reason, CAST(s.response AS BLOB),
    a.input_tokens, a.output_tokens, a.cached_tokens, a.cache_write_tokens, a.reasoning_tokens
FROM reusable o
JOIN results s ON s.run = o.run AND s.line = o.line AND s.generation = o.generation
JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
JOIN runs there ON there.run = o.run
JOIN runs here ON here.run = ?
WHERE o.digest = ? AND (? OR o.run = here.run) AND there.demo = here.demo AND there.currency = here.currency
    AND s.state = 'done' AND s.response IS NOT NULL
"""
"""The answer must still be there: purged texts cannot be given again."""


def reusable_of(row: Any) -> Reusable:
    """A row of ``REUSABLE`` as an answer."""
    run, line, model, content, finish_reason, response, *tokens = row
    usage = None if tokens[0] is None else Usage(*tokens)
    return Reusable(
        run, line, model, Outcome("ok", answer=Answer(content, finish_reason), usage=usage, response=response)
    )
