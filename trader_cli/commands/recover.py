"""trader recover: what became of orders that are not settled."""

from __future__ import annotations

from trader_cli.commands.desks import finish, order_code, signals
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.core.errors import ExitCode
from trader_cli.phases.recover import recover as ask_about
from trader_cli.schemas.order import SETTLED
from trader_cli.views.steps import order_document, order_lines
from trader_cli.wiring import Bench, at_desk


@command
def recover(g: Globals, dry_run: DryRun = False) -> ExitCode:
    """Ask the exchange about every unsettled order and book what is proved. Never sends anything."""
    with at_desk(g.settings(), Bench(dry_run=dry_run, creates=False, signals=signals(g))) as desk:
        orders = ask_about(desk)
    lines = [line for order in orders for line in (f"Order of {order.intent.side}", *order_lines(order))]
    g.out.record(
        {
            "schema": "trader.recovery/1",
            "dry_run": dry_run,
            "orders": [order_document(order) for order in orders],
            "unsettled": sum(order.state not in SETTLED for order in orders),
        },
        lines or ["Nothing to recover: every order is settled."],
    )
    finish(g, dry_run)
    return order_code(g, next((order for order in orders if order.state not in SETTLED), None))
