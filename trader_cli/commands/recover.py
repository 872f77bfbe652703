"""trader recover: what became of orders that are not settled, and two ways out by hand, with a reason."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trader_cli.commands.desks import finish, order_code, refuse_while_unknown, signals, unknown_first
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.core.errors import ConfigError, ExitCode, UpstreamError, UsageError
from trader_cli.phases.account import accept_balances as accept
from trader_cli.phases.by_hand import order_named, settle_filled, settle_not_placed
from trader_cli.phases.desk import Desk
from trader_cli.phases.startup import startup
from trader_cli.schemas.order import SETTLED, Order
from trader_cli.views.flatten import acceptance_document, acceptance_lines
from trader_cli.views.steps import order_document, order_lines
from trader_cli.wiring import Bench, at_desk

WORDS = ("filled", "not-placed")

Settle = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--settle",
        metavar="ORDER filled|not-placed",
        help="Say what became of an unsettled order: its name, or 6 and more characters of it. Needs --reason.",
    ),
]
Accept = Annotated[
    bool,
    typer.Option("--accept-balances", metavar="", help="Take what the account holds now for right. Needs --reason."),
]
Why = Annotated[str | None, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")]
Force = Annotated[
    bool, typer.Option("--force", metavar="", help="With not-placed: although the exchange cannot say so.")
]


@command
def recover(
    g: Globals,
    settle: Settle = None,
    accept_balances: Accept = False,
    reason: Why = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> ExitCode:
    """Ask the exchange about every unsettled order and book what is proved. Never sends anything.

    What no answer settles, an operator may: --settle ORDER filled books what the exchange shows,
    --settle ORDER not-placed gives the order up, --accept-balances ends a difference with the account.

    Example: trader recover --settle t1-k3x9a0 not-placed --reason "asked their support"
    """
    why = _reason(settle, accept_balances, reason, force)
    with at_desk(g.settings(), Bench(dry_run=dry_run, creates=False, signals=signals(g))) as desk:
        if settle is not None:
            orders = _settled(desk, settle, why, force)
        elif accept_balances:
            return _accept(g, desk, why, dry_run)
        else:
            with unknown_first(desk):
                orders = startup(desk, thorough=True)
    lines = [line for order in orders for line in (f"Order of {order.intent.side}", *order_lines(order))]
    g.out.record(_document(orders, dry_run), lines or ["Nothing to recover: every order is settled."])
    finish(g, dry_run)
    return order_code(g, next((order for order in orders if order.state not in SETTLED), None))


def _document(orders: list[Order], dry_run: bool) -> dict[str, Any]:
    return {
        "schema": "trader.recovery/1",
        "dry_run": dry_run,
        "orders": [order_document(order) for order in orders],
        "unsettled": sum(order.state not in SETTLED for order in orders),
    }


def _reason(settle: tuple[str, str] | None, accept: bool, reason: str | None, force: bool) -> str:
    """The reason that a way out by hand needs, after a look at whether the options fit. Raises UsageError."""
    if settle is not None and accept:
        raise UsageError("--settle and --accept-balances are two steps", "Give one; then the other.")
    if settle is not None and settle[1] not in WORDS:
        raise UsageError(
            f'--settle needs filled or not-placed after the order, was "{settle[1]}"',
            f"Try: --settle {settle[0]} filled",
        )
    if force and (settle is None or settle[1] != "not-placed"):
        raise UsageError("--force goes with --settle ORDER not-placed only", "Leave it out.")
    by_hand = settle is not None or accept
    if by_hand and not (reason or "").strip():
        raise UsageError("--settle and --accept-balances need --reason, which must say why", 'Add: --reason "..."')
    if not by_hand and reason is not None:
        raise UsageError("--reason goes with --settle or --accept-balances", "Leave it out.")
    return (reason or "").strip()


def _settled(desk: Desk, settle: tuple[str, str], reason: str, force: bool) -> list[Order]:
    """The order that was named, settled: by what is proved by now, else by hand."""
    name, word = settle
    order = order_named(desk, name)
    unasked = None
    try:
        for asked in startup(desk):
            if asked.intent.client_order_id == order.intent.client_order_id:
                order = asked
    except (ConfigError, UpstreamError) as error:  # who settles by hand may have to do so without the exchange
        if word == "filled":
            raise
        if not force:
            raise type(error)(
                error.message, "Try again later; if you know that it was not taken: add --force"
            ) from error
        unasked = error.message
    if order.state in SETTLED:
        return [order]
    if word == "filled":
        return [settle_filled(desk, order, reason)]
    return [settle_not_placed(desk, order, reason, force, unasked)]


def _accept(g: Globals, desk: Desk, reason: str, dry_run: bool) -> ExitCode:
    """What the account holds now is right, an operator says: what is missing left our book, what is more is foreign."""
    startup(desk)
    refuse_while_unknown(desk)  # its fill would be booked a second time
    taken = accept(desk, reason)
    g.out.record(
        _document(list(desk.ledger.open_orders()), dry_run) | {"accepted": acceptance_document(taken)},
        acceptance_lines(taken, desk.market()),
    )
    finish(g, dry_run, "trader snapshot")
    return order_code(g, next((order for order in desk.ledger.open_orders() if order.state not in SETTLED), None))
