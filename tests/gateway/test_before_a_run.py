"""Before a run: keys are read from where the configuration says, and gateways are asked what costs nothing."""

from pathlib import Path
from typing import Any

import pytest

from batchrouter.core.errors import ConfigurationError
from batchrouter.gateway import check_gateways, read_keys
from tests.canary import CANARY
from tests.gateway.conftest import answer, says, serving, settings_for

KEY = CANARY


@pytest.mark.parametrize(
    ("gateway", "environ", "said"),
    [
        ({}, {}, "KEY is not set"),
        ({}, {"KEY": " "}, "KEY is not set"),
        ({}, {"KEY": "a\nb"}, "^KEY holds characters"),
        ({"api_key_env": None, "api_key_file": "/nowhere/key"}, {}, "cannot be read"),
        ({}, {"KEY": '"quoted"'}, "characters"),
        ({"api_key_env": None}, {}, "neither"),
    ],
)
def test_a_missing_key_is_said_with_its_place(gateway: dict[str, Any], environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_keys(settings_for(1, **gateway), environ)


def test_a_missing_key_is_said_with_the_configuration_that_wants_it() -> None:
    with pytest.raises(ConfigurationError, match=r"KEY is not set \(configuration: built-in, no file\)"):
        read_keys(settings_for(1).read_from("built-in, no file"), {})


def test_a_key_file_is_read_without_its_last_newline_and_must_not_be_empty(tmp_path: Path) -> None:
    file = tmp_path / "given-key"
    settings = settings_for(1, api_key_env=None, api_key_file=str(file))
    file.write_text(KEY + "\n")
    assert read_keys(settings, {}) == {"default": KEY}
    file.write_text(" \n")
    with pytest.raises(ConfigurationError, match="key is empty"):
        read_keys(settings, {})


@pytest.mark.parametrize(
    ("reply", "level", "said"),
    [
        (answer(200, b'{"data":[{"id":"m"}]}'), "ok", "knows all"),
        (answer(200, b'{"data":[{"id":"x"}]}'), "warning", "does not list m"),
        (answer(200, b"[]"), "warning", "cannot be read"),
        (answer(200, b"<!doctype html><title>Gateway</title>"), "warning", "a web page stands where"),
        (answer(404, b'{"error":"Unknown request URL"}'), "warning", "/v1/models answers 404"),
        (answer(401, b"{}"), "error", "refuses the key"),
        (answer(302, b"", "Location: /"), "error", "redirects"),
        (answer(500, b""), "warning", "answers 500"),
    ],
)
async def test_the_probe_asks_for_the_models_and_pays_nothing(reply: bytes, level: str, said: str) -> None:
    async with serving(says(reply)) as server:
        findings = await check_gateways(settings_for(server.port), {"default": KEY})
    assert (findings[-1].level, said in findings[-1].what) == (level, True)
    assert ("base_url" in findings[-1].advice) == any(word in said for word in ("read", "page", "404", "redirects"))
    assert [request.split()[:2] for request in server.requests] == [[b"GET", b"/v1/models"]]


async def test_the_probe_reads_a_long_list_to_its_end() -> None:
    models = b",".join(b'{"id":"model-%d"}' % number for number in range(40_000))
    async with serving(says(answer(200, b'{"data":[%b,{"id":"m"}]}' % models))) as server:
        findings = await check_gateways(settings_for(server.port), {"default": KEY})
    assert [finding.level for finding in findings] == ["ok", "ok"]


@pytest.mark.parametrize("gateway", [{"base_url": "http://u:p@127.0.0.1:1"}, {"ca_file": "/nowhere"}])
async def test_the_probe_finds_settings_that_cannot_work(gateway: dict[str, Any]) -> None:
    findings = await check_gateways(settings_for(1, **gateway), {"default": KEY})
    assert [finding.level for finding in findings] == ["error"]


async def test_the_probe_gives_the_base_url_that_is_meant() -> None:
    (finding,) = await check_gateways(settings_for(1, base_url="https://a.b/v1/chat/completions/"), {"default": KEY})
    assert (finding.level, finding.advice) == ("error", 'Give "https://a.b/v1".')


async def test_the_probe_says_when_nobody_answers() -> None:
    findings = await check_gateways(settings_for(1), {"default": KEY})
    assert findings[0].level == "error"
