"""What an examination found: good, doubtful or wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; ``advice`` says what to do where something is to be done."""

    level: Literal["ok", "warning", "error"]
    what: str
    advice: str = ""
