"""An exchange's answers as records. What does not hold all that it must is refused: nothing is guessed or filled in.

ccxt gives numbers as text (`number=str`), and an empty record without an exception where a body was broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import ZERO, dec, mul, text
from trader_cli.core.moments import Moment
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Candle, Market, Quote
from trader_cli.schemas.order import Fill, OrderState, Side, Sighting
from trader_cli.tools.exchanges.dialects import Dialect

Raw = Mapping[str, Any]
Priced = Callable[[str, Decimal, Decimal], Decimal]
"""What so much of a currency is worth in quote, when the base has this price: currency, amount, price."""

MOST_QTY = Decimal(10**12)
"""For a market that names no largest quantity."""

STATES = {
    "open": OrderState.OPEN,
    "closed": OrderState.FILLED,
    "canceled": OrderState.PARTIAL,
    "canceling": OrderState.OPEN,
    "expired": OrderState.PARTIAL,
    "rejected": OrderState.REJECTED,
}
"""ccxt's words for an order's state; PARTIAL means that what is not executed never will be."""


class Malformed(Exception):  # noqa: N818 - an answer, not an error of ours
    """An answer that lacks something or cannot be."""


def number(value: object, name: str) -> Decimal:
    """A plain decimal of an answer. Raises Malformed."""
    try:
        return dec(value if isinstance(value, str) else "")
    except ValueError:
        raise Malformed(f"{name} is {str(value)[:40]!r}") from None


def _rule(value: object, name: str) -> Decimal:
    """A number of a market's rules as the ledger keeps it: what is worked out with either must read the same."""
    return dec(text(number(value, name)))


def market_of(raw: object, symbol: str, dollars: Decimal) -> Market:
    """The symbol's rules; `dollars` stands in where no least notional is named. Raises Malformed."""
    found = _mapping(raw, "the market")
    limits, precision = _mapping(found.get("limits"), "limits"), _mapping(found.get("precision"), "precision")
    amount, cost = _mapping(limits.get("amount"), "limits.amount"), _mapping(limits.get("cost"), "limits.cost")
    at_market = limits.get("market") if isinstance(limits.get("market"), Mapping) else {}
    if found.get("symbol") != symbol or found.get("spot") is not True:
        raise Malformed(f"the market is {str(found.get('symbol'))[:40]!r}")
    step = _rule(precision.get("amount"), "the step")
    least = max([step, *(_rule(one["min"], "the least") for one in (amount, at_market) if one and one.get("min"))])
    most = [_rule(one["max"], "the most") for one in (amount, at_market) if one and one.get("max") is not None]
    most = [one for one in most if one > ZERO] or [MOST_QTY]
    if step <= ZERO:
        raise Malformed(f"the step is {step}")
    return Market(
        symbol=symbol,
        base=str(found["base"]),
        quote=str(found["quote"]),
        step=step,
        tick=_rule(precision.get("price"), "the tick"),
        min_qty=least,
        max_qty=min(most),
        min_notional=dollars if cost.get("min") is None else _rule(cost["min"], "the least notional"),
        fee_pct=mul(_fee(found.get("taker")), Decimal(100)),
        active=found.get("active") is True,
    )


def _fee(said: object) -> Decimal:
    """ccxt keeps an exchange's usual fee as a number of its own, not as text."""
    return number(format(Decimal(str(said)), "f") if isinstance(said, float | int) else said, "the fee")


def candles_of(raw: object, timeframe_ms: int, now: Moment) -> tuple[Candle, ...]:
    """The bars that have closed at `now`, as they came. Raises Malformed for no bars at all."""
    if not isinstance(raw, list) or not raw:
        raise Malformed("there are no bars")
    return tuple(bar for bar in map(_candle, raw) if bar.opened_at + timeframe_ms <= now)


def _candle(row: object) -> Candle:
    if not isinstance(row, list) or len(row) < 6 or not isinstance(row[0], int) or isinstance(row[0], bool):
        raise Malformed(f"a bar is {str(row)[:60]!r}")
    names = ("open", "high", "low", "close", "volume")
    return Candle(row[0], *(number(value, name) for value, name in zip(row[1:6], names, strict=True)))


def quote_of(bid: object, ask: object, at: Moment) -> Quote:
    """Best bid and ask. Raises Malformed for prices that cannot be."""
    quote = Quote(number(bid, "the bid"), number(ask, "the ask"), at)
    if not ZERO < quote.bid <= quote.ask:
        raise Malformed(f"bid {quote.bid}, ask {quote.ask}")
    return quote


def account_of(raw: object) -> Raw:
    """The account's own answer behind its balances. Raises Malformed for one without a list of them."""
    info = _mapping(_mapping(raw, "the account").get("info"), "the account")
    if not isinstance(info.get("balances"), list):
        raise Malformed("the account lists no balances")
    return info


def list_of(raw: object, what: str) -> list[Any]:
    """A list of records. Raises Malformed."""
    if not isinstance(raw, list) or not all(isinstance(one, Mapping) for one in raw):
        raise Malformed(f"{what}: {str(raw)[:40]!r}")
    return raw


def balances_of(raw: object, base: str, quote: str) -> Balances:
    """What is free of both currencies. One that is not listed is zero only where there is a list at all."""
    found = _mapping(raw, "the balances")
    info = found.get("info")
    listed = isinstance(info, Mapping) and isinstance(info.get("balances"), list)
    return Balances(_free(found, base, listed), _free(found, quote, listed))


def _free(found: Raw, currency: str, listed: bool) -> Decimal:
    one = found.get(currency)
    if one is None and listed:
        return ZERO
    free = number(_mapping(one, currency).get("free"), f"free {currency}")
    if free < ZERO:
        raise Malformed(f"free {currency} is {free}")
    return free


def order_of(raw: object, pair: str, dialect: Dialect) -> Raw:
    """An order as ccxt reads it, if the exchange's own answer holds all that this reading stands on.

    `pair` is the exchange's own name of the symbol: ccxt shows the one that was asked for, whatever came.
    """
    found = _mapping(raw, "the order")
    info = _mapping(found.get("info"), "the order's own answer")
    lacks = [name for name in dialect.raw if info.get(name) in (None, "")]
    if lacks:
        raise Malformed(f"the order lacks {', '.join(lacks)}")
    if info.get("symbol") != pair:
        raise Malformed(f"the order is one of {str(info.get('symbol'))[:40]!r}")
    if found.get("status") not in STATES or found.get("side") not in ("buy", "sell"):
        raise Malformed(f"an order that is {str(found.get('status'))[:40]!r}, {str(found.get('side'))[:40]!r}")
    return found


def state_of(order: Raw) -> OrderState:
    """What the order came to: one that took nothing and is over is REJECTED."""
    state = STATES[order["status"]]
    if state is OrderState.PARTIAL and number(order.get("filled"), "filled") == ZERO:
        return OrderState.REJECTED
    return state


def side_of(order: Raw) -> Side:
    """Which way it goes."""
    return Side(str(order["side"]).upper())


def sighting_of(raw: object, pair: str, dialect: Dialect) -> Sighting:
    """An order out of a list of the account's orders."""
    order = order_of(raw, pair, dialect)
    at = order.get("timestamp")
    if not isinstance(at, int):
        raise Malformed(f"an order of the time {at!r}")
    return Sighting(
        client_order_id=str(order["clientOrderId"]),
        exchange_order_id=str(order["id"]),
        side=side_of(order),
        state=state_of(order),
        qty=number(order.get("amount"), "amount"),
        executed_qty=number(order.get("filled"), "filled"),
        at=at,
    )


def fills_of(trades: Iterable[object], at: Moment, priced: Priced) -> tuple[Fill, ...]:
    """Executions with their fees; `at` is when, where a trade does not say. Raises Malformed for one without a fee."""
    return tuple(_fill(_mapping(trade, "a trade"), at, priced) for trade in trades)


def _fill(trade: Raw, at: Moment, priced: Priced) -> Fill:
    qty, price = number(trade.get("amount"), "a trade's amount"), number(trade.get("price"), "a trade's price")
    fee = _mapping(trade.get("fee"), "a trade's fee")
    paid, asset = number(fee.get("cost"), "a fee"), fee.get("currency")
    if not isinstance(asset, str) or not asset or not isinstance(trade.get("id"), str):
        raise Malformed(f"a trade {str(trade.get('id'))[:40]!r} with a fee in {str(asset)[:20]!r}")
    when = trade.get("timestamp")
    return Fill(
        trade_id=str(trade["id"]),
        qty=qty,
        price=price,
        quote_qty=mul(qty, price),
        fee=paid,
        fee_asset=asset,
        fee_quote=priced(asset, paid, price),
        at=when if isinstance(when, int) else at,
    )


def _mapping(value: object, name: str) -> Raw:
    if not isinstance(value, Mapping):
        raise Malformed(f"{name}: {str(value)[:40]!r}")
    return value
