"""One line's bytes become a record ready to be sent, or a rejection that says what to mend."""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from pydantic import ValidationError

from batchrouter.core.checks import Expectation
from batchrouter.core.errors import ConfigurationError
from batchrouter.core.options import InputOptions
from batchrouter.core.records import Record, Rejection, Request, RequestText
from batchrouter.core.settings import Settings
from batchrouter.intake.envelope import Envelope, EnvelopeReader
from batchrouter.intake.lines import Line
from batchrouter.intake.messages import MessageFacts, message_facts
from batchrouter.intake.raw_object import COMPACT_FRAMES, BadLine, kind_of, read_object
from batchrouter.intake.request_defaults import CAPS, Defaults, DefaultsByTask, expectation_json, is_count
from batchrouter.intake.suggestions import did_you_mean

_READ_BY_THE_MODEL = ("tools", "functions", "response_format")
_LOOKED_INTO = frozenset({*_READ_BY_THE_MODEL, "n", "stream"})
_NOTHING: frozenset[str] = frozenset()
_IMAGE = frozenset({"image"})
_CHECKS = {
    "not_empty": "true or false",
    "json": "true or false",
    "strict": "true or false",
    "one_of": "an array of strings, at least one",
    "regex": "a string",
    "max_words": "a whole number above 0",
    "schema": "an object or a boolean",
}
_PROBLEMS_MOST = 5
_REASON_MOST = 300


class LineParser:
    """Parses lines under one configuration. Raises ConfigurationError where that cannot work for any line."""

    def __init__(self, settings: Settings, options: InputOptions) -> None:
        if options.template is None and (options.system or options.id_field or options.task_field):
            raise ConfigurationError(
                "a system text, an id field and a task field are for rows, and rows need a template",
                "add --template, or put `system`, `id` and `task` into the lines",
            )
        self._envelopes = EnvelopeReader(options)
        self._defaults = DefaultsByTask(settings)
        self._tiers = settings.tiers
        self.keeps_models = options.no_routing

    def parse(self, line: Line) -> Record | Rejection:
        """The record of a line that is not blank, or why it is none. Never raises for what a line contains."""
        if line.problem is not None:
            return Rejection(line.number, line.offset, line.digest, line.problem)
        id_ = None
        try:
            id_, envelope = self._envelopes.read(line.data)
            return self._record(line, id_, envelope)
        except BadLine as bad:
            return Rejection(line.number, line.offset, line.digest, _one_line(bad.reason), bad.id or id_)

    def _record(self, line: Line, id_: str | None, envelope: Envelope) -> Record:
        task = _task(envelope.task)
        defaults = self._defaults.of(task)
        tier = defaults.tier if envelope.tier is None else self._pinned(envelope.tier)
        expect = defaults.expect if envelope.expect is None else _expect(envelope.expect)
        request, keys = _request(envelope, defaults)
        if self.keeps_models and request.requested_model is None:
            raise BadLine("names no model, and without routing a record needs one")
        facts = envelope.facts
        return Record(
            line=line.number,
            offset=line.offset,
            digest=line.digest,
            id=f"line-{line.number}" if id_ is None else id_,
            request=request,
            text=RequestText(facts.last_user, facts.all_user, keys, task),
            task=task,
            pinned_tier=tier,
            metadata=envelope.metadata,
            expect=expect,
        )

    def _pinned(self, tier: Any) -> str:
        if type(tier) is not str:
            raise BadLine(f"tier must be a string, not {kind_of(tier)}")
        if tier not in self._tiers:
            raise BadLine(f"tier {tier!r} is none of {', '.join(self._tiers)}{did_you_mean(tier, self._tiers)}")
        return tier


def read_again(body: bytes, task: str | None) -> tuple[Request, RequestText]:
    """The request of a body that was made here, and its text. Raises BadLine where it cannot have been made here."""
    values, spans = read_object(body)
    facts = message_facts(values.get("messages"))
    request, keys = _request(Envelope(values, spans, _NOTHING, None, facts), Defaults({}, {}, None, None))
    return request, RequestText(facts.last_user, facts.all_user, keys, task)


def _one_line(reason: str) -> str:
    """A reason fit for a row and a terminal: what it cites of the line may be megabytes of anything."""
    cut = reason if len(reason) <= _REASON_MOST else reason[: _REASON_MOST - 1] + "…"
    return "".join(character if character.isprintable() else "·" for character in cut)


def _request(envelope: Envelope, defaults: Defaults) -> tuple[Request, frozenset[str]]:
    """The request and the names of its body's keys."""
    values, dropped, facts = envelope.values, envelope.dropped, envelope.facts
    cap_key = _cap_key(values)
    if cap_key is None and not values.keys().isdisjoint(CAPS):
        dropped = dropped.union(CAPS)  # null: as if it were not there
    members = _members(envelope, dropped)
    if defaults.values:
        values, added = _with_defaults(values, dropped, defaults, cap_named=cap_key is not None)
        members.update(added)
        cap_key = cap_key or _cap_key(values)
    frame = COMPACT_FRAMES[tuple(members)]
    is_plain = not facts.images and frame.names.isdisjoint(_LOOKED_INTO)
    request = Request(
        frame.around(members.values()),
        facts.prompt_bytes if is_plain else facts.prompt_bytes + _weight_beside_messages(members),
        facts.images,
        1 if is_plain else _choices(values),
        None if cap_key is None else values[cap_key],
        _NOTHING if is_plain else _needs(values, facts),
        _model(values),
    )
    return request, frame.names | _IMAGE if facts.images else frame.names


def _members(envelope: Envelope, dropped: frozenset[str]) -> dict[str, bytes | Raw]:
    """What of the body is sent, by its key."""
    members: dict[str, bytes | Raw] = {**envelope.spans}
    for key in dropped.intersection(members):
        del members[key]
    return members if envelope.messages is None else {"messages": envelope.messages, **members}


def _weight_beside_messages(members: dict[str, bytes | Raw]) -> int:
    """The bytes of tools and schemas, which the model reads too."""
    return sum(len(members[key]) for key in _READ_BY_THE_MODEL if key in members)


def _with_defaults(
    values: dict[str, Any], dropped: frozenset[str], defaults: Defaults, *, cap_named: bool
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The body's values with those of the configuration, and the JSON of the ones that came from there."""
    named = {key for key in values if key not in dropped or key == "model"}
    if cap_named:
        named.update(CAPS)
    merged = {**values, **{key: value for key, value in defaults.values.items() if key not in named}}
    return merged, {key: encoded for key, encoded in defaults.encoded.items() if key not in named}


def _cap_key(values: dict[str, Any]) -> str | None:
    """The key that names the most output tokens; None: no key does."""
    old, new = values.get(CAPS[0]), values.get(CAPS[1])
    if old is None and new is None:
        return None
    if old is not None and new is not None:
        raise BadLine(f"names both {CAPS[0]} and {CAPS[1]}, which mean the same")
    key = CAPS[0] if new is None else CAPS[1]
    if not is_count(values[key]):
        raise BadLine(f"{key} must be a positive whole number, not {values[key]!r}")
    return key


def _choices(values: dict[str, Any]) -> int:
    stream = values.get("stream")
    if stream is not None and stream is not False:
        raise BadLine("stream: answers are not streamed; leave it out")
    choices = values.get("n")
    if choices is None:
        return 1
    if not is_count(choices):
        raise BadLine(f"n must be a positive whole number, not {choices!r}")
    return int(choices)


def _needs(values: dict[str, Any], facts: MessageFacts) -> frozenset[str]:
    form = values.get("response_format")
    wants_schema = type(form) is dict and form.get("type") == "json_schema"
    wants_tools = bool(values.get("tools") or values.get("functions"))
    if not (wants_schema or wants_tools or facts.images):
        return _NOTHING
    named = (("tools", wants_tools), ("vision", facts.images), ("json_schema", wants_schema))
    return frozenset(need for need, wanted in named if wanted)


def _model(values: dict[str, Any]) -> str | None:
    model = values.get("model")
    if model is not None and (type(model) is not str or not model):
        raise BadLine("model must be the name of a model")
    return model


def _task(task: Any) -> str | None:
    if task is not None and type(task) is not str:
        raise BadLine(f"task must be a string, not {kind_of(task)}")
    return task or None


def _expect(value: Any) -> bytes:
    if type(value) is not dict:
        raise BadLine(f"expect must be an object, not {kind_of(value)}")
    try:
        return expectation_json(Expectation.model_validate(value))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        problems = dict.fromkeys(_expect_problem(str(one["loc"][0]), one["type"], one["msg"]) for one in errors)
        raise BadLine("; ".join([*problems][:_PROBLEMS_MOST])) from None


def _expect_problem(check: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return f"expect.{check}: there is no such check{did_you_mean(check, _CHECKS)}"
    if kind == "value_error":
        return f"expect.{check}: {message.removeprefix('Value error, ')}"
    return f"expect.{check} must be {_CHECKS[check]}"
