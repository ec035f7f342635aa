"""Watching the gateway through whatever calls are made of it: pauses, outages, answers of no use."""

from __future__ import annotations

from batchrouter.core.errors import ExitCode
from batchrouter.core.health import UnusableShare
from batchrouter.core.outcome import Outcome
from batchrouter.core.retry import NO_ANSWER, PAID_UNUSABLE
from batchrouter.engine.calling import Made
from batchrouter.engine.context import RunContext
from batchrouter.engine.model import ModelState
from batchrouter.ports import RunEnd

_STOP_HINTS = {
    ExitCode.ACCESS: "Check the key and the credit of the account (`batchrouter doctor`), then start the same command again.",
    ExitCode.CONFIGURATION: "Mend the configuration (`batchrouter doctor`), then start the same command again.",
}


class GatewayWatch:
    """Takes in every outcome, and stops the run where going on would only cost."""

    def __init__(self, context: RunContext) -> None:
        self._observer = context.observer
        self._stop = context.stop
        self._unusable = UnusableShare()
        self._silent: set[str] = set()

    def learn(self, made: Made, model: ModelState, *, jitter: float) -> None:
        """One call ended: what it tells of its model and of the gateway. ``jitter`` is in [0, 1)."""
        outcome = made.outcome
        pause_s = model.learn(outcome, made.start, sent_s=made.sent_s, jitter=jitter)
        if pause_s:
            self._observer.notice(f"{model.name}: rate limited, pausing {pause_s:,.0f} s")
        self._tell_of_silence(outcome, model)
        if outcome.status_code == 200:
            self._unusable.add(unusable=outcome.error in PAID_UNUSABLE)
            if self._unusable.too_high:
                self._stop.request(_rubbish(model, outcome))

    def _tell_of_silence(self, outcome: Outcome, model: ModelState) -> None:
        """Once when it begins, and when it is over; refusals are no silence."""
        if model.name in self._silent and model.breaker.is_calm:
            self._silent.remove(model.name)
            self._observer.notice(f"{model.name}: the gateway answers again")
        elif model.name not in self._silent and outcome.error in NO_ANSWER and model.is_silent:
            self._silent.add(model.name)
            self._observer.notice(
                f"{model.name}: no answer from the gateway, waiting up to patience_s = {model.patience_s:g}: {outcome.message}"
            )

    def not_found(self, model: ModelState, reason: str) -> None:
        """The gateway says that there is no such model, or nothing at all where it was asked."""
        if not model.is_unknown:
            model.unknown_because = reason
            self._observer.notice(f"{model.name}: not found at the gateway, so it is asked no more: {reason}")


def hint_of(code: ExitCode) -> str:
    """What a person can do about a run that stopped with this code."""
    return _STOP_HINTS[code]


def _rubbish(model: ModelState, outcome: Outcome) -> RunEnd:
    return RunEnd(
        ExitCode.UNAVAILABLE,
        f"{model.name}: more than a fifth of the last 50 answers were of no use, the last: {outcome.message}",
        "They are paid for. Look at the gateway, then start the same command again.",
    )
