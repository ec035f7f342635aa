"""The rule router: free, instant, and able to say why.

The user's own rules come first. Then words that ask for thought make a record complex, words that ask for a label, or
few words at all, make it simple, and the rest is medium. Words are looked for in the last user message, length is that
of all user text.
"""

from __future__ import annotations

import re

from batchrouter.core.checks import regex_problem
from batchrouter.core.errors import ConfigurationError
from batchrouter.core.records import Decision, RequestText
from batchrouter.core.settings import Settings
from batchrouter.core.tables import RuleSettings
from batchrouter.routing.words import Keywords, named, normalized, word_count

COMPLEX_WORDS = ("analyse", "analyze", "detailed", "compare", "refactor", "architecture", "design", "debug")
SIMPLE_WORDS = ("classify", "extract", "yes or no", "true or false", "label", "categorise", "categorize")
SIMPLE_BELOW_WORDS = 50
ROUTER = "rules"


class RuleRouter:
    """Decides by rules alone (``ports.Router``). Raises ConfigurationError for a rule that cannot be compiled.

    With other tiers than the three default ones, complex means the last of them, simple the first, and medium the one
    in the middle. ``only_if_sure``: where no rule of the user's own and no keyword says it, another router decides.
    """

    def __init__(self, settings: Settings, *, only_if_sure: bool = False) -> None:
        tiers = settings.tiers
        self._simple, self._medium, self._complex = tiers[0], tiers[len(tiers) // 2], tiers[-1]
        self._only_if_sure = only_if_sure
        self._own = [_OwnRule(rule, number) for number, rule in enumerate(settings.routing.rule, start=1)]
        self._complex_words = Keywords(COMPLEX_WORDS)
        self._simple_words = Keywords(SIMPLE_WORDS)

    def decide(self, text: RequestText) -> Decision | None:
        """The tier and the reason; None where it is left to another router."""
        last = normalized(text.last_user)
        if self._own and (decision := self._by_own_rule(text, last)):
            return decision
        if (word := self._complex_words.first_in(last)) is not None:
            return _decision(self._complex, named(word))
        if (word := self._simple_words.first_in(last)) is not None:
            return _decision(self._simple, named(word))
        if self._only_if_sure:
            return None
        words = word_count(text.all_user)
        counted = f"{words} {'word' if words == 1 else 'words'}"
        if words < SIMPLE_BELOW_WORDS:
            return _decision(self._simple, f"{counted}, fewer than {SIMPLE_BELOW_WORDS}")
        return _decision(self._medium, f"{counted}, no keyword")

    def _by_own_rule(self, text: RequestText, last: str) -> Decision | None:
        words = word_count(text.all_user)
        for rule in self._own:
            reason = rule.matches(text, last, words)
            if reason is not None:
                return _decision(rule.tier, reason)
        return None


def _decision(tier: str, reason: str) -> Decision:
    return Decision(tier, f"{tier}: {reason}", ROUTER)


class _OwnRule:
    """One ``[[routing.rule]]``: matches where all its conditions hold."""

    def __init__(self, rule: RuleSettings, number: int) -> None:
        self.tier = rule.tier
        self._rule = rule
        self._number = number
        self._keywords = Keywords(rule.contains) if rule.contains else None
        problem = None if rule.regex is None else regex_problem(rule.regex)
        if problem:
            raise ConfigurationError(f"routing.rule.{number}.regex: is not a regular expression: {problem}")
        self._regex = None if rule.regex is None else re.compile(rule.regex)

    def matches(self, text: RequestText, last: str, words: int) -> str | None:
        """Why it matches, or None. ``last`` is the last user message normalised, ``words`` counts all user text."""
        if not self._fits_request(text, words):
            return None
        found = None
        if self._keywords is not None and (found := self._keywords.first_in(last)) is None:
            return None
        if self._regex is not None and self._regex.search(text.last_user) is None:
            return None
        return f"own rule {self._number}: {', '.join(self._conditions(found, words))}"

    def _fits_request(self, text: RequestText, words: int) -> bool:
        rule = self._rule
        return (
            (rule.task is None or rule.task == text.task)
            and (rule.has is None or rule.has in text.keys)
            and (rule.min_words is None or words >= rule.min_words)
            and (rule.max_words is None or words <= rule.max_words)
        )

    def _conditions(self, found: str | None, words: int) -> list[str]:
        rule = self._rule
        said = [named(found)] if found is not None else []
        if rule.task is not None:
            said.append(f"the task {rule.task!r}")
        if rule.regex is not None:
            said.append(f"the pattern {rule.regex!r}")
        if rule.has is not None:
            said.append(f"it has {rule.has}")
        if rule.min_words is not None or rule.max_words is not None:
            said.append(f"{words} words")
        return said
