"""What waits to be written, as rows grouped by the statements that write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from batchrouter.core.outcome import Outcome
from batchrouter.core.records import Batch, Decision, Record, Rejection
from batchrouter.ports import AttemptEnd, AttemptStart, Decided, JudgementRow, ResultRow, TierMove
from batchrouter.store.statements import (
    CLEAR_REQUESTS,
    END_ATTEMPTS,
    FINISH_RECORDS,
    INSERT_ATTEMPTS,
    INSERT_DECISIONS,
    INSERT_EVALUATION_CALLS,
    INSERT_RECORDS,
    INSERT_REQUESTS,
    INSERT_RESULTS,
    INSERT_REUSED,
    JUDGE,
    MOVE_RECORDS,
    OFFER_FOR_REUSE,
    REMEMBER_DECISIONS,
    SET_POSITION,
    Row,
    Statement,
    filled,
)


@dataclass(slots=True)
class Changes:
    """Rows that go into the next transaction, in the order in which their statements must run."""

    run: int
    config: int
    clear_requests: bool = False
    evaluation: int | None = None
    records: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    decided: list[Row] = field(default_factory=list)
    remembered: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)
    intake: list[Statement] = field(default_factory=list)
    started: list[Row] = field(default_factory=list)
    evaluating: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)
    reused: list[Row] = field(default_factory=list)
    reusable: list[Row] = field(default_factory=list)
    finished: list[Row] = field(default_factory=list)
    moved: dict[int, Row] = field(default_factory=dict)
    cleared: list[Row] = field(default_factory=list)
    judged: dict[int, Row] = field(default_factory=dict)

    def take_in(self, batch: Batch, decisions: Sequence[Decision | None], now: str) -> None:
        """A batch of lines; ``decisions`` has one for each line (None: a rejection, or not decided yet)."""
        for line, decision in zip(batch.lines, decisions, strict=True):
            if isinstance(line, Record):
                self._add_record(line, decision)
            else:
                self._add_rejection(line, now)
        after = batch.after
        position = [after.offset, after.line, after.digest, int(after.ended), after.blank, self.run]
        self.intake.append((SET_POSITION, position, 1))

    def _add_record(self, record: Record, decision: Decision | None) -> None:
        run, line = self.run, record.line
        tier = decision.tier if decision else None
        self.records.append((run, line, record.id, record.task, "queued", tier, record.offset, record.digest))
        request = record.request
        self.requests.append(
            (
                run,
                line,
                _text(request.body),
                request.prompt_bytes,
                request.images,
                request.choices,
                request.max_output_tokens,
                ",".join(sorted(request.needs)) if request.needs else "",
                request.requested_model,
                _text(record.metadata),
                _text(record.expect),
            )
        )
        if decision:
            self.decisions.append(_decision_row(run, line, decision))

    def _add_rejection(self, line: Rejection, now: str) -> None:
        key = (self.run, line.line)
        self.records.append((*key, line.id, None, "rejected", None, line.offset, line.digest))
        empty = (None,) * 6
        self.rejected.append((*key, 1, "rejected", *empty, "rejected", line.reason, None, None, now))

    def intake_complete(self) -> None:
        """The input has no more lines."""
        self.intake.append(("UPDATE runs SET intake_state = 'complete' WHERE run = ?", [self.run], 1))

    def without_intake(self) -> Changes:
        """The same but for lines of the input, which can be read again."""
        return replace(self, records=[], requests=[], decisions=[], rejected=[], intake=[])

    def open(self, attempt: AttemptStart) -> None:
        """An attempt that is about to be made."""
        self.started.append(
            (
                self.run,
                attempt.line,
                attempt.attempt,
                attempt.generation,
                attempt.purpose,
                attempt.tier,
                attempt.model,
                attempt.gateway,
                self.config,
                "open",
                attempt.started_at,
                attempt.reserved_nano,
                attempt.output_cap,
            )
        )
        if self.evaluation is not None:
            self.evaluating.append((self.run, attempt.line, attempt.attempt, self.evaluation))

    def end(self, end: AttemptEnd) -> None:
        """An attempt that ended."""
        outcome, usage = end.outcome, end.outcome.usage
        tokens = (
            (
                usage.input_tokens,
                usage.cached_tokens,
                usage.output_tokens,
                usage.reasoning_tokens,
                usage.cache_write_tokens,
            )
            if usage
            else (None,) * 5
        )
        self.ended.append(
            (
                self.run,
                end.line,
                end.attempt,
                outcome.state,
                end.ended_at,
                outcome.status_code,
                end.error_class,
                end.error,
                *tokens,
                end.cost_nano,
                end.cost_source,
                outcome.latency_ms,
                outcome.model_served,
                outcome.response_id,
            )
        )

    def finish(self, result: ResultRow) -> None:
        """A record's final outcome and state."""
        if result.reused:
            self.reused.append((self.run, *_result_columns(result), *result.reused))
        else:
            self.results.append((self.run, *_result_columns(result)))
        if result.digest:
            self.reusable.append((result.digest, self.run, result.line, result.generation))
        self.finished.append((self.run, result.line, result.state, result.tier))
        if self.clear_requests and result.state == "done":
            self.cleared.append((self.run, result.line))

    def move(self, move: TierMove) -> None:
        """A queued record that goes on in another tier; its last move counts."""
        self.moved[move.line] = (self.run, move.line, move.tier)

    def judge(self, row: JudgementRow) -> None:
        """What is known of a comparison; each row of a record says all that its earlier ones said."""
        self.judged[row.line] = msgspec.structs.astuple(row)

    def decide(self, decided: Decided, now: str) -> None:
        """A queued record whose tier was open."""
        line, decision, about = decided.line, decided.decision, decided.about
        self.decided.append(_decision_row(self.run, line, decision))
        self.moved[line] = (self.run, line, decision.tier)
        if about:
            kind = (about.key, about.kind, about.task)
            self.remembered.append((*kind, decision.tier, decided.model, about.prompt_version, self.run, line, now))

    def statements(self) -> Iterator[Statement]:
        """The transaction's statements, in an order in which every row finds what it refers to."""
        groups = (
            (INSERT_RECORDS, self.records),
            (INSERT_REQUESTS, self.requests),
            (INSERT_DECISIONS, self.decisions),
            (INSERT_DECISIONS, self.decided),
            (REMEMBER_DECISIONS, self.remembered),
            (INSERT_RESULTS, self.rejected),
            (INSERT_ATTEMPTS, self.started),
            (INSERT_EVALUATION_CALLS, self.evaluating),
            (END_ATTEMPTS, self.ended),
            (INSERT_RESULTS, self.results),
            (INSERT_REUSED, self.reused),
            (OFFER_FOR_REUSE, self.reusable),
            (MOVE_RECORDS, list(self.moved.values())),
            (FINISH_RECORDS, self.finished),
            (CLEAR_REQUESTS, self.cleared),
            (JUDGE, list(self.judged.values())),
        )
        for statement, rows in groups:
            yield from filled(statement, rows)
        yield from self.intake


def _decision_row(run: int, line: int, decision: Decision) -> Row:
    return run, line, decision.tier, decision.router, decision.reason, decision.origin


def _result_columns(result: ResultRow) -> Row:
    outcome: Outcome | None = result.outcome
    answer = outcome.answer if outcome else None
    return (
        result.line,
        result.generation,
        result.state,
        result.attempt,
        result.tier,
        result.model,
        answer.content if answer else None,
        answer.finish_reason if answer else None,
        _text(outcome.response) if outcome else None,
        result.error_class,
        result.error,
        result.escalated_from,
        result.baseline_nano,
        result.finished_at,
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
