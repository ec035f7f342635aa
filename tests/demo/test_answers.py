"""Answers fit the kind of the prompt, and the same request always gets the same one."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from batchrouter.demo import DemoModel
from batchrouter.demo.allowed import json_keys, labels, yes_or_no
from batchrouter.demo.completion import Completion, complete
from batchrouter.demo.faults import Fault
from batchrouter.demo.request import parse

MODEL = DemoModel("m")
NOTE = "Write a note on late deliveries in the north-east, and say what we do about them, when the next lorry leaves, and whom a shop can call at night. Be brief."


def completed(
    prompt: str, *, seed: int = 0, model: DemoModel = MODEL, fault: Fault | None = None, **body: Any
) -> Completion:
    request = {"model": "m", "messages": [{"role": "user", "content": prompt}], **body}
    return complete(parse(orjson.dumps(request)), model, seed, fault)


def text_of(prompt: str, **parts: Any) -> str:
    return completed(prompt, **parts).choices[0]["message"]["content"]


@pytest.mark.parametrize(
    ("prompt", "listed"),
    [
        (
            "Classify the review as positive, negative or neutral.\nReview: shirts, shoes or bags",
            "positive negative neutral",
        ),
        ("Label this with one of: billing, technical, other.\n\nMy card was charged twice.", "billing technical other"),
        ("Label it (one of the following: Refund | Delivery | Account). Text: hi", "Refund Delivery Account"),
        ("Classify it as good, bad or mixed.\nAnswer with one of these words and nothing else.", "good bad mixed"),
        ("Mark it with one of red, green and amber.", "red green amber"),
        ("Classify it as billing, delivery or account: charged twice, please check.", "billing delivery account"),
        ("Which team should take it: sales, support or finance?", "sales support finance"),
        ("Categories:\n- billing: money\n- technical: bugs\n3. other\nText: hello", "billing technical other"),
        ("Is the sentiment positive/negative/neutral? 'ok product'", "positive negative neutral"),
        ('Tag the email as "complaint", "praise" or "question".', "complaint praise question"),
        ("Classify: 'रिफंड नहीं आया' — शिकायत, पूछताछ or प्रशंसा", "शिकायत पूछताछ प्रशंसा"),
    ],
)
def test_a_classification_gets_one_of_the_labels_that_the_prompt_names(prompt: str, listed: str) -> None:
    assert labels(prompt) == listed.split()
    assert {text_of(prompt, seed=seed) for seed in range(60)} == set(listed.split())


@pytest.mark.parametrize("prompt", ["Write a reply about shirts, shoes or bags.", "Thanks for the parcel", "which"])
def test_a_prompt_that_names_no_labels_has_none(prompt: str) -> None:
    assert labels(prompt) == []


@pytest.mark.parametrize(
    ("prompt", "pair"),
    [
        ("Is this spam? Answer yes or no.", ("yes", "no")),
        ("True or false: GST is charged on this.", ("True", "false")),
        ('Reply "Yes" if it is urgent, otherwise "No".', ("Yes", "No")),
    ],
)
def test_a_question_for_yes_or_no_gets_one_of_the_two(prompt: str, pair: tuple[str, str]) -> None:
    assert yes_or_no(prompt) == pair
    assert {text_of(prompt, seed=seed) for seed in range(40)} == set(pair)


def test_a_routing_question_gets_a_tier_and_mostly_the_cheapest() -> None:
    tiers = [text_of("Which tier: simple, medium or complex? Prompt: hello", seed=seed) for seed in range(200)]
    assert set(tiers) == {"simple", "medium", "complex"}
    assert tiers.count("simple") > tiers.count("medium") > tiers.count("complex")


@pytest.mark.parametrize(
    ("end", "allowed", "mild"),
    [
        ("", {"worse", "not worse"}, "not worse"),
        (" Answer yes or no.", {"yes", "no"}, "no"),
        (" Answer with one of: worse, same.", {"worse", "same"}, "same"),
    ],
)
def test_a_judging_question_gets_a_verdict(end: str, allowed: set[str], mild: str) -> None:
    question = "Is the cheap answer materially worse than the other?" + end
    verdicts = [text_of(question, seed=seed) for seed in range(200)]
    assert set(verdicts) == allowed
    assert verdicts.count(mild) > 120


def test_an_extraction_gets_what_is_there() -> None:
    answer = text_of("Extract order number and amount: order ORD-88213, ₹2,499, asha@example.com")
    assert answer == "ORD-88213, ₹2,499, asha@example.com"
    assert text_of("Extract the order number: the parcel is late") == "not stated"


def test_a_summary_is_one_sentence_and_a_long_prompt_gets_a_longer_draft() -> None:
    assert text_of("Summarise: the parcel is late and the customer is upset.").count(".") == 1
    short, long = text_of("Write to a customer."), text_of("Write to a customer about the delay. " * 10)
    assert len(long) > len(short) > 20


def test_json_without_a_schema_has_the_keys_that_the_prompt_names() -> None:
    prompt = "Return the vendor as JSON with keys vendor, invoice_total and due_date."
    assert json_keys(prompt) == ["vendor", "invoice_total", "due_date"]
    for body in ({}, {"response_format": {"type": "json_object"}}):
        assert json.loads(text_of(prompt, **body)).keys() == {"vendor", "invoice_total", "due_date"}
    assert json.loads(text_of("Hello", response_format={"type": "json_object"})) == {"answer": "not stated"}


def test_the_same_seed_and_request_get_the_same_answer_and_other_seeds_others() -> None:
    prompt = NOTE
    assert completed(prompt, seed=7) == completed(prompt, seed=7)
    assert len({text_of(prompt, seed=seed) for seed in range(20)}) > 10


def test_a_higher_cap_gives_more_of_the_same_text() -> None:
    prompt = NOTE
    whole = text_of(prompt)
    cut = completed(prompt, max_tokens=5)
    assert cut.choices[0]["finish_reason"] == "length"
    assert cut.usage.completion == 5
    content = cut.choices[0]["message"]["content"]
    assert whole.startswith(content)
    assert len(content) < len(whole)
    exact = completed(prompt, max_completion_tokens=completed(prompt).usage.completion)
    assert exact.choices[0] == completed(prompt).choices[0]


def test_choices_differ_and_all_are_counted() -> None:
    three = completed(NOTE, n=3)
    assert [choice["index"] for choice in three.choices] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in three.choices}) > 1
    assert three.usage.completion > completed(NOTE).usage.completion


def test_usage_counts_bytes_of_prompts_and_shares_of_the_model() -> None:
    model = DemoModel("m", cached_share=0.5, reasoning_tokens=10)
    usage = completed("ü" * 40, model=model, n=2).usage
    assert usage.prompt == 3 + 4 + 20
    assert usage.cached == 13
    assert usage.reasoning == 20
    assert usage.completion > usage.reasoning


def test_reasoning_can_use_up_the_cap() -> None:
    thought = completed("Write a note.", model=DemoModel("m", reasoning_tokens=50), max_tokens=30)
    assert thought.choices[0]["finish_reason"] == "length"
    assert thought.choices[0]["message"]["content"] == ""
    assert (thought.usage.completion, thought.usage.reasoning) == (30, 30)


def test_faults_of_answers() -> None:
    whole = completed(NOTE)
    empty, refusal, cut = (completed(NOTE, fault=fault) for fault in (Fault.EMPTY, Fault.REFUSAL, Fault.TRUNCATED))
    assert empty.choices[0]["message"]["content"] == ""
    assert empty.usage.completion == 0
    assert refusal.choices[0]["message"]["content"] is None
    assert refusal.choices[0]["message"]["refusal"]
    assert cut.choices[0]["finish_reason"] == "length"
    assert 0 < cut.usage.completion < whole.usage.completion


def test_a_forced_tool_is_called() -> None:
    function = {
        "name": "refund",
        "parameters": {
            "type": "object",
            "properties": {"amount": {"type": "integer", "minimum": 5}},
            "required": ["amount"],
        },
    }
    tools = [{"type": "function", "function": {"name": "other"}}, {"type": "function", "function": function}]
    choice = {"type": "function", "function": {"name": "refund"}}
    answered = completed("Refund it", tools=tools, tool_choice=choice).choices[0]
    assert answered["finish_reason"] == "tool_calls"
    assert answered["message"]["content"] is None
    call = answered["message"]["tool_calls"][0]["function"]
    assert call["name"] == "refund"
    assert json.loads(call["arguments"]) == {"amount": 5}
    assert completed("Refund it", tools=tools).choices[0]["finish_reason"] == "stop"
