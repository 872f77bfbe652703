"""Real money needs a second word: the deposit cap said again, by an option, a setting, or a person who types it.

It is asked for before any network call and before a ledger is made.
"""

from __future__ import annotations

import stat
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from trader_cli.commands.options import Globals
from trader_cli.config import SECRETS, Settings
from trader_cli.core.decimals import dec, text
from trader_cli.core.errors import ConfigError, NotFoundError, RefusedError
from trader_cli.phases.desk import Desk
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.clock import Signals
from trader_cli.wiring import check_settings, live_exchange, open_reader, operator_stop

ConfirmReal = Annotated[
    str | None,
    typer.Option(
        "--confirm-real",
        metavar="CAP",
        help="MODE=real only: DEPOSIT_CAP_USDT said again (TRADER_CONFIRM_REAL).",
    ),
]

NOT_CHECKED = "not checked yet"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Real money was confirmed: for this cap in quote, and by `option`, `setting` or `typed`."""

    cap: Decimal
    how: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What only the network knows, in words, and the trading state that the ledger keeps."""

    keys: str = NOT_CHECKED
    open_orders: str = NOT_CHECKED
    state: TradingState = TradingState.RUN


def confirm(g: Globals, settings: Settings, given: str | None, dry_run: bool) -> Confirmed | None:
    """Make sure that real money is meant; None where none is at stake. Asks on a terminal.

    Raises RefusedError; ConfigError where others may read the file with the keys.
    """
    if settings.mode != "real" or dry_run:
        return None
    refuse_exposed(g, settings)
    check_settings(settings)
    checked = _checked(settings)
    cap = settings.deposit_cap_usdt
    said, how = given, "option"
    if said is None and settings.trader_confirm_real is not None:
        said, how = text(settings.trader_confirm_real), "setting"
    if said is None and not _may_ask(g):
        raise _refused("MODE=real needs real money to be confirmed", cap)
    if said is None:
        g.out.say(banner(settings, checked))
        said, how = g.out.ask("Type the cap to go on (Ctrl-C to leave)", None), "typed"
    elif _equal(said, cap):
        g.out.say(banner(settings, checked))
    if not _equal(said, cap):
        name = {"option": "--confirm-real", "setting": "TRADER_CONFIRM_REAL"}.get(how, "what was typed")
        raise _refused(f'{name} must be DEPOSIT_CAP_USDT, which is {text(cap)}; was "{said}"', cap)
    return Confirmed(cap, how)


def refuse_exposed(g: Globals, settings: Settings) -> None:
    """Raise ConfigError where real money's keys lie in a file that others may read."""
    if settings.mode == "real" and (path := exposed_file(g)) is not None:
        raise ConfigError(f'"{path}" holds a key and others may read it', f"Close it: chmod 600 {path}")


def exposed_file(g: Globals) -> Path | None:
    """The settings file, if there is a secret in it and others than its owner may read it."""
    path, loaded = g.settings_file(), g.loaded()
    if path is None or not any(loaded.origins[name].startswith(f"{path}:") for name in SECRETS):
        return None
    return path if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) else None


def _checked(settings: Settings) -> Checked:
    """What the ledger knows of the network from an earlier start, without asking anybody."""
    try:
        with open_reader(settings) as ledger:
            state, _ = ledger.trading_state()
            waiting = [order.intent.client_order_id for order in ledger.open_orders()]
            known = ledger.proof("key", live_exchange(settings, ledger, Signals()).fingerprint or "")
    except NotFoundError:
        return Checked()
    said = known[1] if known else None
    keys = NOT_CHECKED if said is None else f"trade {said['trade']}, withdraw {said['withdraw']}"
    return Checked(keys, ", ".join(waiting) or "none", state)


def note(desk: Desk, confirmed: Confirmed | None) -> None:
    """Write the confirmation into the ledger, once the desk is open."""
    if confirmed is None:
        return
    with desk.ledger.writing(), desk.ledger.transaction() as tx:
        content = {"cap": text(confirmed.cap), "how": confirmed.how}
        desk.ledger.log_event(tx, "CONFIRMED", content, desk.clock.now())


def banner(settings: Settings, checked: Checked) -> str:
    """What is at stake, on two lines."""
    quote = settings.symbol.partition("/")[2]
    state = max(operator_stop(settings).state()[0], checked.state)
    switch = {TradingState.RUN: "off", TradingState.REDUCE: "on, only sales"}.get(state, "on, nothing is traded")
    return (
        f"REAL MONEY on {settings.exchange_id} {settings.symbol}. "
        f"At most {_amount(settings.deposit_cap_usdt)} {quote} can be deposited.\n"
        f"Keys: {checked.keys}. Open orders: {checked.open_orders}. Kill switch: {switch}."
    )


def _may_ask(g: Globals) -> bool:
    return g.may_ask and not g.quiet and sys.stderr is not None and sys.stderr.isatty()


def _equal(said: str, cap: Decimal) -> bool:
    try:
        return dec(said.strip()) == cap
    except ValueError:
        return False


def _amount(value: Decimal) -> str:
    """At least two places, as money is written."""
    whole, _, places = text(value).partition(".")
    return f"{whole}.{places:0<2}"


def _refused(words: str, cap: Decimal) -> RefusedError:
    return RefusedError(
        f"{words}. Nothing was sent", f"If that is what you want, say it again: --confirm-real {text(cap)}"
    )
