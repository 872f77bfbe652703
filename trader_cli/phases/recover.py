"""recover: settle what an earlier run left open. The first act of every writing command.

It asks and never sends. With nothing open it asks nobody.
"""

from __future__ import annotations

from contextlib import suppress

from trader_cli.core import accounting
from trader_cli.core.decimals import text
from trader_cli.core.errors import UpstreamError
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
    return [resolve(desk, order) for order in desk.ledger.open_orders()]


def resolve(desk: Desk, order: Order) -> Order:
    """Ask what became of one order and book what is proved. One still open is taken back while trading is stopped."""
    if order.state is OrderState.NEEDS_HUMAN:
        return order
    outcome = after_find(order.intent, desk.exchange.find(order.intent))
    if outcome is not None and outcome.state is OrderState.OPEN and desk.state()[0] is TradingState.HALT:
        desk.exchange.cancel(order.intent)
        outcome = after_find(order.intent, desk.exchange.find(order.intent))
    if outcome is None or outcome.state is order.state:
        if order.state is not OrderState.INTENT:
            return order
        outcome = Outcome(OrderState.UNKNOWN, None, {"by": "recover: sent, perhaps, and no proof yet"})
    if order.state is OrderState.ABANDONED and outcome.state is OrderState.REJECTED:
        return order  # nothing was executed, as it was taken to be
    outcome = believed(desk, order, outcome)
    if outcome.state is OrderState.NEEDS_HUMAN:
        with suppress(UpstreamError):  # what is left of it shall not go on while a human is looked for
            desk.exchange.cancel(order.intent)
    return desk.ledger.settle(order, outcome, desk.clock.now())


def believed(desk: Desk, order: Order, outcome: Outcome) -> Outcome:
    """An outcome, or NEEDS_HUMAN where by what the ledger knows it cannot be."""
    words = None
    if outcome.state not in EDGES[order.state]:
        words = f"the exchange shows {outcome.state} of an order that was {order.state}"
    elif outcome.report is not None and (taken := desk.ledger.trade_taken(outcome.report.fills)) is not None:
        words = f"the exchange shows trade {taken}, which another order has already"
    return outcome if words is None else Outcome(OrderState.NEEDS_HUMAN, None, {"contradiction": words})


def note_stop(desk: Desk) -> None:
    """Write the operator's stop sign into the ledger: from here on only `resume` undoes it."""
    asked, reason = desk.stop.state()
    kept, _ = desk.ledger.trading_state()
    if asked <= kept:
        return
    with desk.ledger.transaction() as tx:
        set_state(desk, tx, kept, asked, reason or "stop sign")


def set_state(desk: Desk, tx: Transaction, kept: TradingState, to: TradingState, reason: str) -> None:
    """One STATE event: what trading is allowed from now on, and why. From a resume on peak and losses count anew."""
    content = {"from": kept.name, "to": to.name, "reason": reason}
    if to is TradingState.RUN and (last := desk.ledger.last_snapshot()) is not None:
        book = desk.ledger.book(*last.symbol.split("/"))
        content["equity_usdt"] = text(accounting.equity(book, last.mark_price))
    desk.ledger.log_event(tx, "STATE", content, desk.clock.now())
