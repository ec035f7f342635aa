"""A template is taken or refused with its place; what it renders is its text with the fields of the row, and no more."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.core.errors import ConfigurationError
from batchrouter.intake.raw_object import BadLine, read_object
from batchrouter.intake.template import Template
from tests.fuzz.writing import THOROUGH, json_values

braces = st.text(alphabet="{}ab .!:\n", max_size=14) | st.text(max_size=14)
names = st.text(alphabet="abé_", min_size=1, max_size=3)
literals = st.text(max_size=6).map(lambda text: ("", text)) | names.map(lambda name: (name, ""))


@THOROUGH
@given(braces)
def test_any_text_is_a_template_or_refused_with_its_place(text: str) -> None:
    try:
        template = Template(text)
    except ConfigurationError as error:
        place = re.match(r"template, line (\d+), column (\d+): ", error.message)
        assert place
        line = text.split("\n")[int(place[1]) - 1]
        assert line[int(place[2]) - 1] in "{}"
    else:
        row = json.dumps(dict.fromkeys(template.fields, "v")).encode()
        rendered = template.render(*read_object(row))
        assert template.fields or rendered == text.replace("{{", "{").replace("}}", "}")


@THOROUGH
@given(st.lists(literals, max_size=6), st.dictionaries(names, json_values, max_size=6))
def test_a_rendered_text_is_its_literals_and_the_values_of_the_row(
    parts: list[tuple[str, str]], row: dict[str, object]
) -> None:
    text = "".join(f"{{{name}}}" if name else literal.replace("{", "{{").replace("}", "}}") for name, literal in parts)
    values, spans = read_object(json.dumps(row).encode())
    missing = [name for name, _ in parts if name and row.get(name) is None]
    if missing:
        with pytest.raises(BadLine, match=re.escape(f"field {missing[0]!r}")):
            Template(text).render(values, spans)
        return
    rendered = Template(text).render(values, spans)

    def as_text(value: object) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    assert rendered == "".join(as_text(row[name]) if name else literal for name, literal in parts)
