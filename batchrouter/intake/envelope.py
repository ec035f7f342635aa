"""The shape of a line: where its id, its request body and our own keys are, in each of the three shapes.

1. OpenAI batch: ``custom_id``, ``method``, ``url``, ``body``; our keys stand beside ``body``.
2. Native: the body's keys and ours side by side; ``prompt`` and ``system`` in place of ``messages``.
3. Rows, where a template is given: any object; the template makes the prompt.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson

from batchrouter.core.options import InputOptions
from batchrouter.intake.messages import MessageFacts, message_facts, prompt_facts
from batchrouter.intake.raw_object import BadLine, Spans, kind_of, read_spans, read_values
from batchrouter.intake.suggestions import did_you_mean
from batchrouter.intake.template import Template

CHAT_URL = "/v1/chat/completions"
_OWN_KEYS = frozenset({"id", "prompt", "system", "tier", "task", "metadata", "expect", "model"})
_OWN_KEYS_AND_MESSAGES = _OWN_KEYS | {"messages"}
_PLAIN_BATCH_LINE = re.compile(
    rb'\{"custom_id": ?"[^"\\]*", ?"method": ?"POST", ?"url": ?"%b", ?"body": ?(?=\{)' % re.escape(CHAT_URL).encode()
)
_ONLY_MODEL = frozenset({"model"})
_ALL_OF_A_ROW = frozenset({"messages"})


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """One line, taken apart.

    ``values`` and ``spans`` are those of the body, but for the keys in ``dropped``; ``messages`` is the JSON of the
    messages where it is not in the spans. ``tier``, ``task`` and ``expect`` are as read, not yet checked.
    """

    values: dict[str, Any]
    spans: Spans
    dropped: frozenset[str]
    messages: bytes | None
    facts: MessageFacts
    tier: Any = None
    task: Any = None
    expect: Any = None
    metadata: bytes | None = None


class EnvelopeReader:
    """Takes lines apart as the options say. Raises ConfigurationError for a template that is not one."""

    def __init__(self, options: InputOptions) -> None:
        self._id_field, self._task_field, self._system = options.id_field, options.task_field, options.system
        self._template = None if options.template is None else Template(options.template)

    def read(self, data: bytes) -> tuple[str | None, Envelope]:
        """The id (None: the line names none) and the rest. Raises BadLine, with the id where it could be read."""
        values = read_values(data)
        template = self._template
        is_batch = template is None and _is_batch(values)
        body_spans = _body_of_plain_batch_line(data) if is_batch else None
        spans = read_spans(data, "") if body_spans is None else {}
        key = "custom_id" if is_batch else self._id_field if template is not None else "id"
        id_ = None if key is None else _read_id(values, spans, key, required=template is not None)
        try:
            if body_spans is not None:
                return id_, _of_body(values["body"], body_spans)
            if template is not None:
                return id_, self._row(template, data, values, spans)
            return id_, _batch(values, spans) if is_batch else _native(values, spans)
        except BadLine as bad:
            bad.id = id_
            raise

    def _row(self, template: Template, data: bytes, values: dict[str, Any], spans: Spans) -> Envelope:
        task = None
        if self._task_field is not None:
            if self._task_field not in values:
                raise BadLine(f"the row has no field {self._task_field!r}, which should name its task")
            task = values[self._task_field]
            if type(task) is int or type(task) is float:
                task = bytes(spans[self._task_field]).decode()
        prompt = template.render(values, spans)
        if not prompt.strip():
            raise BadLine("the template makes an empty prompt of this row")
        system = None if self._system is None else orjson.dumps(self._system)
        messages = _messages_json(orjson.dumps(prompt), system)
        facts = prompt_facts(prompt, self._system)
        return Envelope({}, {}, _ALL_OF_A_ROW, messages, facts, task=task, metadata=data.strip())


def _is_batch(values: dict[str, Any]) -> bool:
    if "body" in values or "custom_id" in values:
        return True
    return ("url" in values or "method" in values) and "prompt" not in values and "messages" not in values


def _body_of_plain_batch_line(data: bytes) -> Spans | None:
    """The spans of the body, where a line, known to be valid JSON, has its four keys as most have and nothing else."""
    start = _PLAIN_BATCH_LINE.match(data)
    if start is None:
        return None
    try:
        return read_spans(data[start.end() : -1], " in body")
    except BadLine:
        return None


def _batch(values: dict[str, Any], spans: Spans) -> Envelope:
    if "body" not in values:
        raise BadLine("an OpenAI batch line (it has a custom_id, method or url) needs a body")
    if "messages" in values or "prompt" in values:
        raise BadLine("has a body, and a prompt or messages beside it: only one of them can be meant")
    if (method := values.get("method")) != "POST":
        raise BadLine(
            "has no method: it must be 'POST'" if method is None else f"method {method!r}: only 'POST' is done"
        )
    if (url := values.get("url")) != CHAT_URL:
        raise BadLine(
            f"has no url: it must be {CHAT_URL!r}" if url is None else f"url {url!r}: only {CHAT_URL!r} is done"
        )
    body = values["body"]
    if type(body) is not dict:
        raise BadLine(f"body must be an object, not {kind_of(body)}")
    return _of_body(
        body,
        read_spans(bytes(spans["body"]), " in body"),
        tier=values.get("tier"),
        task=values.get("task"),
        expect=values.get("expect"),
        metadata=_metadata(values, spans),
    )


def _of_body(body: dict[str, Any], spans: Spans, **beside: Any) -> Envelope:
    if "messages" not in body:
        raise BadLine("body has no messages")
    return Envelope(body, spans, _ONLY_MODEL, None, message_facts(body["messages"]), **beside)


def _native(values: dict[str, Any], spans: Spans) -> Envelope:
    system = values.get("system")
    if system is not None and type(system) is not str:
        raise BadLine(f"system must be a string, not {kind_of(system)}")
    messages, facts = _native_messages(values, spans, system)
    return Envelope(
        values=values,
        spans=spans,
        dropped=_OWN_KEYS if messages is None else _OWN_KEYS_AND_MESSAGES,
        messages=messages,
        facts=facts,
        tier=values.get("tier"),
        task=values.get("task"),
        expect=values.get("expect"),
        metadata=_metadata(values, spans),
    )


def _native_messages(values: dict[str, Any], spans: Spans, system: str | None) -> tuple[bytes | None, MessageFacts]:
    """The messages as JSON (None: as they stand in the line), and their facts."""
    system_json = None if system is None else bytes(spans["system"])
    if "prompt" in values:
        if "messages" in values:
            raise BadLine("has both a prompt and messages")
        prompt = values["prompt"]
        if type(prompt) is not str:
            raise BadLine(f"prompt must be a string, not {kind_of(prompt)}")
        if not prompt.strip():
            raise BadLine("prompt is empty")
        return _messages_json(bytes(spans["prompt"]), system_json), prompt_facts(prompt, system)
    if "messages" not in values:
        near = next((hint for key in values if (hint := did_you_mean(key, ("prompt", "messages")))), "")
        raise BadLine(f"has neither a prompt nor messages{near or '; is it a row? Then give --template'}")
    facts = message_facts(values["messages"], system)
    if system_json is None:
        return None, facts
    if values["messages"][0]["role"] in ("system", "developer"):
        raise BadLine("has both a system text and a system message")
    rest = bytes(spans["messages"]).removeprefix(b"[")
    return b'[{"role":"system","content":' + system_json + b"}," + rest.lstrip(), facts


def _messages_json(prompt: bytes, system: bytes | None) -> bytes:
    user = b'{"role":"user","content":' + prompt + b"}]"
    return b"[" + user if system is None else b'[{"role":"system","content":' + system + b"}," + user


def _metadata(values: dict[str, Any], spans: Spans) -> bytes | None:
    return None if values.get("metadata") is None else bytes(spans["metadata"])


def _read_id(values: dict[str, Any], spans: Spans, key: str, *, required: bool) -> str | None:
    if key not in values:
        if required:
            raise BadLine(f"the row has no field {key!r}, which should be its id")
        return None
    value = values[key]
    if type(value) is str:
        return value
    if type(value) is int or type(value) is float:
        return bytes(spans[key]).decode()  # as written: 1.0 is not 1, and 2⁶⁴ stays exact
    raise BadLine(f"{key} must be a string or a number, not {kind_of(value)}")
