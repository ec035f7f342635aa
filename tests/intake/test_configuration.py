"""A configuration is right as a whole, or every mistake in it is told at once, with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from batchrouter.core.errors import ConfigurationError, InputMissing
from batchrouter.core.options import InputOptions
from batchrouter.core.settings import Settings
from batchrouter.core.tables import GatewaySettings
from batchrouter.intake.configuration import TEMPLATES, configuration_template, default_settings, load, overridden
from batchrouter.intake.parser import LineParser
from tests.canary import CANARY, holds_key


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "given.toml"
    path.write_text(text)
    return load(path, {})


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        loaded(tmp_path, text)
    return raised.value.message


def test_built_in_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings == default_settings().read_from(f"built-in, no batchrouter.toml in {tmp_path}")
    assert settings.tiers == ("simple", "medium", "complex")
    assert settings.prices["anthropic/claude-3.5-sonnet"].output_micro == 1_445_000_000  # type: ignore[union-attr]
    (tmp_path / "batchrouter.toml").write_text("[run]\nbudget = 5\n")
    assert load(None, {}).run.budget == 5
    (tmp_path / "other.toml").write_text("[run]\nbudget = 6\n")
    assert load(None, {}).origin == "batchrouter.toml"
    assert load(None, {"BATCHROUTER_CONFIG": "other.toml"}).run.budget == 6


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_valid_and_complete(tmp_path: Path, name: str) -> None:
    settings = loaded(tmp_path, configuration_template(name))
    assert all(prices is not None for prices in settings.prices.values())
    LineParser(settings, InputOptions())


@pytest.mark.parametrize("name", TEMPLATES)
def test_commented_out_lines_of_templates_are_valid_too(tmp_path: Path, name: str) -> None:
    lines = configuration_template(name).splitlines()
    settings_of = [
        line.removeprefix("# ") if line.startswith(("# [", "# b", "# t", "# c", "# m", "# e", "# r")) else line
        for line in lines
    ]
    kept = [line for line in settings_of if "=" in line or line.startswith("[")]
    kept = [line for line in kept if not line.startswith("#")]
    loaded(tmp_path, "\n".join(kept))


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        f"""
        [gateway]
        base_url = "ftp://x"
        api_key = "{CANARY}"
        timeout_s = -1.5
        [model."x/y"]
        inptu = 3.0
        [tier.simple]
        models = ["nope"]
        [request]
        messages = []
        [[routing.rule]]
        tier = "complex"
        regex = "("
        [run]
        budgte = 3
        """,
    )
    assert "model.\"x/y\".inptu: unknown key, did you mean 'input'?" in message
    assert "run.budgte: unknown key, did you mean 'budget'?" in message
    assert 'gateway.base_url: "ftp://x": must begin with http' in message
    assert "gateway.timeout_s: -1.5: input should be greater than 0" in message
    assert "gateway.api_key: keys do not belong into this file" in message
    assert not holds_key(message)
    assert "request.messages: belongs to a record" in message
    assert "routing.rule.1.regex: '(' is not a regular expression" in message
    assert 'tier.simple.models: no table [model."nope"]' in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = [", "not valid TOML"),
        ("tiers = []", "tier: is missing"),
        ('currency = "USD"', "no rate for INR in [exchange]"),
        (
            'currency = "usd"',
            "currency: 'usd' is not three capital letters (ISO 4217) such as INR or USD, did you mean 'USD'?",
        ),
        ('currency = "rupees"', "currency: 'rupees' is not three capital letters (ISO 4217) such as INR or USD"),
        ("[request]\ntemperature = nan", "request.temperature"),
        ('[run]\nbaseline = "x"', "run.baseline"),
        ('[tier.simple]\nmodels = "small"', 'tier.simple.models: input should be an array, as in ["small"]'),
        ("model = 3", "model: 3: input should be a valid dictionary"),
        ('[task.a]\ntier = "x"', 'task."a".tier'),
        ("a = " + "[" * 5000, "not valid TOML: nested too deeply"),
        ("a = " + "9" * 5000, "more digits than can be read"),
        ("[run]\nbudget = 1e99999999999999999999", "more digits than can be read"),
        ("[run]\nbudget = 1e10", "run.budget: 1E+10: input should be less than"),
        ("[request]\nstop = " + "[" * 101 + "]" * 101, "cannot be written as JSON"),
        ('[[routing.rule]]\ntier = "simple"\nregex = "a{99999999999}"', "the repetition number is too large"),
        ("[expect]\nregex = '" + "(" * 3000 + ")" * 3000 + "'", "it is nested too deeply"),
        ("[gateway]\nbase_url = 'http://x'\ntimeout_s = inf", "gateway.timeout_s: Infinity"),
        ("[expect]\njsno = true", "expect.jsno: unknown key, did you mean 'json'?"),
    ],
)
def test_single_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refused(tmp_path, text)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        load(tmp_path / "no.toml", {})


def test_another_currency_keeps_the_built_in_prices_in_theirs(tmp_path: Path) -> None:
    settings = loaded(tmp_path, 'currency = "USD"\n[exchange]\nINR = "0.0125"\n')
    assert settings.prices["openai/gpt-4o-mini"].input_micro == 175_000  # type: ignore[union-attr]


def test_prices_are_exact_and_free_tables_are_json(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "[run]\nbudget = 0.1\n[request]\ntemperature = 0.2\nstop = [0.5]\n")
    assert settings.run.budget == Decimal("0.1")
    assert settings.request == {"temperature": 0.2, "stop": [0.5]}
    assert type(settings.request["temperature"]) is float


def test_overrides() -> None:
    settings = default_settings()
    assert overridden(settings) is settings
    changed = overridden(settings, budget=Decimal("2.5"), gateway=GatewaySettings(base_url="http://x", auth="none"))
    assert changed.budget_nano == 2_500_000_000
    assert changed.gateway["default"].base_url == "http://x"
    with pytest.raises(ConfigurationError, match="router"):
        overridden(settings, router="guess")
    with pytest.raises(ConfigurationError, match="budget"):
        overridden(settings, budget=Decimal(-1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'[gateway]\nbase_url = "http://x"\napi_key_env = "{CANARY}"', "gateway.api_key_env: needs the name of"),
        (f'[gateway]\nbase_url = "ftp://user:{CANARY}@x"', 'gateway.base_url: "ftp://…@x": must begin with http'),
        (f'[[gateway]]\nbase_url = "http://x"\napi_key = "{CANARY}"', "gateway: input should be"),
        (f'[gateway]\nbase_url = "http://x"\nheaders = {{ X = ["{CANARY}"] }}', "gateway.headers.X: input should be"),
        (f'[gateway]\nbase_url = "http://x"\nproxy = ["{CANARY}"]', "gateway.proxy: input should be"),
        (f'[gateway.other]\nbase_url = "http://x"\ntoken = "{CANARY}"', "gateway.other.token: keys do not belong"),
        (f'api_key = "{CANARY}"', "api_key: unknown key"),
        (f'[gateway]\nbase_url = "http://x"\napi_key_env = "{CANARY}', "not valid TOML"),
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path, text: str, problem: str) -> None:
    message = refused(tmp_path, text)
    assert problem in message
    assert not holds_key(message)


def test_a_mistake_is_one_line_whatever_a_name_has_in_it(tmp_path: Path) -> None:
    message = refused(tmp_path, '[routing]\nllm_model = "two\\nlines\\u001b"')
    assert message.split("\n")[1:] == ['  routing.llm_model: no table [model."two\\nlines\\x1b"] with its prices']
