"""What anybody may ask: the clock, the rules, prices, bars and the book."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from tests.binance.amounts import fixed, whole
from tests.binance.candles import INTERVALS
from tests.binance.endpoints import Call, Endpoint
from tests.binance.refusal import LEGAL_SYMBOL, RefusedError, illegal
from tests.binance.symbols import described

DAY_MS = 86_400_000
RATE_LIMITS = (
    ("REQUEST_WEIGHT", "MINUTE", 1, 6_000),
    ("ORDERS", "SECOND", 10, 100),
    ("ORDERS", "DAY", 1, 200_000),
    ("RAW_REQUESTS", "MINUTE", 5, 61_000),
)


def symbol_of(call: Call) -> str:
    """The symbol asked about. Raises RefusedError: -1100, -1121."""
    name = call.sent["symbol"]
    if re.fullmatch(LEGAL_SYMBOL, name, re.ASCII) is None:
        raise illegal("symbol", LEGAL_SYMBOL)
    return call.exchange.symbol(name).name


def limit_of(call: Call, usual: int, most: int) -> int:
    """How many are asked for; more than the most is the most."""
    asked = whole("limit", call.sent.get("limit", str(usual)))
    if asked == 0:
        raise illegal("limit", "^[1-9][0-9]*$")
    return min(asked, most)


def ping(_: Call) -> dict[str, Any]:
    """Nothing."""
    return {}


def time(call: Call) -> dict[str, Any]:
    """The server's clock."""
    return {"serverTime": call.now}


def exchange_info(call: Call) -> dict[str, Any]:
    """The rules of one symbol, of some, or of all."""
    exchange, sets = call.exchange, call.sent.get("showPermissionSets", "true") == "true"
    wanted = call.sent.get("symbolStatus")
    return {
        "timezone": "UTC",
        "serverTime": call.now,
        "rateLimits": [
            {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
            for kind, interval, number, limit in RATE_LIMITS
        ],
        "exchangeFilters": [],
        "symbols": [
            described(exchange.symbol(name), exchange.statuses[name], sets)
            for name in _names(call)
            if wanted in (None, exchange.statuses[name])
        ],
    }


def _names(call: Call) -> list[str]:
    if "symbol" in call.sent and "symbols" in call.sent:
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    if "symbol" in call.sent:
        return [symbol_of(call)]
    if "symbols" not in call.sent:
        return list(call.exchange.symbols)
    try:
        names = json.loads(call.sent["symbols"])
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise illegal("symbols", r'^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$')
    if len(set(names)) < len(names):
        raise RefusedError(-1151, "Symbol is present multiple times in the list.")
    return [call.exchange.symbol(name).name for name in names]


def klines(call: Call) -> list[list[Any]]:
    """Bars: from startTime on, or the newest; the last is the one that is forming."""
    prices, interval = call.exchange.prices(symbol_of(call)), INTERVALS.get(call.sent["interval"])
    if interval is None:
        raise RefusedError(-1120, "Invalid interval.")
    limit = limit_of(call, 500, 1_000)
    end = min(whole("endTime", call.sent.get("endTime", str(call.now))), call.now)
    if "startTime" in call.sent:
        start = whole("startTime", call.sent["startTime"])
        first = -(-start // interval) * interval
        return prices.klines(interval, first, min(end, first + (limit - 1) * interval), call.now)
    return prices.klines(interval, end - limit * interval + 1, end, call.now)


def depth(call: Call) -> dict[str, Any]:
    """The book, as far as it goes."""
    name, limit = symbol_of(call), limit_of(call, 100, 5_000)
    sides = {
        key: [[fixed(price), fixed(qty)] for price, qty in call.exchange.book(name, side, call.now)[:limit]]
        for key, side in (("bids", "SELL"), ("asks", "BUY"))
    }
    return {"lastUpdateId": call.now, **sides}


def average(call: Call) -> dict[str, Any]:
    """The average of five minutes."""
    name = symbol_of(call)
    return {"mins": 5, "price": fixed(call.exchange.prices(name).mean(call.now)), "closeTime": call.now}


def last_price(call: Call) -> Any:
    """The price last paid."""
    return _each(call, lambda name: {"symbol": name, "price": fixed(call.exchange.prices(name).last(call.now))})


def book_ticker(call: Call) -> Any:
    """The best bid and ask."""
    return _each(call, lambda name: _best(call, name))


def day_ticker(call: Call) -> Any:
    """What happened in 24 hours."""
    return _each(call, lambda name: _day(call, name))


def _each(call: Call, one: Any) -> Any:
    return one(symbol_of(call)) if "symbol" in call.sent else [one(name) for name in _names(call)]


def _best(call: Call, name: str) -> dict[str, Any]:
    bid, ask = (call.exchange.book(name, side, call.now)[0] for side in ("SELL", "BUY"))
    return {
        "symbol": name,
        "bidPrice": fixed(bid[0]),
        "bidQty": fixed(bid[1]),
        "askPrice": fixed(ask[0]),
        "askQty": fixed(ask[1]),
    }


def _day(call: Call, name: str) -> dict[str, Any]:
    prices, best = call.exchange.prices(name), _best(call, name)
    bars = prices.klines(DAY_MS // 24, call.now - DAY_MS, call.now, call.now)
    opened, last = Decimal(bars[0][1]), prices.last(call.now)
    volume, quote = (sum((Decimal(bar[place]) for bar in bars), Decimal(0)) for place in (5, 7))
    return {
        "priceChange": fixed(last - opened),
        "priceChangePercent": fixed((last - opened) * 100 / opened, 3),
        "weightedAvgPrice": fixed(quote / volume),
        "prevClosePrice": fixed(opened),
        "lastPrice": fixed(last),
        "lastQty": best["bidQty"],
        **best,
        "openPrice": fixed(opened),
        "highPrice": fixed(max(Decimal(bar[2]) for bar in bars)),
        "lowPrice": fixed(min(Decimal(bar[3]) for bar in bars)),
        "volume": fixed(volume),
        "quoteVolume": fixed(quote),
        "openTime": call.now - DAY_MS,
        "closeTime": call.now,
        "firstId": 1,
        "lastId": 1_000,
        "count": 1_000,
    }


SOME = ("symbol", "symbols")
PUBLIC = {
    ("GET", "/api/v3/ping"): Endpoint(ping, 1),
    ("GET", "/api/v3/time"): Endpoint(time, 1),
    ("GET", "/api/v3/exchangeInfo"): Endpoint(
        exchange_info, 20, optional=(*SOME, "permissions", "showPermissionSets", "symbolStatus")
    ),
    ("GET", "/api/v3/klines"): Endpoint(
        klines, 2, mandatory=("symbol", "interval"), optional=("startTime", "endTime", "limit", "timeZone")
    ),
    ("GET", "/api/v3/depth"): Endpoint(depth, 5, mandatory=("symbol",), optional=("limit", "symbolStatus")),
    ("GET", "/api/v3/avgPrice"): Endpoint(average, 2, mandatory=("symbol",)),
    ("GET", "/api/v3/ticker/price"): Endpoint(last_price, 2, optional=(*SOME, "symbolStatus")),
    ("GET", "/api/v3/ticker/bookTicker"): Endpoint(book_ticker, 2, optional=(*SOME, "symbolStatus")),
    ("GET", "/api/v3/ticker/24hr"): Endpoint(day_ticker, 2, optional=(*SOME, "type", "symbolStatus")),
}
