"""Orders and trades as records, and the forms in which the service shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.binance.amounts import ZERO, fixed

OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass(frozen=True, slots=True)
class Asked:
    """An order as requested. `qty` in base or `quote_qty` in quote; `price` in quote for LIMIT, else 0."""

    symbol: str
    side: str
    type: str
    qty: Decimal
    quote_qty: Decimal
    price: Decimal
    time_in_force: str
    client_order_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order the engine took. Times in ms; nobody is shown it before `visible_at`."""

    order_id: int
    asked: Asked
    qty: Decimal
    executed_qty: Decimal
    executed_quote: Decimal
    status: str
    at: int
    updated_at: int
    visible_at: int
    foreign: bool = False
    expiry_reason: str | None = None

    @property
    def client_order_id(self) -> str:
        """The id its sender gave it."""
        return self.asked.client_order_id

    @property
    def side(self) -> str:
        """BUY or SELL."""
        return self.asked.side

    @property
    def is_open(self) -> bool:
        """Whether it may still be filled."""
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution: `qty` in base, `quote_qty` in quote, `commission` in its asset."""

    trade_id: int
    order_id: int
    symbol: str
    price: Decimal
    qty: Decimal
    quote_qty: Decimal
    commission: Decimal
    commission_asset: str
    at: int
    is_buyer: bool
    is_maker: bool


def answered(order: Order, trades: Sequence[Trade], form: str) -> dict[str, Any]:
    """The answer to POST order: ACK, RESULT or FULL."""
    head = {
        "symbol": order.asked.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "transactTime": order.at,
    }
    if form == "ACK":
        return head
    result = {**head, **_terms(order), "workingTime": order.at, "selfTradePreventionMode": "EXPIRE_MAKER"}
    if order.expiry_reason is not None:
        result["expiryReason"] = order.expiry_reason
    return result if form == "RESULT" else {**result, "fills": [_fill(one) for one in trades]}


def looked_up(order: Order) -> dict[str, Any]:
    """An order as GET order, openOrders and allOrders show it: without fills and without a fee."""
    return {
        "symbol": order.asked.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        **_terms(order),
        "stopPrice": fixed(ZERO),
        "icebergQty": fixed(ZERO),
        "time": order.at,
        "updateTime": order.updated_at,
        "isWorking": True,
        "workingTime": order.at,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def cancelled(order: Order, cancel_id: str) -> dict[str, Any]:
    """The answer to DELETE order."""
    return {
        "symbol": order.asked.symbol,
        "origClientOrderId": order.client_order_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": cancel_id,
        "transactTime": order.updated_at,
        **_terms(order),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def listed(trade: Trade) -> dict[str, Any]:
    """A trade as myTrades shows it."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": -1,
        "price": fixed(trade.price),
        "qty": fixed(trade.qty),
        "quoteQty": fixed(trade.quote_qty),
        "commission": fixed(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.at,
        "isBuyer": trade.is_buyer,
        "isMaker": trade.is_maker,
        "isBestMatch": True,
    }


def _terms(order: Order) -> dict[str, Any]:
    return {
        "price": fixed(order.asked.price),
        "origQty": fixed(order.qty),
        "executedQty": fixed(order.executed_qty),
        "origQuoteOrderQty": fixed(order.asked.quote_qty),
        "cummulativeQuoteQty": fixed(order.executed_quote),
        "status": order.status,
        "timeInForce": order.asked.time_in_force,
        "type": order.asked.type,
        "side": order.side,
    }


def _fill(trade: Trade) -> dict[str, Any]:
    return {
        "price": fixed(trade.price),
        "qty": fixed(trade.qty),
        "commission": fixed(trade.commission),
        "commissionAsset": trade.commission_asset,
        "tradeId": trade.trade_id,
    }
