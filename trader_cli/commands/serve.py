"""trader serve: the read-only HTTP API and dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trader_cli.commands.desks import signals
from trader_cli.commands.options import Globals, command
from trader_cli.core.errors import ConfigError, UsageError
from trader_cli.core.moments import span_ms
from trader_cli.core.redaction import keep_secret
from trader_cli.tools.files import read_text
from trader_cli.tools.sockets import listen

LEAST_TOKEN = 16
"""A token of fewer characters can be guessed."""

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; loopback unless you say so.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65_535, help="0 takes a free one.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", help="Who does not know what it holds is refused; needed beyond loopback."
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A name it is asked by, behind a proxy or in a LAN; repeatable."),
]
Docs = Annotated[bool, typer.Option("--docs", metavar="", help="Also /openapi.json.")]
VerifyEvery = Annotated[
    str, typer.Option("--verify-every", metavar="SPAN", help="How often the whole ledger is proved; 0 for never.")
]


@command
def serve(
    g: Globals,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
    docs: Docs = False,
    verify_every: VerifyEvery = "24h",
) -> None:
    """A dashboard and an HTTP API over the ledger, read-only: nothing can be changed from there.

    Beside a running loop, or on a backup. In a browser the token is the password; of any user.

    Example: trader serve --port 8080
    """
    try:
        from trader_cli.web.server import Place, is_everywhere, is_loopback, own_name, serve_until_stopped
    except ImportError as error:
        raise ConfigError(
            f"serve needs a package that is not installed: {error.name}", 'Install it: pip install "trader-cli[serve]"'
        ) from error
    loaded, token = g.loaded(), _token(g, token_file)
    g.settings()  # log lines begin
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached by others, and that needs a token",
            "Make one: openssl rand -hex 24 > token; then --token-file token",
        )
    names = {words: own_name(words) for words in allow_host or ()}
    for words in (words for words, name in names.items() if name is None):
        raise UsageError(f'--allow-host needs a name or an address, without a port, was "{words}"')
    place = Place(host, tuple(name for name in names.values() if name is not None), token)
    every_secs, came_in = _every(verify_every) / 1000, signals(g, quietly=True)
    with listen(host, port) as (listening, at):
        g.out.record({"schema": "trader.serve/1", "url": at}, [f"Read-only dashboard: {at}  (Ctrl-C stops)"])
        if is_everywhere(host) and not names:
            g.out.say("At any address of this machine; by a name only with --allow-host NAME.")
        if not is_loopback(host):
            g.out.say("Not encrypted: the token and all that is shown can be read on the way. Put TLS before it.")
        serve_until_stopped(listening, place, loaded, came_in, docs, every_secs, g.out.warn)


def _every(words: str) -> int:
    try:
        return 0 if words == "0" else span_ms(words)
    except ValueError as error:
        raise UsageError(f"--verify-every {error}", "Or 0 for never.") from None


def _token(g: Globals, file: Path | None) -> str | None:
    if file is None:
        return None
    token = read_text(file, "--token-file").strip()
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"--token-file must hold one token of {LEAST_TOKEN} or more printable characters",
            f"Make one: openssl rand -hex 24 > {file}",
        )
    if file.stat().st_mode & 0o077:
        g.out.warn(f"{file} can be read by others. Fix: chmod 600 {file}")
    keep_secret("--token-file", token)
    return token
