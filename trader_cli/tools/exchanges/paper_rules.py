"""Trading rules for paper mode: BTC/USDT as Binance spot has them, and a fine grid for any other symbol."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from trader_cli.schemas.market import Costs, Market

SPREAD_BPS = Decimal(1)
"""What paper's bid and ask lie apart, in basis points; real BTC/USDT is tighter."""

_BTC_USDT = Market(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    step=Decimal("0.00001"),
    tick=Decimal("0.01"),
    min_qty=Decimal("0.00001"),
    max_qty=Decimal(128),
    min_notional=Decimal(5),
    fee_pct=Decimal("0.1"),
)
"""Binance spot 2026-07: LOT_SIZE step, PRICE_FILTER tick, MARKET_LOT_SIZE max, NOTIONAL min."""


def rules(symbol: str, fee_pct: Decimal) -> Market:
    """The rules of `symbol` on paper, with the fee that the settings ask for."""
    if symbol == _BTC_USDT.symbol:
        return replace(_BTC_USDT, fee_pct=fee_pct)
    base, _, quote = symbol.partition("/")
    return replace(
        _BTC_USDT,
        symbol=symbol,
        base=base,
        quote=quote,
        tick=Decimal("0.00000001"),
        max_qty=Decimal(9_000_000),
        fee_pct=fee_pct,
    )


def costs(fee_pct: Decimal, slippage_bps: Decimal) -> Costs:
    """What a trade on paper costs."""
    return Costs(fee_pct=fee_pct, spread_bps=SPREAD_BPS, slippage_bps=slippage_bps)
