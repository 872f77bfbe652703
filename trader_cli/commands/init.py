"""`trader init`: write a .env file, make the ledger's folder, and say what to do next."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trader_cli.commands.options import ENV_FILE, DryRun, Globals, command
from trader_cli.config import FIELDS, example_text, problem_with, settings_from
from trader_cli.core.errors import ConfigError, UsageError

NEXT = ("trader cycle", "trader ledger show", "trader loop")

Symbol = Annotated[str | None, typer.Option("--symbol", help="The pair, such as BTC/USDT.", metavar="PAIR")]
Market = Annotated[
    str | None,
    typer.Option("--market", help="simulated, live (real prices), or a .csv file.", metavar="MARKET"),
]
Balance = Annotated[str | None, typer.Option("--balance", help="Opening paper balance.", metavar="AMOUNT")]
Force = Annotated[bool, typer.Option("--force", help="Replace a .env that exists; it is kept as .env.bak.", metavar="")]


@command
def init(
    g: Globals,
    symbol: Symbol = None,
    market: Market = None,
    balance: Balance = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Write a .env file for paper trading and make the ledger's folder.

    On a terminal it asks what is not given; with --no-input or in a script it takes the defaults.
    Keys are not asked for and are no options: put them into the file yourself.
    """
    path = _target(g)
    if path.exists() and not (force or dry_run):
        raise ConfigError(f'"{path}" exists already', "edit it, or replace it with: trader init --force")
    chosen = {"MODE": "paper"}
    chosen["SYMBOL"] = _choose(g, "SYMBOL", "--symbol", symbol, "Which pair?")
    chosen["MARKET"] = _choose(g, "MARKET", "--market", market, "Which prices: simulated, live, or a .csv file?")
    chosen["PAPER_BALANCE_USDT"] = _choose(g, "PAPER_BALANCE_USDT", "--balance", balance, "Opening balance?")
    if g.db is not None:
        chosen["DB_PATH"] = str(g.db)
    text = example_text(chosen)
    folder = settings_from(text, str(path), {}).settings.db_path.parent
    if not dry_run:
        _make_folder(folder)
        _write(path, text, g.out.say)
    _tell(g, path, text, chosen, dry_run)


def _target(g: Globals) -> Path:
    if g.env_file == "none":
        raise UsageError("there is no file to write with --env-file none (or TRADER_ENV_FILE=none)", "--env-file .env")
    return Path(g.env_file) if g.env_file else ENV_FILE


def _choose(g: Globals, name: str, option: str, given: str | None, question: str) -> str:
    """The value of a setting: as given, or as answered, or its default."""
    default = str(FIELDS[name.lower()].default or "simulated")
    if given is None and not g.may_ask:
        return default
    answer = given if given is not None else g.out.ask(question, default)
    problem = _problem(name, answer)
    while problem and given is None:
        g.out.say(problem)
        answer = g.out.ask(question, default)
        problem = _problem(name, answer)
    if problem:
        raise UsageError(f"{option}: {problem}")
    return answer


def _problem(name: str, answer: str) -> str | None:
    problem = problem_with(name, answer)
    if problem is None and answer.endswith((".csv", ".csv.gz")) and not Path(answer).is_file():
        return f'{name} must be a file that exists, was "{answer}"'
    return problem


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f'cannot make the ledger\'s folder "{folder}": {error.strerror}', "choose another ledger with --db PATH"
        ) from error


def _write(path: Path, text: str, say: Callable[[str], None]) -> None:
    """Write the file for its owner's eyes only, in one step; what was there before is kept beside it."""
    fresh, kept = path.with_name(f"{path.name}.new"), _free(path.with_name(f"{path.name}.bak"))
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            path.replace(kept)
            kept.chmod(0o600)
            say(f'Kept the old file as "{kept}".')
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(
            f'cannot write "{path}": {error.strerror}', "name another file with --env-file PATH"
        ) from error


def _free(path: Path) -> Path:
    """The first of `x`, `x2`, `x3` … that is not taken: an old file may hold the only copy of a key."""
    names = (path.with_name(f"{path.name}{number}" if number > 1 else path.name) for number in range(1, 1000))
    return next(name for name in names if not name.exists())


def _tell(g: Globals, path: Path, text: str, chosen: dict[str, str], dry_run: bool) -> None:
    doc = {
        "schema": "trader.init/1",
        "env_file": path,
        "dry_run": dry_run,
        "settings": chosen,
        "next": list(NEXT),
    }
    for name, value in chosen.items():
        if os.environ.get(name, value) != value:
            g.out.warn(f"{name} is set in the environment too, and the environment wins")
    if dry_run:
        g.out.record(doc, text.splitlines())
        g.out.say("Dry run: nothing was written.")
        return
    picks = ", ".join(f"{name}={value}" for name, value in chosen.items())
    g.out.record(doc, [f"Wrote {path}: {picks}", "Next:", *(f"  {line}" for line in NEXT)])
