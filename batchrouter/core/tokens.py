"""Token counts before the gateway tells them: a typical estimate, and a bound that reservations can rely on.

UTF-8 bytes are the measure: characters fail on scripts where one character is several tokens. Byte-level vocabularies
never make more tokens than bytes, so the byte count with the envelope's own tokens is a true upper bound.
"""

from __future__ import annotations

TYPICAL_BYTES_PER_TOKEN = 4
TOKENS_PER_REQUEST = 8
IMAGE_TOKENS_MOST = 3_000
TIER_NAME_TOKENS = 5
"""What a model may answer with that is asked for a tier."""
VERDICT_TOKENS = 5
"""What a judge may answer with."""
TYPICAL_OUTPUT_TOKENS = 256
BYTES_A_TOKEN = 10
"""A token is some five bytes, and stands in the answer and in the response around it."""


def typical_input_tokens(prompt_bytes: int) -> int:
    """What a prompt of so many UTF-8 bytes usually counts."""
    return TOKENS_PER_REQUEST + -(-prompt_bytes // TYPICAL_BYTES_PER_TOKEN)


def most_input_tokens(prompt_bytes: int, images: int = 0) -> int:
    """What it can count at most (a byte is never more than one token)."""
    return TOKENS_PER_REQUEST + prompt_bytes + images * IMAGE_TOKENS_MOST
