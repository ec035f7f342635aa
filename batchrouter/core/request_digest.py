"""When are two requests the same? When what would be sent is, to whom, and what is expected of the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

from batchrouter.core.tables import ModelSettings

DIGEST_BYTES = 16


def request_digest(
    body: bytes, models: Sequence[tuple[str, ModelSettings]], output_cap: int, expect: bytes | None
) -> bytes:
    """The digest of a request to a tier's models; the order of keys and the white space of the body do not matter."""
    sent_to = [
        (name, model.gateway, model.name, model.max_tokens_param, model.drop, sorted(model.set.items()))
        for name, model in models
    ]
    digest = blake2b(_canonical(body), digest_size=DIGEST_BYTES)
    digest.update(json.dumps([sent_to, output_cap], sort_keys=True, default=str).encode())
    digest.update(b"\0" + (expect or b""))
    return digest.digest()


def _canonical(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):  # a number of thousands of digits, a nesting of hundreds of levels
        return body
