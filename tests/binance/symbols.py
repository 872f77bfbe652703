"""The universe: the rules of a few real symbols, as many made-up ones as asked for, and exchangeInfo's form of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.binance.amounts import fixed

GROUPS = tuple(f"TRD_GRP_{number:03}" for number in range(4, 92))
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "BNB", "TRY", "EUR")


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol's rules. `price` in quote is what its made-up history moves around."""

    base: str
    quote: str
    price: Decimal
    tick: Decimal
    step: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal

    @property
    def name(self) -> str:
        """As requests name it."""
        return self.base + self.quote


def _symbol(base: str, quote: str, *rules: str) -> Symbol:
    return Symbol(base, quote, *(Decimal(one) for one in rules))


REAL = (
    _symbol("BTC", "USDT", "60000", "0.01", "0.00001", "9000", "128.01", "5"),
    _symbol("ETH", "USDT", "3000", "0.01", "0.0001", "9000", "2600.5", "5"),
    _symbol("BNB", "USDT", "600", "0.01", "0.001", "900000", "3200.4", "5"),
    _symbol("ETH", "BTC", "0.05", "0.00001", "0.0001", "100000", "810.2", "0.0001"),
    _symbol("BTC", "EUR", "55000", "0.01", "0.00001", "9000", "30.5", "5"),
)


def universe(count: int) -> dict[str, Symbol]:
    """So many symbols by name, the real ones first."""
    found = {one.name: one for one in REAL}
    number = 0
    while len(found) < count:
        base, quote = f"C{number // len(QUOTES):04}", QUOTES[number % len(QUOTES)]
        made = _symbol(base, quote, "1.5", "0.0001", "0.1", "900000", "120000.5", "5")
        found[made.name] = made
        number += 1
    return found


def described(symbol: Symbol, status: str, with_sets: bool = True) -> dict[str, Any]:
    """A symbol as exchangeInfo lists it."""
    return {
        "symbol": symbol.name,
        "status": status,
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": _filters(symbol),
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN", *GROUPS]] if with_sets else [],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }


def _filters(symbol: Symbol) -> list[dict[str, Any]]:
    zero, step, tick = fixed(Decimal(0)), fixed(symbol.step), fixed(symbol.tick)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": fixed(symbol.max_qty), "stepSize": step},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": zero,
            "maxQty": fixed(symbol.market_max_qty),
            "stepSize": zero,
        },
        {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "5",
            "askMultiplierDown": "0.2",
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": fixed(symbol.min_notional),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
