"""What an evaluation comes to, as values: counts of verdicts, and what may be said of the whole by them."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Measured:
    """Verdicts on the sampled answers of one tier (or of all of them), and what they say of the rest.

    ``rate`` is the share that is as good as the dearer answer (``match`` or ``better``) of ``n``, ``wilson`` its two-sided
    95 % interval, ``mismatch_most`` the exact one-sided 95 % bound of the share that is not; what could not be judged counts
    as not. ``correct``, ``downgraded`` and ``total`` say the same in the words of routing.
    """

    tier: str
    n: int
    match: int
    worse: int
    better: int
    unjudged: int
    rate: float | None
    wilson: tuple[float, float] | None
    mismatch_most: float | None

    @property
    def correct(self) -> int:
        """Answers that the cheaper tier was right for."""
        return self.match + self.better

    @property
    def downgraded(self) -> int:
        """Answers that were materially worse for it."""
        return self.worse

    def as_dict(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            **dataclasses.asdict(self),
            "correct": self.correct,
            "downgraded": self.downgraded,
            "total": self.n,
        }


@dataclass(frozen=True, slots=True)
class GoldAgreement:
    """Records of the sample that a person judged too; of those where the judge spoke, how often it missed a worse answer."""

    records: int
    judged: int
    agreed: int
    worse: int
    missed: int


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """One evaluation. ``pending``: sampled, but not judged yet. Amounts are units of ``currency``, None: not known.

    ``share_pct``: the evaluation's cost in percent of what the run cost without evaluations.
    """

    evaluation: int
    run: int
    seed: int
    sample: int
    drawn: int
    pending: int
    population: int
    at_top: int
    without_text: int
    against: str
    judge: str
    stratify: str
    started_at: str
    finished_at: str | None
    tiers: tuple[Measured, ...]
    total: Measured
    gold: GoldAgreement | None
    cost: float | None
    share_pct: float | None
    currency: str
    threshold: float
    meets_threshold: bool | None
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """The object of ``--json``."""
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("tiers", "total", "gold")
        }
        return {
            "evaluation": own,
            "tiers": [tier.as_dict() for tier in self.tiers],
            "total": self.total.as_dict(),
            "gold": dataclasses.asdict(self.gold) if self.gold else None,
        }


def said(content: str | None, response: bytes | None) -> str:
    """What an answer says: its text, or the calls of tools that it makes, as JSON; where it has both, both."""
    calls = _calls(response)
    if not calls:
        return content or ""
    return json.dumps({"text": content, "tool_calls": calls} if content else calls, ensure_ascii=False, sort_keys=True)


def calls_tools(response: bytes | None) -> bool:
    """Whether an answer, as it was received, makes calls of tools."""
    return bool(_calls(response))


def _calls(response: bytes | None) -> list[dict[str, Any]]:
    try:
        message = json.loads(response or b"")["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        functions = [call["function"] for call in calls] or [message["function_call"]]
        return [_call(function) for function in functions]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return []


def _call(function: dict[str, Any]) -> dict[str, Any]:
    arguments = function["arguments"]
    with suppress(ValueError, TypeError, RecursionError):
        arguments = json.loads(arguments)
    return {"name": function["name"], "arguments": arguments}
