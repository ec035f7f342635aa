"""A model at work: its settings, prices, pacing and health, and how long its answers usually are."""

from __future__ import annotations

from collections.abc import Sequence

from batchrouter.core.errors import ExitCode
from batchrouter.core.health import OutageBreaker
from batchrouter.core.outcome import ErrorClass, Outcome
from batchrouter.core.pricing import Prices, worst_case_nano
from batchrouter.core.retry import NO_ANSWER, RETRY_AFTER_MOST_S
from batchrouter.core.tables import ModelSettings
from batchrouter.core.tokens import most_input_tokens, typical_input_tokens
from batchrouter.engine.limit_search import LimitSearch
from batchrouter.engine.pacing import Pacing
from batchrouter.engine.stopping import Stop
from batchrouter.ports import AttemptStart, Clock, Job, RunEnd

TYPICAL_OUTPUT_TOKENS = 256
LEARNING_RATE = 0.01
"""Of the last hundred answers or so: what is held for many calls in flight must not follow the last few."""
SERVICE_UNAVAILABLE = 503
PAUSE_FIRST_S = 1.0
PAUSE_MOST_S = 60.0
LONG_PAUSE_S = 60.0
"""A model that pauses for longer is down: the tier's next one takes its records."""
LOOK_AGAIN_S = 1.0
SILENCE_S = 5.0
"""No answer for so long is told; a call that breaks off now and then is not."""
SEARCHING_PAUSE_MOST_S = 8.0
"""How long refusals last tells what kind of limit it is, so an unknown one is asked more often."""


def preferred(able: Sequence[ModelState]) -> ModelState | None:
    """Of models that can take a call: the first that may be asked now, else one that is not given up. None: there are none."""
    for model in able:
        if model.may_be_asked:
            return model
    for model in able:
        if not model.is_given_up:
            return model
    return able[0] if able else None


class ModelState:
    """Everything the engine knows of one model while it runs."""

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        prices: Prices | None,
        *,
        pacing: Pacing,
        limits: LimitSearch,
        patience_s: float,
        clock: Clock,
    ) -> None:
        self.name = name
        self.settings = settings
        self.prices = prices
        self.pacing = pacing
        self.limits = limits
        self.patience_s = patience_s
        self.breaker = OutageBreaker()
        self.unknown_because = ""
        self._clock = clock
        self._typical_output = float(TYPICAL_OUTPUT_TOKENS)
        self._answers = 0
        self._pauses = 0
        self._last_message = ""
        self._is_refusing = False
        self._asks_for_s = 0.0

    def can_take(self, job: Job, output_cap: int) -> bool:
        """Whether the model has the features and the context that the record needs."""
        supports = self.settings.supports
        if supports is not None and not job.needs <= set(supports):
            return False
        context = self.settings.context
        return context is None or typical_input_tokens(job.prompt_bytes) + output_cap <= context

    def worst_case_nano(self, job: Job, output_cap: int) -> int | None:
        """The most that this call can cost; None without a price."""
        if self.prices is None:
            return None
        output_cap, choices = self.settings.really_sent(output_cap, job.choices)
        return worst_case_nano(most_input_tokens(job.prompt_bytes, job.images), output_cap, choices, self.prices)

    def likely_tokens(self, job: Job, output_cap: int) -> int:
        """What the call will probably count against a limit of tokens per minute."""
        output = min(output_cap, round(self._typical_output)) * job.choices
        return typical_input_tokens(job.prompt_bytes) + output

    @property
    def is_unknown(self) -> bool:
        """Whether the gateway said that there is no such thing: then it is asked no more."""
        return self.unknown_because != ""

    @property
    def may_be_asked(self) -> bool:
        """Whether it is known, and either answers or is to be tried again."""
        if self.is_unknown or self.breaker.is_calm:
            return not self.is_unknown
        return self.may_answer_soon() and self.breaker.wait_s(self._clock.monotonic_s()) <= 0

    def may_answer_soon(self) -> bool:
        """Whether it is worth waiting for; else another model, if there is one, shall take its calls."""
        return self.breaker.is_calm or not (self.is_given_up or self.pacing.pause_left_s > LONG_PAUSE_S)

    @property
    def is_held_up(self) -> bool:
        """Whether a pause or an outage lasts."""
        return self.breaker.is_open or self.pacing.is_paused

    async def is_available(self, stop: Stop) -> bool:
        """Whether a call may be made now. Else a moment has passed, after which another model may be the better one.

        In an outage one call at a time is let through as a probe.
        """
        now_s = self._clock.monotonic_s()
        wait_s = max(self.pacing.pause_left_s, self.breaker.wait_s(now_s))
        if wait_s > 0:
            await stop.sleep(min(wait_s, LOOK_AGAIN_S))
            return False
        if self.breaker.is_open:
            self.breaker.probe_taken(now_s)
        return True

    def learn(self, outcome: Outcome, start: AttemptStart, *, sent_s: float, jitter: float) -> float:
        """Take in the outcome of a call that was sent at this time; returns the seconds of a pause of the whole model that begins with it, or 0."""
        now_s, paused_until_s = self._clock.monotonic_s(), self.pacing.gate.paused_until_s
        self._last_message = outcome.message
        self._is_refusing = outcome.error is ErrorClass.OVERLOAD
        self._asks_for_s = outcome.retry_after_s or 0.0 if self._is_refusing else 0.0
        if outcome.usage and start.purpose == "answer":
            self._answers += 1
            rate = max(LEARNING_RATE, 1 / (self._answers + 1))
            self._typical_output += rate * (outcome.usage.output_tokens - self._typical_output)
        if outcome.error is ErrorClass.OVERLOAD:
            self.breaker.refused(now_s, sent_s=sent_s, paused_until_s=paused_until_s)
            waits = self.limits.refused(sent_s, outcome.retry_after_s or 0.0)
            return self._pause(outcome.retry_after_s, jitter) if waits or outcome.retry_after_s else 0.0
        if outcome.error in NO_ANSWER:
            self.breaker.failed(now_s, start.line, sent_s=sent_s, paused_until_s=paused_until_s)
            if outcome.status_code == SERVICE_UNAVAILABLE or outcome.error is ErrorClass.LOST:
                self.limits.choked(sent_s)
        else:
            self.limits.answered(sent_s, outcome.announced)
            if self.breaker.answered(sent_s):
                self.pacing.resume(sent_s)
                self._pauses = 0
        return 0.0

    def _pause(self, retry_after_s: float | None, jitter: float) -> float:
        """A refusal pauses the model once, however many calls were refused with it; 0: the pause is no news."""
        wish_s, left_s = retry_after_s or 0.0, self.pacing.pause_left_s
        if left_s > 0 and wish_s <= RETRY_AFTER_MOST_S:
            return 0.0
        most_s = SEARCHING_PAUSE_MOST_S if self.limits.is_of_rate else PAUSE_MOST_S
        bound_s = min(most_s, PAUSE_FIRST_S * (1 << self._pauses))
        self._pauses = min(self._pauses + 1, 10)
        pause_s = max(wish_s, bound_s * (0.5 + jitter / 2))
        self.pacing.pause(pause_s)
        return pause_s if pause_s > 2 * left_s else 0.0

    @property
    def _asks_for_too_long(self) -> bool:
        return self._asks_for_s > max(self.patience_s, RETRY_AFTER_MOST_S)

    def unavailable(self) -> RunEnd:
        """The end of a run whose gateway does not answer, or only says "later"."""
        if self._asks_for_too_long:
            return self._told_to_wait()
        what = "the gateway keeps refusing," if self._is_refusing else "no answer from the gateway"
        return RunEnd(
            ExitCode.UNAVAILABLE,
            f"{self.name}: {what} for longer than patience_s = {self.patience_s:g}: {self._last_message}",
            "Nothing is lost: start the same command again when the gateway is back.",
        )

    def _told_to_wait(self) -> RunEnd:
        return RunEnd(
            ExitCode.UNAVAILABLE,
            f"{self.name}: the gateway asks to wait {self._asks_for_s:,.0f} s, longer than patience_s = {self.patience_s:g}: {self._last_message}",
            "Nothing is lost: start the same command again after that time.",
        )

    @property
    def is_silent(self) -> bool:
        """Whether it has given no answer at all for some seconds, or to many calls in a row."""
        return self.breaker.is_open or self.breaker.silent_for_s(self._clock.monotonic_s()) > SILENCE_S

    def retry_in_s(self, error_class: str | None, delay_s: float) -> float:
        """When a call that failed in this way is made again: where no answer came, at the end of the patience at the latest."""
        if error_class not in NO_ANSWER or self.breaker.failing_since_s is None:
            return delay_s
        over_s = self.breaker.failing_since_s + self.patience_s
        return min(delay_s, max(0.0, over_s - self._clock.monotonic_s()))

    @property
    def is_given_up(self) -> bool:
        """No answer for longer than the gateway's patience, or its word that it will be so."""
        if self.breaker.is_calm:
            return False
        return self._asks_for_too_long or self.breaker.silent_for_s(self._clock.monotonic_s()) > self.patience_s
