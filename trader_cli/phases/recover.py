"""recover: settle what an earlier run left open. The first act of every writing command.

It asks and never sends. With nothing open it asks nobody.
"""

from __future__ import annotations

from trader_cli.core.orders import after_find
from trader_cli.phases.desk import Desk
from trader_cli.schemas.order import EDGES, Order, OrderState, Outcome
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.store import Transaction


def recover(desk: Desk) -> list[Order]:
    """Ask what became of every unsettled order and book what is proved; returns them as they stand now.

    Raises UpstreamError when the exchange cannot be asked.
    """
    note_stop(desk)
    return [_resolve(desk, order) for order in desk.ledger.open_orders()]


def _resolve(desk: Desk, order: Order) -> Order:
    if order.state is OrderState.NEEDS_HUMAN:
        return order
    outcome = after_find(order.intent, desk.exchange.find(order.intent))
    if outcome is None or outcome.state is order.state:
        if order.state is not OrderState.INTENT:
            return order
        outcome = Outcome(OrderState.UNKNOWN, None, {"by": "recover: sent, perhaps, and no proof yet"})
    if outcome.state not in EDGES[order.state]:
        words = f"the exchange shows {outcome.state} of an order that was {order.state}"
        outcome = Outcome(OrderState.NEEDS_HUMAN, None, {"contradiction": words})
    return desk.ledger.settle(order, outcome, desk.clock.now())


def note_stop(desk: Desk) -> None:
    """Write the operator's stop sign into the ledger: from here on only `resume` undoes it."""
    asked, reason = desk.stop.state()
    kept, _ = desk.ledger.trading_state()
    if asked <= kept:
        return
    with desk.ledger.transaction() as tx:
        set_state(desk, tx, kept, asked, reason or "stop sign")


def set_state(desk: Desk, tx: Transaction, kept: TradingState, to: TradingState, reason: str) -> None:
    """One STATE event: what trading is allowed from now on, and why."""
    desk.ledger.log_event(tx, "STATE", {"from": kept.name, "to": to.name, "reason": reason}, desk.clock.now())
