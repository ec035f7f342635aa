"""From a stored request body to the bytes of a call, in the dialect of its model. Pure.

Every value that needs no change is sent as the bytes that were read: big integers, escapes and the order of keys stay.
"""

from __future__ import annotations

import msgspec
import orjson

from batchrouter.core.tables import OUTPUT_CAPS, ModelSettings
from batchrouter.ports import Call

_OTHER_CAP = {OUTPUT_CAPS[0]: OUTPUT_CAPS[1].encode(), OUTPUT_CAPS[1]: OUTPUT_CAPS[0].encode()}
_SPANS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode(call: Call, model: ModelSettings, wire_name: str) -> bytes:
    """The JSON body of a call; ``call.body`` is an object without ``model``.

    ``drop`` and ``set`` speak of the keys as they are sent, an output cap of ours and the renamed one included.
    """
    if model.drop or model.set or _OTHER_CAP[model.max_tokens_param] in call.body:
        return _in_dialect(call, model, wire_name)
    head = b'{"model":' + orjson.dumps(wire_name)
    if call.cap_is_ours:
        head += b',"%b":%d' % (model.max_tokens_param.encode(), call.output_cap)
    rest = call.body[1:].lstrip()
    return head + (rest if rest.startswith(b"}") else b"," + rest)


def _in_dialect(call: Call, model: ModelSettings, wire_name: str) -> bytes:
    values = {"model": orjson.dumps(wire_name)}
    if call.cap_is_ours:
        values[model.max_tokens_param] = b"%d" % call.output_cap
    for key, raw in _SPANS.decode(call.body).items():
        values[model.max_tokens_param if key in OUTPUT_CAPS else key] = bytes(raw)
    for key in model.drop:
        values.pop(key, None)
    for key, value in model.set.items():
        values[key] = orjson.dumps(value)
    return b"{" + b",".join(orjson.dumps(key) + b":" + value for key, value in values.items()) + b"}"
