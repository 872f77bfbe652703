"""The way out of an order that no answer settles: an operator says what became of it, with a reason that is kept.

The exchange is asked all the same: what it shows is booked, and it is not overruled where it shows an execution.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from trader_cli.core.decimals import ZERO, brief, dec, text
from trader_cli.core.errors import DiffersError, NotFoundError, UpstreamError, UsageError
from trader_cli.core.hostile import storable
from trader_cli.core.orders import EXECUTED, doubt
from trader_cli.phases.desk import Desk
from trader_cli.schemas.decision import OPERATOR
from trader_cli.schemas.order import EDGES, Absent, Intent, Order, OrderState, Outcome, Report

SHORTEST = 6
"""The least that must be given of an order's name, unless it is the whole name."""


def order_named(desk: Desk, name: str) -> Order:
    """The unsettled order of that client order id, or the one that begins so. Raises NotFoundError, UsageError."""
    waiting = desk.ledger.open_orders()
    names = [order.intent.client_order_id for order in waiting]
    if name not in names and len(name) < SHORTEST:
        raise UsageError(
            f'needs {SHORTEST} or more characters of an order\'s name, was "{name}"', "See: trader recover"
        )
    found = [order for order in waiting if order.intent.client_order_id.startswith(name)]
    found = [order for order in found if order.intent.client_order_id == name] or found
    if not found:
        there = f"unsettled: {', '.join(names)}" if names else "every order is settled"
        raise NotFoundError(f'no unsettled order "{name}" in this ledger ({there})', "See: trader recover")
    if len(found) > 1:
        raise UsageError(f'"{name}" begins several orders: {", ".join(names)}', "Give more of its name.")
    return found[0]


def settle_filled(desk: Desk, order: Order, reason: str) -> Order:
    """Book what the exchange shows of an order, also where that is more than was sent.

    Raises UpstreamError when it cannot be asked, DiffersError when it shows nothing that can be booked.
    """
    intent = order.intent
    shown = desk.exchange.find(intent)
    seen = f"the exchange shows {_words(shown)} of order {intent.client_order_id}"
    if not isinstance(shown, Report) or not (shown.fills or _executed(shown) > ZERO):
        raise DiffersError(
            f"{seen}: there is nothing to book",
            f"If it never was: trader recover --settle {intent.client_order_id} not-placed --reason TEXT",
        )
    if shown.side is not intent.side:
        raise DiffersError(
            f"{seen}, which was a {intent.side}: it cannot be booked as that order",
            f"Settle it as not placed (--settle {intent.client_order_id} not-placed --force --reason TEXT), "
            "then take over the balances: trader recover --accept-balances --reason TEXT",
        )
    told, report = _as_shown(intent, shown)
    if (wrong := doubt(told, report)) is not None or report.state not in EXECUTED:
        why = wrong.reason if wrong else "it may still be filled; cancel it there, or wait"
        raise DiffersError(f"{seen}: {why}", "Ask again later: trader recover")
    return _settle(desk, order, Outcome(report.state, report, _evidence(reason, _words(shown))))


def settle_not_placed(desk: Desk, order: Order, reason: str, force: bool, unasked: str | None = None) -> Order:
    """Give an order up as never taken, unless the exchange shows it executed or open.

    `force` for an exchange that cannot be asked, or that shows nothing clear; `unasked` says why it may not be asked at
    all. Raises UpstreamError, DiffersError.
    """
    intent = order.intent
    if unasked is not None and force:
        return _give_up(desk, order, _evidence(reason, f"not verified: {storable(unasked)}"[:300]))
    try:
        shown = desk.exchange.find(intent)
    except UpstreamError as error:
        if not force:
            raise UpstreamError(
                f"{error.message}. The exchange cannot say whether order {intent.client_order_id} was taken",
                "Try again later; if you know that it was not: add --force",
            ) from error
        return _give_up(desk, order, _evidence(reason, f"not verified: {storable(error.message)}"[:300]))
    if isinstance(shown, Report) and shown.side is intent.side and (shown.fills or _executed(shown) > ZERO):
        raise DiffersError(
            f"the exchange shows {_words(shown)} of order {intent.client_order_id}: it was placed",
            f"Book it: trader recover --settle {intent.client_order_id} filled --reason TEXT",
        )
    if isinstance(shown, Report) and shown.side is intent.side and shown.state is OrderState.OPEN:
        raise DiffersError(
            f"the exchange holds order {intent.client_order_id} and may still fill it",
            "Cancel it: trader stop --flatten",
        )
    clear = (isinstance(shown, Absent) and shown.final) or (
        isinstance(shown, Report) and shown.state is OrderState.REJECTED and doubt(intent, shown) is None
    )
    if not clear and not force:
        raise DiffersError(
            f"the exchange shows {_words(shown)} of order {intent.client_order_id}, which proves nothing yet",
            "Try again later; if you know that it was not taken: add --force",
        )
    return _give_up(desk, order, _evidence(reason, _words(shown) if clear else f"not verified: {_words(shown)}"))


def _give_up(desk: Desk, order: Order, evidence: dict[str, str | None]) -> Order:
    return _settle(desk, order, Outcome(OrderState.ABANDONED, None, evidence))


def _settle(desk: Desk, order: Order, outcome: Outcome) -> Order:
    """By an edge that there is: what was open and never was contradicts itself, so a human looked at it between."""
    if outcome.state not in EDGES[order.state]:
        human = Outcome(OrderState.NEEDS_HUMAN, None, outcome.evidence)
        order = desk.ledger.settle(order, human, desk.clock.now())
    return desk.ledger.settle(order, outcome, desk.clock.now())


def _as_shown(intent: Intent, shown: Report) -> tuple[Intent, Report]:
    """The intent as if as much had been sent as was executed, and the report of that; all other doubts still count."""
    executed = _executed(shown)
    if executed <= intent.qty:
        return intent, shown
    return replace(intent, qty=executed), replace(shown, state=OrderState.FILLED)


def _executed(shown: Report) -> Decimal:
    """What a report says was executed, in base; nothing where it says no number."""
    try:
        return max(ZERO, dec(text(shown.executed_qty)))
    except (AttributeError, TypeError, ValueError):
        return ZERO


def _evidence(reason: str, shown: str) -> dict[str, str | None]:
    return {"by": OPERATOR, "reason": storable(reason), "shown": storable(shown)}


def _words(shown: object) -> str:
    """What an exchange shows, in few words."""
    if isinstance(shown, Absent):
        return f"nothing ({'for good' if shown.final else 'so far'}: {storable(str(shown.evidence))[:200]})"
    if isinstance(shown, Report):
        return f"a {shown.side} that is {shown.state}, {brief(_executed(shown))} executed in {len(shown.fills)} fills"
    return f"a {type(shown).__name__}"
