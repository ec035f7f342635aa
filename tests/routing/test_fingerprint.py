"""The same type of request has one fingerprint, whatever names, numbers and dates it speaks of."""

import random
import string
import sys

import pytest

from batchrouter.routing.fingerprint import FINGERPRINT_CHARACTERS, fingerprint


@pytest.mark.parametrize(
    ("one", "other", "masked"),
    [
        ("Where is order BZ-48213?", "where  is ORDER az-1?", "where is order <id>?"),
        ("It cost 1,299.50 rupees", "It cost 7 rupees", "it cost <number> rupees"),
        ("Write to a.b+c@x.co.in now", "Write to me@example.org now", "write to <email> now"),
        ("See https://a.example/x?y=1#z", "See www.other.example/path", "see <link>"),
        ('Rate "good, cheap" please', "Rate “bad” please", "rate <quoted> please"),
        ("Rate 'a b' please", "Rate ‘c’ please", "rate <quoted> please"),
        ("Due 2026-01-31T06:30:00Z sharp", "Due 1/2/2027 sharp", "due <date> sharp"),
        ("On 3 Mar 2026 we met", "On 14 december we met", "on <date> we met"),
        ("On March 3rd, 2026 we met", "On jan. 14 we met", "on <date> we met"),
        ("id 123e4567-e89b-12d3-a456-426614174000 ok", "id 00000000-0000-0000-0000-000000000000 ok", "id <id> ok"),
        ("\uff21sk me", "ask\u00a0me", "ask me"),
    ],
)
def test_what_differs_within_a_type_is_masked(one: str, other: str, masked: str) -> None:
    assert fingerprint(one) == fingerprint(other) == masked


@pytest.mark.parametrize(
    ("one", "other"),
    [("classify this", "summarise this"), ("don't stop, it's late", "don't go, it's late"), ("", "a")],
)
def test_other_words_are_another_type(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_only_the_beginning_counts_and_a_mask_may_reach_beyond_it() -> None:
    head = "word " * 38
    assert fingerprint(head + "somebody.with.a.long.name@example.org") == fingerprint(head + "me@x.in")
    assert fingerprint(head * 2 + "one") == fingerprint(head * 2 + "two")
    assert len(fingerprint("word " * 10_000)) == FINGERPRINT_CHARACTERS


def test_no_text_is_too_much() -> None:
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    alphabets = ["\"'`“”«»", "0123456789.,:-/", "a1-_@.", string.printable, "\ud800\U0001f600é \n", "jan 1"]
    for _ in range(300):
        alphabet = chance.choice(alphabets)
        text = "".join(chance.choices(alphabet, k=chance.choice([0, 1, 50, 5_000])))
        assert len(fingerprint(text)) <= FINGERPRINT_CHARACTERS
        assert fingerprint(text) == fingerprint(text)
