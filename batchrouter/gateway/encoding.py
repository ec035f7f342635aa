"""From a stored request body to the bytes of a call, in the dialect of its model. Pure.

Every value that needs no change is sent as the bytes that were read: big integers, escapes and the order of keys stay.
"""

from __future__ import annotations

import msgspec
import orjson

from batchrouter.core.settings import ModelSettings
from batchrouter.ports import Call

_CAPS = ("max_tokens", "max_completion_tokens")


def encode(call: Call, model: ModelSettings, wire_name: str) -> bytes:
    """The JSON body of a call; ``call.body`` is an object without ``model``."""
    head = b'{"model":' + orjson.dumps(wire_name)
    if call.cap_is_ours:
        head += b',"%b":%d' % (model.max_tokens_param.encode(), call.output_cap)
    body = _in_dialect(call.body, model) if _has_dialect(call.body, model) else call.body
    rest = body[1:].lstrip()
    return head + (rest if rest.startswith(b"}") else b"," + rest)


def _has_dialect(body: bytes, model: ModelSettings) -> bool:
    other = _CAPS[1] if model.max_tokens_param == _CAPS[0] else _CAPS[0]
    return bool(model.drop or model.set) or other.encode() in body


def _in_dialect(body: bytes, model: ModelSettings) -> bytes:
    spans: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    parts = []
    for key, raw in spans.items():
        if key in model.drop or key in model.set:
            continue
        name = model.max_tokens_param if key in _CAPS else key
        parts.append(orjson.dumps(name) + b":" + bytes(raw))
    parts += [orjson.dumps(key) + b":" + orjson.dumps(value) for key, value in model.set.items()]
    return b"{" + b",".join(parts) + b"}"
