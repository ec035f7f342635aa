"""Templates say exactly where they are wrong, and nothing in a row can change what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchrouter.core.errors import ConfigurationError, InputMissing
from batchrouter.intake.raw_object import BadLine, read_object
from batchrouter.intake.template import Template, template_text


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("Hi {name}!", b'{"name":"{x}"}', "Hi {x}!"),
        ("{{{a}}} {{}}", b'{"a":1}', "{1} {}"),
        ("{ a b }-{c.d}", b'{"a b":false,"c.d":{"x" : 1}}', 'false-{"x" : 1}'),
        ("no field", b"{}", "no field"),
    ],
)
def test_fields_are_filled_in(template: str, row: bytes, text: str) -> None:
    assert Template(template).render(*read_object(row)) == text


@pytest.mark.parametrize(
    ("row", "reason"), [(b'{"a":1}', "no field 'b'"), (b'{"a":1,"b":null}', "field 'b' is null, which the template")]
)
def test_a_field_that_is_missing_or_null_is_named(row: bytes, reason: str) -> None:
    with pytest.raises(BadLine, match=reason):
        Template("{a}{b}").render(*read_object(row))


@pytest.mark.parametrize(
    ("template", "place"),
    [
        ("a {} b", "line 1, column 3: a pair of braces"),
        ("x\n{x!r}", "line 2, column 1: 'x!r' is not"),
        ('as {"k": 1}', "line 1, column 4"),
        ("{a:>3}", "column 1"),
        ("open {a", "column 6: a single '{'"),
        ("a} b", "column 2: a single '}'"),
    ],
)
def test_other_syntax_is_refused_with_its_place(template: str, place: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Template(template)
    assert place in raised.value.message


def test_text_or_file(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text("Say {x}\n")
    assert template_text(str(file)) == "Say {x}"
    for text in ("Say {x}", "either/or {x}", "a/b is it?", "word", "", "x" * 5000):
        assert template_text(text) == text
    for missing in (str(tmp_path / "no.txt"), "prompt.md", str(tmp_path)):
        with pytest.raises(InputMissing):
            template_text(missing)
