"""What an order must look like before the engine sees it: its parameters, then the symbol's filters, in their order."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from decimal import Decimal

from tests.binance.amounts import ZERO, amount
from tests.binance.orders import Asked
from tests.binance.refusal import LEGAL_CLIENT_ID, RefusedError, filtered, illegal, missing
from tests.binance.symbols import Symbol

MAX_PRICE, MAX_NOTIONAL = Decimal(1_000_000), Decimal(9_000_000)
MULTIPLIER_UP, MULTIPLIER_DOWN = Decimal(5), Decimal("0.2")
FORMS = ("ACK", "RESULT", "FULL")


def asked_for(sent: Mapping[str, str]) -> Asked:
    """The order in a request. Raises RefusedError: -11xx, -1013 for a quantity of nothing."""
    side, kind = sent["side"], sent["type"]
    if side not in ("BUY", "SELL"):
        raise RefusedError(-1117, "Invalid side.")
    if kind not in ("MARKET", "LIMIT"):
        raise RefusedError(-1116, "Invalid orderType.")
    if sent.get("newOrderRespType", "FULL") not in FORMS:
        raise RefusedError(-1136, "Invalid newOrderRespType.")
    _check_names(kind, sent)
    if sent.get("timeInForce", "GTC") not in ("GTC", "IOC"):
        raise RefusedError(-1115, "Invalid timeInForce.")
    client_id = sent.get("newClientOrderId", secrets.token_hex(11))
    if re.fullmatch(LEGAL_CLIENT_ID, client_id, re.ASCII) is None:
        raise illegal("newClientOrderId", LEGAL_CLIENT_ID)
    qty, quote_qty, price = (_positive(name, sent) for name in ("quantity", "quoteOrderQty", "price"))
    return Asked(sent["symbol"], side, kind, qty, quote_qty, price, sent.get("timeInForce", "GTC"), client_id)


def _check_names(kind: str, sent: Mapping[str, str]) -> None:
    if kind == "LIMIT":
        for name in ("timeInForce", "quantity", "price"):
            if not sent.get(name):
                raise missing(name)
    unwanted = ("timeInForce", "price") if kind == "MARKET" else ("quoteOrderQty",)
    for name in unwanted:
        if name in sent:
            raise RefusedError(-1106, f"Parameter '{name}' sent when not required.")
    amounts = [name for name in ("quantity", "quoteOrderQty") if name in sent]
    if not amounts:
        raise RefusedError(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
    if len(amounts) == 2:
        raise RefusedError(-1128, "Combination of optional parameters invalid.")


def _positive(name: str, sent: Mapping[str, str]) -> Decimal:
    if name not in sent:
        return ZERO
    value = amount(name, sent[name])
    if value == ZERO:
        raise RefusedError(-1013, f"Invalid {name}.")
    return value


def check_filters(symbol: Symbol, asked: Asked, average: Decimal) -> None:
    """Raises RefusedError (-1013). `average` of five minutes, in quote, is what a market order is valued at."""
    if asked.type == "LIMIT":
        _check_price(symbol, asked.price, average)
    if asked.quote_qty == ZERO:
        _check_quantity(symbol, asked)
    price = asked.price if asked.type == "LIMIT" else average
    notional = asked.quote_qty or asked.qty * price
    # applyMaxToMarket is false: only a limit order can be worth too much.
    if notional < symbol.min_notional or (asked.type == "LIMIT" and notional > MAX_NOTIONAL):
        raise filtered("NOTIONAL")


def _check_price(symbol: Symbol, price: Decimal, average: Decimal) -> None:
    if price > MAX_PRICE or price < symbol.tick or price % symbol.tick:
        raise filtered("PRICE_FILTER")
    if not average * MULTIPLIER_DOWN <= price <= average * MULTIPLIER_UP:
        raise filtered("PERCENT_PRICE_BY_SIDE")


def _check_quantity(symbol: Symbol, asked: Asked) -> None:
    if not symbol.step <= asked.qty <= symbol.max_qty or asked.qty % symbol.step:
        raise filtered("LOT_SIZE")
    if asked.type == "MARKET" and asked.qty > symbol.market_max_qty:
        raise filtered("MARKET_LOT_SIZE")
