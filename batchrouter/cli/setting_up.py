"""Commands before the first run: doctor, demo, init."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from batchrouter.cli.event_loop import run_to_end
from batchrouter.cli.looking import print_findings
from batchrouter.cli.options import Common, common_options
from batchrouter.cli.printing import print_json
from batchrouter.core.errors import ExitCode, StorageFailed

_FAULTS = ("server_error", "overloaded", "reset", "garbage", "empty", "refusal", "truncated", "slow")


@click.command(short_help="Check configuration, key, gateway and database.")
@click.argument("source", metavar="[INPUT]", required=False)
@common_options
def doctor(source: str | None, common: Common) -> int:
    """Look at everything that a run needs, before any money is spent.

    \b
    batchrouter doctor
    batchrouter doctor tickets.jsonl --config batchrouter.toml --db night.db
    """
    from batchrouter import api  # noqa: PLC0415

    findings = run_to_end(api.doctor(config=common.config, db=common.database(), source=source))
    return print_findings(findings, common, ExitCode.CONFIGURATION)


@click.command(short_help="A simulated gateway on this machine.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0: any free port.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed and request, same answer.")
@click.option(
    "--latency-ms", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Mean time of an answer."
)
@click.option("--rpm", type=click.FloatRange(min=1), help="Requests a minute of each model; above: 429.")
@click.option("--tpm", type=click.FloatRange(min=1), help="Tokens a minute of each model; above: 429.")
@click.option("--key", help="The only key that is accepted [any, or none].")
@click.option("--ledger", type=click.Path(path_type=Path), help="Append a line for every paid call to this file.")
@click.option(
    "--fault", "faults", multiple=True, metavar="KIND=SHARE", help=f"Share of calls that fail: {', '.join(_FAULTS)}."
)
@common_options
def demo(
    host: str,
    port: int,
    seed: int,
    latency_ms: float,
    rpm: float | None,
    tpm: float | None,
    key: str | None,
    ledger: Path | None,
    faults: tuple[str, ...],
    common: Common,
) -> int:
    """Serve an OpenAI-compatible API with made-up answers until Ctrl-C.

    \b
    batchrouter demo --latency-ms 200 --rpm 600
    batchrouter demo --fault server_error=0.05 --fault overloaded=0.1
    """
    from batchrouter import api  # noqa: PLC0415

    with suppress(KeyboardInterrupt):
        run_to_end(
            api.demo(
                host=host,
                port=port,
                seed=seed,
                latency_ms=latency_ms,
                rpm=rpm,
                tpm=tpm,
                key=key,
                ledger=ledger,
                faults=_shares(faults),
                ready=partial(click.echo, err=common.as_json),
            )
        )
    return ExitCode.OK


def _shares(faults: tuple[str, ...]) -> dict[str, float]:
    shares = {}
    for fault in faults:
        kind, _, share = fault.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError:
            shares[kind] = -1.0
        if kind not in _FAULTS or not 0 <= shares[kind] <= 1 or sum(shares.values()) > 1:
            raise click.BadParameter(
                f"{fault!r}: write one of {', '.join(_FAULTS)}, =, and a share from 0 to 1 (together at most 1)",
                param_hint="--fault",
            )
    if sum(shares.values()) > 1:
        raise click.BadParameter("the shares add up to more than 1", param_hint="--fault")
    return shares


@click.command(short_help="Write a commented batchrouter.toml.")
@click.option(
    "--gateway",
    type=click.Choice(["aicredits", "openai", "openrouter", "litellm", "vllm"]),
    default="aicredits",
    show_default=True,
)
@common_options
def init(gateway: str, common: Common) -> int:
    """Write a configuration file to start from; an existing one is left alone.

    \b
    batchrouter init --gateway openrouter
    """
    from batchrouter import api  # noqa: PLC0415

    path = common.config or Path("batchrouter.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(api.configuration_template(gateway))
    except FileExistsError:
        raise click.UsageError(f"{path} exists already: choose another file with --config") from None
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error.strerror}", "Choose another file with --config."
        ) from None
    if common.as_json:
        print_json({"config": str(path)})
    click.echo(f"{path} written; next: look at the prices in it, then `batchrouter doctor`", err=True)
    return ExitCode.OK


COMMANDS = (doctor, demo, init)
