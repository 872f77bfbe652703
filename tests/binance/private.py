"""What only the account's owner may ask: balances, orders, trades, the key's rights."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

from tests.binance.amounts import ZERO, fixed, whole
from tests.binance.endpoints import Call, Endpoint
from tests.binance.filters import asked_for, check_filters
from tests.binance.orders import Order, answered, cancelled, listed, looked_up
from tests.binance.public import DAY_MS, limit_of, symbol_of
from tests.binance.refusal import LEGAL_CLIENT_ID, RefusedError, illegal
from tests.binance.wallet import Balance

ALWAYS_LISTED = ("BTC", "LTC", "ETH", "BNB", "USDT", "EUR")
ORDER_PARAMETERS = (
    "timeInForce",
    "quantity",
    "quoteOrderQty",
    "price",
    "newClientOrderId",
    "newOrderRespType",
    "selfTradePreventionMode",
)


def account(call: Call) -> dict[str, Any]:
    """Balances and rights."""
    call.exchange.match(call.now)
    with call.exchange.lock:
        held = dict(call.exchange.wallet.balances)
    shown = {**{asset: Balance() for asset in ALWAYS_LISTED}, **held}
    if call.sent.get("omitZeroBalances") == "true":
        shown = {asset: one for asset, one in shown.items() if one.total}
    rate = fixed(call.exchange.fee)
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": rate, "taker": rate, "buyer": fixed(ZERO), "seller": fixed(ZERO)},
        "canTrade": True,
        "canWithdraw": bool((call.rights or {}).get("enableWithdrawals", False)),
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": call.now,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": fixed(one.free), "locked": fixed(one.locked)} for asset, one in shown.items()
        ],
        "permissions": ["SPOT"],
        "uid": call.uid,
    }


def commission(call: Call) -> dict[str, Any]:
    """The fees of a symbol."""
    name, rate, none = symbol_of(call), fixed(call.exchange.fee), fixed(ZERO)
    nothing = {"maker": none, "taker": none, "buyer": none, "seller": none}
    return {
        "symbol": name,
        "standardCommission": {**nothing, "maker": rate, "taker": rate},
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": call.exchange.bnb,
            "enabledForSymbol": True,
            "discountAsset": "BNB",
            "discount": "0.75000000",
        },
    }


def rights(call: Call) -> dict[str, Any]:
    """What the key may do."""
    return {"createTime": 1_750_000_000_000, **(call.rights or {})}


def coins(call: Call) -> list[dict[str, Any]]:
    """The account's coins, with no network of any: ccxt's class asks for them when it loads markets with a key."""
    with call.exchange.lock:
        held = dict(call.exchange.wallet.balances)
    nothing = dict.fromkeys(("freeze", "withdrawing", "ipoing", "ipoable", "storage"), "0")
    return [
        {
            "coin": asset,
            "name": asset,
            "depositAllEnable": True,
            "withdrawAllEnable": True,
            "free": fixed(one.free),
            "locked": fixed(one.locked),
            **nothing,
            "isLegalMoney": asset == "EUR",
            "trading": True,
            "networkList": [],
        }
        for asset, one in {**{asset: Balance() for asset in ALWAYS_LISTED}, **held}.items()
    ]


def no_margin(_: Call) -> list[dict[str, Any]]:
    """No pair can be traded on margin."""
    return []


def place(call: Call) -> dict[str, Any]:
    """Take an order."""
    call.exchange.match(call.now)
    asked = _checked(call)
    order, trades = call.exchange.place(asked, call.now, max(call.hidden_ms, call.exchange.hidden_ms))
    return answered(order, trades, call.sent.get("newOrderRespType", "FULL"))


def rehearse(call: Call) -> dict[str, Any]:
    """Check an order as if."""
    _checked(call)
    return {}


def _checked(call: Call) -> Any:
    name = symbol_of(call)
    asked = asked_for(call.sent)
    if call.exchange.statuses[name] != "TRADING":
        raise RefusedError(-1013, "Market is closed.")
    check_filters(call.exchange.symbol(name), asked, call.exchange.prices(name).mean(call.now))
    return asked


def look_up(call: Call) -> dict[str, Any]:
    """One order, by either id."""
    order = _found(call)
    if order is None:
        raise RefusedError(-2013, "Order does not exist.")
    return looked_up(order)


def cancel(call: Call) -> dict[str, Any]:
    """Take one open order off the book."""
    order = _found(call)
    if order is None:
        raise RefusedError(-2011, "Unknown order sent.")
    return cancelled(call.exchange.cancel(order, call.now), _cancel_id(call))


def open_orders(call: Call) -> list[dict[str, Any]]:
    """What stands on the book."""
    return [looked_up(one) for one in _standing(call)]


def cancel_all(call: Call) -> list[dict[str, Any]]:
    """Take all of a symbol off the book, foreign ones too."""
    standing = _standing(call)
    if not standing:
        raise RefusedError(-2011, "Unknown order sent.")
    return [cancelled(call.exchange.cancel(one, call.now), _cancel_id(call)) for one in standing]


def all_orders(call: Call) -> list[dict[str, Any]]:
    """The orders of a symbol, oldest first: from an id on, between two times, or the newest."""
    name, limit = symbol_of(call), limit_of(call, 500, 1_000)
    start, end = _span(call)
    call.exchange.match(call.now)
    orders = [one for one in call.exchange.visible(call.now) if one.asked.symbol == name]
    if "orderId" in call.sent:
        first = whole("orderId", call.sent["orderId"])
        return [looked_up(one) for one in orders if one.order_id >= first][:limit]
    orders = [one for one in orders if start <= one.at <= end]
    return [looked_up(one) for one in _limited(call, orders, limit)]


def my_trades(call: Call) -> list[dict[str, Any]]:
    """The executions of a symbol, oldest first."""
    name, limit = symbol_of(call), limit_of(call, 500, 1_000)
    start, end = _span(call)
    call.exchange.match(call.now)
    seen = {one.order_id for one in call.exchange.visible(call.now)}
    with call.exchange.lock:
        trades = [one for one in call.exchange.trades if one.symbol == name and one.order_id in seen]
    trades = [one for one in trades if start <= one.at <= end]
    if "orderId" in call.sent:
        order_id = whole("orderId", call.sent["orderId"])
        trades = [one for one in trades if one.order_id == order_id]
    if "fromId" in call.sent:
        first = whole("fromId", call.sent["fromId"])
        return [listed(one) for one in trades if one.trade_id >= first][:limit]
    return [listed(one) for one in _limited(call, trades, limit)]


def _limited(call: Call, rows: Sequence[Any], limit: int) -> Sequence[Any]:
    """The first of them from a startTime on, else the newest."""
    return rows[:limit] if "startTime" in call.sent else rows[-limit:]


def _span(call: Call) -> tuple[int, int]:
    """From when to when. Raises RefusedError for more than a day (-1127)."""
    start = whole("startTime", call.sent.get("startTime", "0"))
    end = whole("endTime", call.sent.get("endTime", str(2**62)))
    if "startTime" in call.sent and "endTime" in call.sent:
        if end < start:
            raise RefusedError(-1023, "Start time is greater than end time.")
        if end - start > DAY_MS:
            raise RefusedError(-1127, "More than 24 hours between startTime and endTime.")
    return start, end


def _found(call: Call) -> Order | None:
    name, client_id = symbol_of(call), call.sent.get("origClientOrderId")
    if client_id is None and "orderId" not in call.sent:
        words = "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
        raise RefusedError(-1102, words)
    if client_id is not None and re.fullmatch(LEGAL_CLIENT_ID, client_id, re.ASCII) is None:
        raise illegal("origClientOrderId", LEGAL_CLIENT_ID)
    call.exchange.match(call.now)
    order_id = whole("orderId", call.sent["orderId"]) if "orderId" in call.sent else None
    return call.exchange.find(name, order_id, client_id, call.now)


def _standing(call: Call) -> list[Order]:
    call.exchange.match(call.now)
    name = symbol_of(call) if "symbol" in call.sent else None
    return [one for one in call.exchange.visible(call.now) if one.is_open and name in (None, one.asked.symbol)]


def _cancel_id(call: Call) -> str:
    return call.sent.get("newClientOrderId", secrets.token_hex(11))


BY_ID = ("orderId", "origClientOrderId")
SPAN = ("startTime", "endTime", "limit")
WALLET_API = "/sapi/"
"""What the testnet does not have."""
RIGHTS = "/sapi/v1/account/apiRestrictions"
PRIVATE = {
    ("GET", "/api/v3/account"): Endpoint(account, 20, signed=True, optional=("omitZeroBalances",)),
    ("GET", "/api/v3/account/commission"): Endpoint(commission, 20, signed=True, mandatory=("symbol",)),
    ("GET", RIGHTS): Endpoint(rights, 1, signed=True),
    ("GET", "/sapi/v1/capital/config/getall"): Endpoint(coins, 10, signed=True),
    ("GET", "/sapi/v1/margin/allPairs"): Endpoint(no_margin, 1, signed=True, optional=("symbol",)),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): Endpoint(no_margin, 10, signed=True, optional=("symbol",)),
    ("POST", "/api/v3/order"): Endpoint(place, 1, True, True, ("symbol", "side", "type"), ORDER_PARAMETERS),
    ("POST", "/api/v3/order/test"): Endpoint(
        rehearse, 1, True, True, ("symbol", "side", "type"), (*ORDER_PARAMETERS, "computeCommissionRates")
    ),
    ("GET", "/api/v3/order"): Endpoint(look_up, 4, signed=True, mandatory=("symbol",), optional=BY_ID),
    ("DELETE", "/api/v3/order"): Endpoint(
        cancel, 1, True, True, ("symbol",), (*BY_ID, "newClientOrderId", "cancelRestrictions")
    ),
    ("GET", "/api/v3/openOrders"): Endpoint(open_orders, 6, signed=True, optional=("symbol",)),
    ("DELETE", "/api/v3/openOrders"): Endpoint(cancel_all, 1, True, True, ("symbol",)),
    ("GET", "/api/v3/allOrders"): Endpoint(
        all_orders, 20, signed=True, mandatory=("symbol",), optional=("orderId", *SPAN)
    ),
    ("GET", "/api/v3/myTrades"): Endpoint(
        my_trades, 20, signed=True, mandatory=("symbol",), optional=("orderId", "fromId", *SPAN)
    ),
}
