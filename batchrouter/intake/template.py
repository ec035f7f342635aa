"""Prompts made of rows: ``{field}`` stands for a field of the row, ``{{`` and ``}}`` for braces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from batchrouter.core.errors import ConfigurationError, InputMissing
from batchrouter.intake.raw_object import BadLine, Spans

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"\s*(\w(?:[\w .\-/]*\w)?)\s*")
_BRACES_HINT = "write {{ and }} for braces that are part of the text"
_TEXT_SUFFIXES = (".txt", ".md", ".j2")


class Template:
    """A compiled template. Raises ConfigurationError, with line and column, for anything that is no ``{field}``."""

    def __init__(self, text: str) -> None:
        self._literals: list[str] = []
        self._fields: list[str] = []
        literal, after = "", 0
        for token in _TOKEN.finditer(text):
            literal += text[after : token.start()]
            after = token.end()
            if token[0] in ("{{", "}}"):
                literal += token[0][0]
                continue
            self._fields.append(_field_of(token, text))
            self._literals.append(literal)
            literal = ""
        self._last = literal + text[after:]

    @property
    def fields(self) -> frozenset[str]:
        """The fields that a row must have."""
        return frozenset(self._fields)

    def render(self, values: dict[str, Any], spans: Spans) -> str:
        """The text for one row: strings as they are, other values as they were written. BadLine: one is missing or null."""
        pieces: list[str] = []
        for literal, field in zip(self._literals, self._fields, strict=True):
            if field not in values:
                raise BadLine(f"the row has no field {field!r}, which the template names")
            value = values[field]
            if value is None:
                raise BadLine(f"the row's field {field!r} is null, which the template names")
            pieces += (literal, value if type(value) is str else bytes(spans[field]).decode())
        return "".join(pieces) + self._last


def _field_of(token: re.Match[str], text: str) -> str:
    inner = token[1]
    if inner is None:
        raise ConfigurationError(f"template, {_place(text, token.start())}: a single {token[0]!r}", _BRACES_HINT)
    field = _FIELD.fullmatch(inner)
    if field is None:
        what = (
            "a pair of braces without a field name" if not inner.strip() else f"{inner.strip()!r} is not a field name"
        )
        raise ConfigurationError(f"template, {_place(text, token.start())}: {what}", _BRACES_HINT)
    return field[1]


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


def template_text(value: str) -> str:
    """The text that ``TEXT or FILE`` stands for: an existing file's content without its last newlines, else itself.

    Raises InputMissing for what can only be meant as a file (``prompts/a.txt``) and is not there or not readable.
    """
    if not value:
        return value
    path = Path(value)
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8-sig").rstrip("\r\n")
        is_directory = path.is_dir()
    except UnicodeDecodeError as error:
        raise InputMissing(f"{value} is not UTF-8 text: {error.reason} at byte {error.start + 1}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise InputMissing(f"{value} may not be read by this user", "check its permissions") from None
        return value  # too long, or with characters that no file name has: a text
    if is_directory:
        raise InputMissing(f"{value} is a directory", "name a file, or write the text itself")
    if _looks_like_a_path(value):
        raise InputMissing(
            f"{value} does not exist", "check the name; a text with a space or a {field} is taken as text"
        )
    return value


def _looks_like_a_path(value: str) -> bool:
    if any(character in value for character in "{} \n\t"):
        return False
    return "/" in value or value.lower().endswith(_TEXT_SUFFIXES)
