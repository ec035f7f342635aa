"""The answers that a prompt allows: labels that it lists, yes or no, true or false, and keys of a JSON object."""

from __future__ import annotations

import re

_QUOTES = "\"'“”‘’`*"
_SEGMENT = r"([^.;\n()\[\]?!]{3,400})"
_NOUNS = r"labels?|categor(?:y|ies)|classes|options|tags|teams|queues|values"
_VERBS = r"classify|label|categori[sz]e|tag|sort|mark|rate"

_YES_OR_NO = re.compile(
    rf"\b(yes|true)\b[{_QUOTES}]*\s*(?:(?:or|/|\|)\s*[{_QUOTES}]*|if\b[^\n]{{0,120}}?\b)(no|false)\b", re.IGNORECASE
)
_HINTS = (
    *("one of", "label", "categor", "class", "option", "tag", "team", "queue", "values", "sort", "mark", "rate"),
    *("sentiment", "which", "answer with", "reply with", "respond with", "choose", "pick"),
)
"""Without one of these no pattern below can match; looking for them is much quicker than the patterns are."""
_BULLETS = re.compile(
    rf"\b(?:one of|{_NOUNS})\b[^\n:]{{0,60}}:[ \t]*\n((?:[ \t]*(?:[-*•]|\d+[.)])[ \t]+[^\n]+\n?){{2,20}})",
    re.IGNORECASE,
)
_LISTS: tuple[re.Pattern[str], ...] = (
    re.compile(rf"\bone of(?: the following| these)?(?: (?:{_NOUNS}))?\s*[:(\[—-]\s*{_SEGMENT}", re.IGNORECASE),
    re.compile(rf"\bone of (?!(?:the|these|those|them|our|your|my|its)\b){_SEGMENT}", re.IGNORECASE),
    re.compile(rf"\b(?:{_NOUNS})(?: are)?\s*[:(\[]\s*{_SEGMENT}", re.IGNORECASE),
    re.compile(rf"\b(?:{_VERBS})\b[^.:;\n]{{0,120}}?\b(?:as|into|under)\b[\s:]*{_SEGMENT}", re.IGNORECASE),
)
_ASKS_FOR_A_CHOICE = re.compile(rf"\b(?:{_VERBS}|sentiment|which|(?:answer|reply|respond) with|choose|pick)\b")
_ITEM = rf"[^\s,.;:!?()\[\]/|{_QUOTES}]{{1,30}}"
_QUOTED_ITEM = rf"[{_QUOTES}]?{_ITEM}[{_QUOTES}]?"
_LOOSE_LISTS = (
    re.compile(r"[(\[]([^()\[\]\n]{3,200})[)\]]"),
    re.compile(rf"({_QUOTED_ITEM}(?:, {_QUOTED_ITEM}){{1,12}},? or {_QUOTED_ITEM})"),
    re.compile(rf"({_ITEM}(?:\s?[/|]\s?{_ITEM}){{2,12}})"),
)
_OR, _AND = re.compile(r"\s*(?:,|;|/|\||\bor\b)\s*"), re.compile(r"\s*(?:,|;|/|\||\band\b)\s*")
_AFTER_A_LABEL = re.compile(
    r"\s+(?:for|based|given|from|that|which|only|then|with|depending|according|if|when)\b.*|\s[—–-]\s.*|:.*", re.DOTALL
)
_QUOTED_KEY = re.compile(rf"[{_QUOTES}]([A-Za-z_]\w{{0,40}})[{_QUOTES}]")
_LISTED_KEYS = re.compile(
    r"\b(?:keys?|fields?)\b[:\s]*((?:[A-Za-z_]\w{0,40}(?:, and |, | and )){0,20}[A-Za-z_]\w{0,40})", re.IGNORECASE
)


def yes_or_no(text: str) -> tuple[str, str] | None:
    """The two words as the text writes them, the affirmative one first."""
    lower = text.lower()
    if not ("yes" in lower or "true" in lower):
        return None
    found = _YES_OR_NO.search(text)
    return None if found is None else (found[1], found[2])


def labels(text: str) -> list[str]:
    """The labels that a text lists to choose from, as it writes them; empty: none."""
    lower = text.lower()
    if not any(word in lower for word in _HINTS):
        return []
    bullets = _BULLETS.search(text)
    if bullets is not None:
        return [_label(line) for line in bullets[1].splitlines() if line.strip()]
    patterns = _LISTS if _ASKS_FOR_A_CHOICE.search(lower) is None else (*_LISTS, *_LOOSE_LISTS)
    for pattern in patterns:
        for found in pattern.finditer(text):
            listed = _split(found[1])
            if len(listed) > 1:
                return listed
    return []


def json_keys(text: str) -> list[str]:
    """The keys that a text wants in a JSON object; empty: it names none."""
    start = max(text.lower().find("json"), 0)
    quoted = _QUOTED_KEY.findall(text, start)
    if quoted:
        return list(dict.fromkeys(quoted))
    listed = _LISTED_KEYS.search(text, start) or _LISTED_KEYS.search(text)
    return [] if listed is None else [key for key in _AND.split(listed[1]) if key]


def _split(segment: str) -> list[str]:
    """The labels of a list, or [] where it is none. A colon after two of them ends it: what follows is the text."""
    before, colon, _ = segment.partition(":")
    if colon and len(listed := _split(before)) > 1:
        return listed
    separator = _OR if re.search(r"\bor\b|/|\|", segment) else _AND
    listed = [label for piece in separator.split(segment) if (label := _label(piece))]
    fits = all(len(label) <= 30 and len(label.split()) <= 3 for label in listed)
    return listed if fits else []


def _label(piece: str) -> str:
    bare = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", piece)
    return _AFTER_A_LABEL.sub("", bare).strip(f" \t\n.{_QUOTES}")
