"""Rules decide the same for every way of writing the same words, and say why."""

from __future__ import annotations

import pytest

from batchrouter.core.records import Decision, RequestText
from batchrouter.core.settings import Settings
from batchrouter.routing.rules import RuleRouter


def settings_with(tiers: tuple[str, ...] = ("simple", "medium", "complex"), **routing: object) -> Settings:
    return Settings.model_validate(
        {
            "tiers": tiers,
            "gateway": {"base_url": "http://127.0.0.1"},
            "tier": {tier: {"models": ["m"]} for tier in tiers},
            "model": {"m": {"input": 0, "output": 0}},
            "routing": routing,
        }
    )


ROUTER = RuleRouter(settings_with())
LONG = "filler " * 80


def decide(text: str, router: RuleRouter = ROUTER, **parts: object) -> Decision:
    return router.decide(RequestText(text, str(parts.pop("all_user", text)), **parts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Please ANALYZE this.", "complex: the word 'analyze'"),
        ("analyse, then label", "complex: the word 'analyse'"),
        ("label and then compare", "complex: the word 'compare'"),
        ("the (design)", "complex: the word 'design'"),
        ("the design's end", "complex: the word 'design'"),
        ("_debug_", "complex: the word 'debug'"),
        ("\uff44\uff45\uff42\uff55\uff47 it", "complex: the word 'debug'"),
        (LONG + "label it", "simple: the word 'label'"),
        (LONG + "Yes or  No?", "simple: the phrase 'yes or no'"),
        (LONG + "yes-or-no", "simple: the phrase 'yes or no'"),
        (LONG + "true\nor\nfalse", "simple: the phrase 'true or false'"),
        ("one two three", "simple: 3 words, fewer than 50"),
        ("one", "simple: 1 word, fewer than 50"),
        ("", "simple: 0 words, fewer than 50"),
        (LONG, "medium: 80 words, no keyword"),
        (LONG + "designer compared labels classifying", "medium: 84 words, no keyword"),
        (LONG + "yes or nothing", "medium: 83 words, no keyword"),
        ("word " * 49, "simple: 49 words, fewer than 50"),
        ("word " * 50, "medium: 50 words, no keyword"),
    ],
)
def test_built_in_rules(text: str, reason: str) -> None:
    decision = decide(text)
    assert (decision.reason, decision.router) == (reason, "rules")
    assert decision.tier == reason.split(":", maxsplit=1)[0]


def test_words_are_of_the_last_message_and_length_is_of_all() -> None:
    assert decide("go on", all_user="debug this\ngo on").tier == "simple"
    assert decide("go on", all_user=LONG + "debug\ngo on").reason == "medium: 83 words, no keyword"


@pytest.mark.parametrize(
    ("rule", "text", "parts", "reason"),
    [
        ({"contains": ["terms of service"]}, "The Terms-of-Service!", {}, "the phrase 'terms of service'"),
        ({"contains": ["c++"]}, "in C++ please", {}, "the word 'c++'"),
        ({"contains": ["don't know"]}, "I don\u2019t know", {}, 'the phrase "don\'t know"'),
        (
            {"contains": ["\u0905\u0928\u0941\u092c\u0902\u0927"]},
            "\u092f\u0939 \u0905\u0928\u0941\u092c\u0902\u0927 ?",
            {},
            "the word",
        ),
        ({"task": "legal"}, "x", {"task": "legal"}, "the task 'legal'"),
        ({"regex": r"\bINV-\d+"}, "see INV-7", {}, "the pattern"),
        ({"min_words": 2, "max_words": 3}, "a b", {}, "2 words"),
        ({"has": "image"}, "a", {"keys": frozenset({"image"})}, "it has image"),
        ({"has": "tools", "contains": ["x"]}, "x", {"keys": frozenset({"tools"})}, "the word 'x', it has tools"),
    ],
)
def test_own_rules_come_first(rule: dict, text: str, parts: dict, reason: str) -> None:
    router = RuleRouter(settings_with(rule=[{"tier": "medium", "max_words": 0}, {"tier": "complex", **rule}]))
    decision = decide(text, router, **parts)
    assert decision.tier == "complex"
    assert decision.reason.startswith(f"complex: own rule 2: {reason}")


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"contains": ["c++"]}, "c is old"),
        ({"contains": ["art"]}, "start party"),
        ({"task": "legal"}, "legal"),
        ({"has": "tools", "contains": ["x"]}, "x"),
        ({"min_words": 2}, "one"),
        ({"regex": "A"}, "a"),
    ],
)
def test_own_rules_need_all_their_conditions(rule: dict, text: str) -> None:
    router = RuleRouter(settings_with(rule=[{"tier": "complex", **rule}]))
    assert decide(text, router).tier == "simple"


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        (("small", "large"), ["small", "large", "large"]),
        (("only",), ["only"] * 3),
        (("a", "b", "c", "d"), ["a", "c", "d"]),
    ],
)
def test_other_tiers(tiers: tuple[str, ...], expected: list[str]) -> None:
    router = RuleRouter(settings_with(tiers))
    decisions = [decide(text, router) for text in ("hi", LONG, "debug")]
    assert [decision.tier for decision in decisions] == expected
    assert decisions[2].reason == f"{expected[2]}: the word 'debug'"
