"""Features: what one window of candles says in numbers. A pure function, so that replay is exact."""

from __future__ import annotations

from trader_cli.core.indicators import drawdown, log_returns, ratio, rsi, sma, stdev, trend
from trader_cli.schemas.market import Features, Window

DIGITS = 10
"""Significant digits of a feature: what every platform's `log` agrees on, so that JSON and hashes are equal."""

UNDEFINED = Features(None, None, None, None, None, None, None, None)
"""What a window with defects says: nothing."""


def compute_indicators(window: Window) -> Features:
    """RSI(14), MA(20), average volume and the regime features of `window`; units in `Features`.

    A window with defects has no features; neither has anything undefined (a flat series has no RSI).
    """
    if window.defects:
        return UNDEFINED
    closes = window.closes
    volumes = [float(candle.volume) for candle in window.candles[-20:]]
    volume_avg = sma(volumes, 20)
    returns = log_returns(closes, 96)
    volatility = stdev(returns, 48)
    return Features(
        rsi=_rounded(rsi(closes)),
        ma20=_rounded(sma(closes, 20)),
        volume_avg=_rounded(volume_avg),
        volatility=_rounded(volatility),
        trend=_rounded(trend(closes, volatility)),
        drawdown=_rounded(drawdown(closes)),
        volume_ratio=_rounded(ratio(volumes[-1], volume_avg) if volumes else None),
        volatility_ratio=_rounded(ratio(stdev(returns, 12), stdev(returns, 96))),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
