"""How good is the cheaper answer? The dearer tier is asked the same; then checks, equality and a judge say which is worse.

What is paid for is a row as soon as it is there: whatever ends the process, the next start goes on with what is missing.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from batchrouter.core.checks import expectation_of, failed_check
from batchrouter.core.errors import ExitCode
from batchrouter.core.evaluation import calls_tools, said
from batchrouter.core.outcome import Answer, ErrorClass, Outcome
from batchrouter.core.retry import History
from batchrouter.core.tokens import VERDICT_TOKENS
from batchrouter.engine.asking import Asked, Asking, own_question
from batchrouter.engine.context import RunContext
from batchrouter.ports import AttemptEnd, Comparison, Job, JudgementRow, RunEnd
from batchrouter.quality.equality import equality
from batchrouter.quality.judging import question, verdict_of, word_of

REFUSALS_MOST = 3
"""A request may be wrong for a dearer model by itself; when so many were refused and none answered, the settings are."""
_NO_ANSWER = Outcome("error", ErrorClass.UNUSABLE, "no answer")


class _Body(msgspec.Struct):
    messages: msgspec.Raw


_BODY = msgspec.json.Decoder(_Body)


class Comparing:
    """Judges the answers of one sample. ``judge`` None: what is not equal is worse."""

    def __init__(self, context: RunContext, asking: Asking, *, judge: str | None) -> None:
        self._settings = context.settings
        self._ledger = context.ledger
        self._stop = context.stop
        self._clock = context.clock
        self._asking = asking
        self._judge = judge
        self._answered: set[str] = set()
        self._refused: Counter[str] = Counter()
        self.has_no_room = False

    async def compare(self, one: Comparison) -> None:
        """Bring one comparison as far as the run and its budget let it."""
        ours = said(one.answer, one.response)
        row = one.judgement
        if row.other_attempt is None:
            asked = await self._ask_above(one.job)
            if asked is None:
                return
            row = self._with_answer(row, asked, one, ours)
            self._ledger.settle(asked.end, judged=row)
        if row.verdict is None:
            await self._have_it_judged(one.job, row, ours)

    async def _ask_above(self, job: Job) -> Asked | None:
        tier = self._settings.tier[job.tier or ""]
        cap = tier.max_output_tokens if job.max_output_tokens is None else job.max_output_tokens
        asked = await self._asking.ask(job, "judge", tier.models, output_cap=cap)
        return self._went_on(asked, f"tier {job.tier!r}", refusals_most=REFUSALS_MOST)

    def _went_on(self, asked: Asked, whom: str, *, refusals_most: int) -> Asked | None:
        """None where there is nothing to go on with now."""
        if asked.state == "answered":
            self._answered.add(whom)
        self.has_no_room = self.has_no_room or asked.state == "no_room"
        if asked.state in ("stopped", "no_room"):
            return None
        outcome = asked.outcome or _NO_ANSWER
        if asked.state == "given_up" and self._is_a_wrong_setting(outcome, whom, refusals_most):
            self._ledger.settle(asked.end)
            self._stop.request(_cannot_be_asked(whom, outcome))
            return None
        return asked

    def _is_a_wrong_setting(self, outcome: Outcome, whom: str, refusals_most: int) -> bool:
        """Whether all others would fare the same: no model is known, or none of so many requests was answered."""
        self._refused[whom] += outcome.error is ErrorClass.BAD_REQUEST
        nobody_answered = whom not in self._answered and self._refused[whom] >= refusals_most
        return outcome.error is ErrorClass.MODEL_UNKNOWN or (
            outcome.error is ErrorClass.BAD_REQUEST and nobody_answered
        )

    def _with_answer(self, row: JudgementRow, asked: Asked, one: Comparison, ours: str) -> JudgementRow:
        outcome = asked.outcome or _NO_ANSWER
        if outcome.answer is None or asked.end is None:
            return self._judged(row, "unjudged", None)
        theirs = said(outcome.answer.content, outcome.response)
        row = msgspec.structs.replace(
            row, other_attempt=asked.end.attempt, other_model=asked.model, other_answer=theirs
        )
        how, verdict = self._without_a_judge(one, outcome.answer, ours, theirs)
        return self._judged(row, verdict, how) if verdict else row

    def _without_a_judge(self, one: Comparison, other: Answer, ours: str, theirs: str) -> tuple[str | None, str | None]:
        """(how it was found, the verdict) where checks or equality decide; (None, None) where they do not.

        A dearer answer that our own cap cut short is no measure.
        """
        if other.finish_reason == "length" and one.job.max_output_tokens is None:
            return None, "unjudged"
        expected = expectation_of(one.job.expect) if one.job.expect else None
        own = Answer(one.answer, one.finish_reason, has_tool_calls=calls_tools(one.response))
        failed, other_failed = (
            failed_check(answer, expected, own_cap=None, body=one.job.body) is not None for answer in (own, other)
        )
        if failed is not other_failed:
            return "expect", "worse" if failed else "better"
        if same := equality(ours, theirs):
            return same, "match"
        return (None, None) if self._judge else ("exact", "worse")

    async def _have_it_judged(self, job: Job, row: JudgementRow, ours: str) -> None:
        theirs = row.other_answer or ""
        if row.forward is None:
            asked = await self._put(job, ours, theirs)
            if asked is None:
                return
            row = msgspec.structs.replace(row, forward=_word(asked))
            self._ledger.settle(asked.end, judged=row)
        if row.backward is None:
            asked = await self._put(job, theirs, ours)
            if asked is None:
                return
            row = msgspec.structs.replace(row, backward=_word(asked))
            self._settle_verdict(row, asked.end)
        else:
            self._settle_verdict(row, None)

    def _settle_verdict(self, row: JudgementRow, end: AttemptEnd | None) -> None:
        verdict = verdict_of(word_of(row.forward), word_of(row.backward))
        self._ledger.settle(end, judged=self._judged(row, verdict, "judge"))

    async def _put(self, job: Job, answer_a: str, answer_b: str) -> Asked | None:
        """Put a question to the judge."""
        judge = self._judge or ""
        body = question(bytes(_BODY.decode(job.body).messages), answer_a, answer_b)
        asking = own_question(job, body, prompt_bytes=len(body))
        asking.history = History()
        asked = await self._asking.ask(asking, "judge", (judge,), output_cap=VERDICT_TOKENS)
        job.attempts_so_far = asking.attempts_so_far
        return self._went_on(asked, f"the judge {judge!r}", refusals_most=1)

    def _judged(self, row: JudgementRow, verdict: str, how: str | None) -> JudgementRow:
        return msgspec.structs.replace(row, verdict=verdict, how=how, judged_at=self._clock.utc())


def _word(asked: Asked) -> str:
    answer = asked.outcome.answer if asked.outcome else None
    return word_of(answer.content if answer else None)


def _cannot_be_asked(whom: str, outcome: Outcome) -> RunEnd:
    return RunEnd(
        ExitCode.CONFIGURATION,
        f"{whom} cannot be asked: {outcome.message}",
        "Mend its [model] table, or choose another --judge or --against; what was judged is kept.",
    )
