"""Any text as a configuration: settings that a run can work with, or every mistake with its place. Nothing else."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrouter.assembly.carried import fixed_settings, stored_settings
from batchrouter.core.errors import ConfigurationError
from batchrouter.core.options import InputOptions
from batchrouter.core.settings import Settings
from batchrouter.core.tables import (
    GatewaySettings,
    ModelSettings,
    RoutingSettings,
    RuleSettings,
    RunSettings,
    TaskSettings,
    TierSettings,
)
from batchrouter.gateway import open_gateway
from batchrouter.intake.configuration import TEMPLATES, configuration_template, load
from batchrouter.intake.parser import LineParser
from batchrouter.routing.rules import RuleRouter
from tests.canary import CANARY, holds_key
from tests.fuzz.writing import THOROUGH

PLACE = re.compile(r'  ([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*")(\.([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"))*: \S')
LONG = "x" * 3000
VALUES = [
    *("0", "-1", "1", "1.5", "2.50", "1e30", "1e-30", "1e400", "1e99999999999999999999", "nan", "inf", "-inf", "true"),
    *("9" * 5000, "9" * 30, "0x10", "1_000", "2026-01-31", "12:00:00", "1979-05-27T07:32:00Z", '""', '"a"', "'\\x1b'"),
    *('"\\u001b[2J"', '"""two\nlines"""', '"INR"', '"USD"', '"simple"', '["a", 1]', "[]", "{}", "{ a = 1 }", "[[1]]"),
    *('"http://x"', '"http://u:p@x"', '"https://"', '"http://[bad"', '"ftp://x"', '"("', '"a{99999999999999999999}"'),
    *("[" * 300 + "]" * 300, "[" * 90 + "]" * 90, "[" * 5000, f'"{LONG}"', "'[[:a:]]'", "", "=", '"\\ud800"', '"\x01"'),
]
TABLES = {
    "": Settings,
    "gateway": GatewaySettings,
    "gateway.other": GatewaySettings,
    "tier.simple": TierSettings,
    'model."openai/gpt-4o-mini"': ModelSettings,
    "routing": RoutingSettings,
    "[routing.rule]": RuleSettings,
    'task."a b"': TaskSettings,
    "run": RunSettings,
    "exchange": None,
    "request": None,
    "expect": None,
    'model."x".set': None,
    "unknown": None,
}
SECTIONS = {"gateway": GatewaySettings, "tier": TierSettings, "model": ModelSettings}
FREE_KEYS = [
    "USD",
    "temperature",
    "max_tokens",
    "n",
    "messages",
    "regex",
    "one_of",
    "json",
    '"quoted key"',
    "a.b.c",
    "é",
]
values = st.sampled_from(VALUES)


@st.composite
def _tables(draw: st.DrawFn) -> str:
    """Tables that the configuration has, with keys that it has, and with values that it seldom has."""
    lines = []
    for table in draw(st.lists(st.sampled_from(sorted(TABLES)), max_size=3, unique=True)):
        lines += [f"[{table}]"] if table else []
        section = TABLES[table]
        keys = st.sampled_from(FREE_KEYS if section is None else [*section.model_fields, "tirs"])
        lines += [f"{draw(keys)} = {draw(values)}" for _ in range(draw(st.integers(0, 3)))]
    return "\n".join(lines)


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """A file that works, with some of its lines taken out, doubled, or given other values."""
    text = configuration_template(draw(st.sampled_from(TEMPLATES)))
    lines = [line for line in text.split("\n") if line.strip("# ") and not line.startswith("# ")]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        key, equals, _ = line.partition("=")
        if line.startswith("[") and draw(st.booleans()):
            section = SECTIONS.get(re.split(r"\W", line)[1], RunSettings)
            lines[at] += f"\n{draw(st.sampled_from(sorted(section.model_fields)))} = {draw(values)}"
            continue
        changed = f"{key}{equals} {draw(values)}" if equals else draw(_tables())
        lines[at : at + 1] = draw(st.sampled_from([[], [line] * 2, [changed], [changed], [line[1:]]]))
    return "\n".join(lines)


def usable(settings: Settings) -> None:
    """Everything that a run makes of its settings can be made of these, or is refused as a configuration."""

    async def connected() -> None:
        async with open_gateway(settings, dict.fromkeys(settings.gateway, CANARY), version="test"):
            assert not holds_key(stored_settings(settings))

    assert settings.budget_nano is None or settings.budget_nano >= 0
    assert all(prices is None or prices.output_micro >= 0 for prices in settings.prices.values())
    fixed_settings(settings, InputOptions())
    LineParser(settings, InputOptions())
    RuleRouter(settings)
    with suppress(ConfigurationError):
        asyncio.run(connected())


def check(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        settings = load(path, {})
    except ConfigurationError as error:
        lines = error.message.split("\n")
        assert lines[0].startswith(str(path))
        if len(lines) > 1:
            assert all(PLACE.match(line) for line in lines[1:]), lines
        else:
            assert "not valid TOML" in lines[0] or "not UTF-8" in lines[0]
    else:
        usable(settings)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("given") / "batchrouter.toml"


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@THOROUGH
@given(_mutated())
def test_a_good_file_that_was_altered_works_or_says_what_is_wrong(path: Path, text: str) -> None:
    check(path, text)


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@THOROUGH
@given(_tables())
def test_tables_with_odd_values_work_or_say_what_is_wrong(path: Path, text: str) -> None:
    check(path, text)


@THOROUGH
@given(st.text(max_size=60) | st.text(alphabet='[]={}"\n.a1#\\', max_size=40))
def test_any_text_works_or_says_what_is_wrong(path: Path, text: str) -> None:
    check(path, text)
