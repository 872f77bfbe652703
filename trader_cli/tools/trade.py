"""place_market_order(): the one submission of an order, and what it proves."""

from __future__ import annotations

from trader_cli.core.orders import after_submit
from trader_cli.core.ports import Exchange
from trader_cli.schemas.order import Intent, OrderState, Outcome
from trader_cli.tools.failpoints import failpoint


def place_market_order(exchange: Exchange, intent: Intent) -> Outcome:
    """Send a market order once and say what is proved: FILLED, PARTIAL, REJECTED, OPEN or UNKNOWN.

    Never raises for what an exchange or a network did: an exception nobody foresaw leaves the
    order as unknown as a lost answer. Never sends twice.
    """
    failpoint("submit-before")
    try:
        report = exchange.submit(intent)
    except Exception as error:  # noqa: BLE001 - house rule 10: anything unforeseen here is UNKNOWN
        return Outcome(OrderState.UNKNOWN, None, {"error": f"{type(error).__name__}: {error}"[:500]})
    failpoint("submit-after")
    return after_submit(intent, report)
