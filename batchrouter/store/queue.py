"""The database as the queue: pages of queued records, with the history of their attempts."""

from __future__ import annotations

from typing import Any

from batchrouter.core.outcome import ErrorClass
from batchrouter.core.retry import LOST_ANSWER, OUTAGE, History
from batchrouter.ports import Job

QUEUED_RECORDS = """
SELECT r.line, r.tier, d.tier, r.generation, CAST(q.body AS BLOB), q.prompt_bytes, q.images, q.choices,
    q.max_output_tokens, q.needs, q.requested_model, CAST(q.expect AS BLOB), r.task,
    (SELECT max(a.attempt) FROM attempts a WHERE a.run = r.run AND a.line = r.line),
    (SELECT group_concat(coalesce(a.error_class, ''), ',') FROM attempts a
      WHERE a.run = r.run AND a.line = r.line AND a.generation = r.generation AND a.purpose = ?
        AND (a.tier IS r.tier OR a.error_class = 'crash'))
FROM records r INDEXED BY records_queued
JOIN requests q ON q.run = r.run AND q.line = r.line
LEFT JOIN decisions d ON d.run = r.run AND d.line = r.line
WHERE r.run = ? AND r.state = 'queued' AND r.tier IS ? AND r.line > ? AND r.line <= ?
ORDER BY r.line LIMIT ?
"""


def job_of(row: Any) -> Job:
    """A row of ``QUEUED_RECORDS`` as a job."""
    (*columns, needs, requested_model, expect, task, attempts_so_far, classes) = row
    line, tier, decided_tier, generation, body, prompt_bytes, images, choices, max_output_tokens = columns
    return Job(
        line=line,
        tier=tier,
        decided_tier=decided_tier,
        generation=generation,
        body=body,
        prompt_bytes=prompt_bytes,
        images=images,
        choices=choices,
        max_output_tokens=max_output_tokens,
        needs=frozenset(needs.split(",")) if needs else frozenset(),
        requested_model=requested_model,
        expect=expect,
        task=task,
        attempts_so_far=attempts_so_far or 0,
        history=_history(classes),
    )


def _history(classes: str | None) -> History:
    """Failures of the gateway are not held against a record that was let go: they may have been those of an outage."""
    history = History()
    if classes is not None:
        for name in classes.split(","):
            error = ErrorClass(name) if name else None
            history = history.after(error, outage=error in OUTAGE and error not in LOST_ANSWER)
    return history
