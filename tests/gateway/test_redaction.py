"""The key leaves no body and no text, however it was written there; honest answers are left alone."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.gateway.redaction import SECRET_LEAST, Redactor
from tests.canary import CANARY

KEY = f"{CANARY}/n+12345=="


def in_escapes(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        KEY.replace("/", "\\/"),
        KEY.replace("/", "\\\\\\/"),  # JSON within JSON
        KEY.replace("n", "\\u006e").replace("+", "\\u002B"),
        in_escapes(KEY),
        KEY.lower() + " \\u003c",
    ],
)
def test_a_key_is_found_however_json_writes_it(written: str) -> None:
    body = Redactor(KEY).body(f'{{"error":"key {written} is wrong"}}'.encode())
    assert b"key [redacted]" in body
    assert KEY.lower() not in orjson.loads(body)["error"].lower()


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'\\"), min_size=8))
def test_any_key_is_taken_out_of_bodies_and_texts(key: str) -> None:
    redactor = Redactor(key)
    assert redactor.body(f"<{key}>".encode()) == b"<[redacted]>"
    assert redactor.body(f"<{in_escapes(key)}>".encode()) == b"<[redacted]>"
    assert redactor.text(f"<{key.upper()}>") == "<[redacted]>"


@pytest.mark.parametrize("key", [None, "", "x", "EMPTY", "e" * (SECRET_LEAST - 1)])
def test_a_placeholder_is_no_secret_and_damages_no_answer(key: str | None) -> None:
    body = b'{"content":"EMPTY boxes, eeeeeeee"}'
    assert Redactor(key).body(body) is body
    assert Redactor(key).text("EMPTY") == "EMPTY"


def test_a_body_without_the_key_is_passed_on_as_it_is() -> None:
    body = b'{"content":"five lines\\nof \\u003chtml\\u003e"}'
    assert Redactor(KEY).body(body) == body
