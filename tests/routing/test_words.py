"""Counting words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchrouter.routing.words import word_count


@given(st.text(st.sampled_from("ab \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x00\x7f") | st.characters(), max_size=12))
def test_words_are_what_white_space_parts(text: str) -> None:
    assert word_count(text) == len(text.split())
