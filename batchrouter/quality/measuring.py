"""From verdicts to what may be said: counts, rates, bounds, and the verdict on the whole in plain words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from batchrouter.core.evaluation import GoldAgreement, Measured
from batchrouter.quality.statistics import sample_needed, upper_bound, wilson_interval

HARM_MOST = 0.02
"""The share of worse answers below which people call a cheaper tier as good."""


class Sampled(NamedTuple):
    """One record of a sample: the tier that answered it, what the comparison said and how, and what a person said."""

    tier: str
    how: str | None
    verdict: str | None
    gold: str | None

    @property
    def counted(self) -> str | None:
        """The verdict that counts: a person's before all others."""
        return self.gold or self.verdict


def measured(tier: str, sample: Iterable[Sampled]) -> Measured:
    """The figures of a sample; what is pending is left out."""
    counts = Counter(one.counted for one in sample if one.counted)
    n = counts.total()
    good = counts["match"] + counts["better"]
    return Measured(
        tier=tier,
        n=n,
        match=counts["match"],
        worse=counts["worse"],
        better=counts["better"],
        unjudged=counts["unjudged"],
        rate=good / n if n else None,
        wilson=wilson_interval(good, n) if n else None,
        mismatch_most=upper_bound(n - good, n) if n else None,
    )


def agreement(sample: Sequence[Sampled]) -> GoldAgreement | None:
    """How the judge did where a person's word is known; None: no such record."""
    known = [one for one in sample if one.gold]
    if not known:
        return None
    judged = [one for one in known if one.how == "judge" and one.verdict != "unjudged"]
    return GoldAgreement(
        records=len(known),
        judged=len(judged),
        agreed=sum(one.verdict == one.gold for one in judged),
        worse=sum(one.gold == "worse" for one in judged),
        missed=sum(one.gold == "worse" and one.verdict != "worse" for one in judged),
    )


def in_words(total: Measured, pending: int) -> str:
    """What the sample shows, for a person who has to decide; ``pending``: how many of it are not judged yet."""
    if pending and total.n:
        return f"{pending} of {pending + total.n} are not judged yet; equal answers come first, so nothing can be said"
    if total.mismatch_most is None:
        return "nothing is judged yet, so nothing can be said"
    seen = f"{total.correct} of {total.n} match"
    if total.mismatch_most <= HARM_MOST:
        return f"{seen}: at most {_percent(total.mismatch_most)} mismatch, with 95 % confidence"
    needed = sample_needed(HARM_MOST)
    return (
        f"{seen}: this is compatible with up to {_percent(total.mismatch_most)} mismatch; {needed} records without a harm"
        f" would show {100 * HARM_MOST:g} %"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
