"""Bytes sent are bytes read, but for what the model's dialect changes."""

import orjson
import pytest

from batchrouter.core.tables import ModelSettings
from batchrouter.gateway.encoding import encode
from batchrouter.ports import Call

BODY = b'{"messages":[{"role":"user","content":"caf\\u00e9 \\ud83d\\ude00"}],"seed":18446744073709551617,"temperature":1.0}'


def sent(body: bytes = BODY, *, ours: bool = True, **dialect: object) -> bytes:
    return encode(Call("m", body, 64, cap_is_ours=ours), ModelSettings.model_validate(dialect), "vendor/m")


def test_model_and_cap_are_put_in_front_and_every_other_byte_stays() -> None:
    assert sent() == b'{"model":"vendor/m","max_tokens":64,' + BODY[1:]
    assert sent(ours=False) == b'{"model":"vendor/m",' + BODY[1:]


def test_an_empty_body_is_still_an_object() -> None:
    assert orjson.loads(sent(b"{}", ours=False)) == {"model": "vendor/m"}


@pytest.mark.parametrize("body", [b'{"max_tokens":5,"messages":[]}', b'{"max_completion_tokens":5,"messages":[]}'])
@pytest.mark.parametrize("param", ["max_tokens", "max_completion_tokens"])
def test_the_records_own_cap_takes_the_models_word_for_it(body: bytes, param: str) -> None:
    value = orjson.loads(sent(body, ours=False, max_tokens_param=param))
    assert value == {"model": "vendor/m", param: 5, "messages": []}


def test_dropped_and_set_keys_leave_the_other_bytes_alone() -> None:
    out = sent(drop=["temperature"], set={"reasoning_effort": "low"})
    assert b"temperature" not in out
    assert b'"seed":18446744073709551617' in out
    assert b"caf\\u00e9" in out
    assert orjson.loads(out.replace(b"18446744073709551617", b"1"))["reasoning_effort"] == "low"


def test_a_prompt_that_mentions_the_other_cap_is_not_touched() -> None:
    body = b'{"messages":[{"role":"user","content":"what is max_completion_tokens?"}]}'
    assert orjson.loads(sent(body, ours=False))["messages"] == orjson.loads(body)["messages"]


def test_no_key_is_sent_twice() -> None:
    assert sent(b'{"a":1}', set={"max_tokens": 5, "model": "other"}) == b'{"model":"other","max_tokens":5,"a":1}'
    both = b'{"max_tokens":1,"max_completion_tokens":2}'
    assert sent(both, ours=False) == b'{"model":"vendor/m","max_tokens":2}'


def test_drop_speaks_of_the_keys_as_they_are_sent() -> None:
    assert sent(b'{"a":1}', drop=["max_tokens"]) == b'{"model":"vendor/m","a":1}'
    renamed = sent(b'{"max_tokens":5}', ours=False, drop=["max_tokens"], max_tokens_param="max_completion_tokens")
    assert renamed == b'{"model":"vendor/m","max_completion_tokens":5}'


def test_order_and_white_space_of_a_body_in_a_dialect_are_those_that_were_read() -> None:
    body = b'{"z": {"b" : 1.0, "a":[1E5 ,2]},"a":"\\/"}'
    assert sent(body, ours=False, drop=["x"]) == b'{"model":"vendor/m","z":{"b" : 1.0, "a":[1E5 ,2]},"a":"\\/"}'
