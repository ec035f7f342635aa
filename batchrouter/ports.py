"""The few interfaces that the engine needs from outside, each as small as its use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from batchrouter.core.errors import ExitCode
from batchrouter.core.outcome import Outcome
from batchrouter.core.records import Batch, Decision, Record, RequestText
from batchrouter.core.retry import History

Purpose = Literal["answer", "classify", "judge"]


class Clock(Protocol):
    """Time: ``monotonic_s`` for waiting, ``utc`` (ISO-8601) for rows."""

    def monotonic_s(self) -> float: ...

    def utc(self) -> str: ...


class Source(Protocol):
    """The input from where the run left it: batches in input order, each no larger than a bounded block.

    Files are read off the event loop. Ends after the last batch; ``records_most`` stops it after so many records.
    ``exhausted`` is True once the end of the input was seen.
    """

    @property
    def exhausted(self) -> bool: ...

    def batches(self, *, records_most: int | None) -> AsyncGenerator[Batch, None]: ...


class Router(Protocol):
    """Decides a tier from a request's text; None: not mine to decide."""

    def decide(self, text: RequestText) -> Decision | None: ...


class Classification(msgspec.Struct, frozen=True, gc=False):
    """A question about a type of request: which tier. ``key`` is that of the type.

    ``kind`` says what makes the type: ``task`` (then ``task`` is its name), ``template`` or ``text``.
    """

    key: bytes
    kind: str
    task: str | None
    body: bytes
    prompt_bytes: int
    prompt_version: int


class Classifier(Protocol):
    """Decides by asking a model: what to ask, and what follows from the reply. Decisions are remembered by type."""

    @property
    def model(self) -> str: ...

    def question(self, text: RequestText) -> Classification: ...

    def known(self, about: Classification) -> Decision | None:
        """The decision if this type of request was decided meanwhile."""

    def answered(self, about: Classification, reply: str | None) -> Decision: ...

    def unanswered(self, about: Classification, why: str) -> Decision: ...


class Job(msgspec.Struct, gc=False):
    """A claimed record with all that an attempt needs.

    ``decided_tier`` is where its router sent it first, ``retry_cost`` what its next attempt takes from the retry quota,
    ``digest`` what identical requests have in common, where their answers are reused.
    """

    line: int
    tier: str | None
    decided_tier: str | None
    generation: int
    body: bytes
    prompt_bytes: int
    images: int
    choices: int
    max_output_tokens: int | None
    needs: frozenset[str]
    requested_model: str | None
    expect: bytes | None
    task: str | None
    attempts_so_far: int = 0
    history: History = History()
    retry_cost: int = 0
    digest: bytes | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """One HTTP call to make: the model by its name in the configuration, and the tokens that it may answer with.

    ``cap_is_ours`` is True where the record named no cap, so that ``output_cap`` has to be added to the body.
    ``left`` is called when the body has begun to leave.
    """

    model: str
    body: bytes
    output_cap: int
    cap_is_ours: bool
    left: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that an earlier process made: it still counts against the limits of its model."""

    model: str
    age_s: float
    tokens: int


class Gateway(Protocol):
    """Makes one call and classifies what came back. Never raises for anything that a gateway does."""

    async def call(self, call: Call) -> Outcome: ...


class Pacer(Protocol):
    """The last guard of a rate: returns when one more request may go out. One waiter at a time."""

    async def wait(self) -> None: ...


class AttemptStart(msgspec.Struct, frozen=True, gc=False):
    """An attempt about to be made; its row is committed before the call."""

    line: int
    attempt: int
    generation: int
    purpose: Purpose
    tier: str | None
    model: str
    gateway: str
    started_at: str
    reserved_nano: int | None
    output_cap: int


class AttemptEnd(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ended and what it cost (``cost_nano`` None: unknown)."""

    line: int
    attempt: int
    outcome: Outcome
    error_class: str | None
    error: str | None
    cost_nano: int | None
    cost_source: str
    ended_at: str


class Reusable(msgspec.Struct, frozen=True, gc=False):
    """An answer that exists, and the record whose answer it is."""

    run: int
    line: int
    model: str
    outcome: Outcome


class ResultRow(msgspec.Struct, frozen=True, gc=False):
    """A record's final outcome.

    ``reused``: (run, line) of the record whose answer it is, if it is another's. ``digest``: what identical requests
    have in common, where this answer may be given again.
    """

    line: int
    generation: int
    state: str
    attempt: int | None
    tier: str | None
    model: str | None
    outcome: Outcome | None
    error_class: str | None
    error: str | None
    escalated_from: str | None
    baseline_nano: int | None
    finished_at: str
    reused: tuple[int, int] | None = None
    digest: bytes | None = None


class TierMove(msgspec.Struct, frozen=True, gc=False):
    """A queued record that goes on in another tier."""

    line: int
    tier: str


class Decided(msgspec.Struct, frozen=True, gc=False):
    """A queued record whose tier was open until now. ``about``: what was asked, if the answer is to be remembered."""

    line: int
    decision: Decision
    model: str
    about: Classification | None = None


class JudgementRow(msgspec.Struct, frozen=True, gc=False):
    """What is known so far of how a record's answer compares with that of a dearer tier.

    ``forward`` and ``backward`` are the judge's words with our answer first and second. ``verdict`` None: not judged yet.
    """

    evaluation: int
    line: int
    other_attempt: int | None
    other_model: str | None
    other_answer: str | None
    forward: str | None
    backward: str | None
    how: str | None
    verdict: str | None
    judged_at: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A record whose answer is to be compared: its request, its answer, and what is known so far.

    ``job`` is for the dearer tier. ``response`` is ours as it was received, where calls of tools may stand in it.
    """

    job: Job
    answer: str | None
    finish_reason: str | None
    response: bytes | None
    judgement: JudgementRow


class Ledger(Protocol):
    """The rows of one run. Each method's changes are one transaction with whatever else is waiting to be written."""

    async def take_in(self, batch: Batch, decisions: Sequence[tuple[Record, Decision | None]]) -> None:
        """Commit a batch of lines, their decisions, and the position after them; returns when it is durable."""

    async def intake_complete(self) -> None:
        """Note that the input has no more lines."""

    async def open(self, attempt: AttemptStart) -> None:
        """Commit an open attempt; returns when it is durable."""

    def settle(
        self,
        end: AttemptEnd | None,
        result: ResultRow | None = None,
        move: TierMove | None = None,
        decided: Decided | None = None,
        judged: JudgementRow | None = None,
    ) -> None:
        """Queue an attempt's end, with the result, the move, the decision or the judgement that follows from it.

        It does not wait: what is queued is bounded, because each worker's next ``open`` waits for it too.
        """

    def tell(self, news: Callable[[], None]) -> None:
        """Tell so when everything queued so far is durable."""

    async def reusable(self, digest: bytes, *, across_runs: bool) -> Reusable | None:
        """The answer to an identical request, of this run or of any run that is as real, or as simulated, as this one."""

    async def flush(self) -> None:
        """Return when everything queued so far is durable."""

    async def queued(
        self, tier: str | None, after_line: int, up_to_line: int | None, most: int, purpose: Purpose = "answer"
    ) -> list[Job]:
        """Queued records of a tier beyond a line, in line order; committed rows only.

        Their histories are those of their attempts of this purpose.
        """


class Observer(Protocol):
    """Is told what happens, for progress and logs. Must not block."""

    def resumed(self, tier: str | None, state: str, records: int) -> None:
        """Records that an earlier invocation left in this state (``queued``, ``done``, ``failed``, ``rejected``)."""

    def taken_in(self, tier: str | None, records: int, rejected: int) -> None: ...

    def started(self, tier: str | None) -> None: ...

    def ended(self, tier: str | None, cost_nano: int | None, *, retried: bool) -> None: ...

    def finished(self, tier: str | None, state: str, baseline_nano: int | None) -> None: ...

    def moved(self, before: str | None, after: str) -> None: ...

    def notice(self, message: str) -> None:
        """Something that a person should know: a pause, an outage, a fallback."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """Why the engine stopped. ``exit_code`` OK: nothing is pending."""

    exit_code: ExitCode
    reason: str = ""
    hint: str = ""
