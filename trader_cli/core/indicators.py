"""Indicators: pure functions over floats, oldest first, and the features of a window that are made of them.

What is undefined is None, never NaN or infinity: too few values, a value that is not
finite, a price that is not positive where a return is taken. Sums go through
`math.fsum`, so that every platform and Python version adds alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from trader_cli.schemas.market import Features, Window

NOISE = 1e-12
"""A deviation of log returns below this is rounding of doubles, not movement: it counts as zero."""
DIGITS = 10
"""Significant digits of a feature: what every platform's `log` agrees on, so that JSON and hashes are equal."""
UNDEFINED = Features(None, None, None, None, None, None, None, None)
"""What a window with defects says: nothing."""


def features(window: Window) -> Features:
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


def rsi(closes: Sequence[float], period: int = 14) -> float | None:
    """Wilder's relative strength index of the last close, 0..100.

    Average gain and loss start as the simple mean of the first `period` changes and are then
    smoothed by `(previous * (period - 1) + current) / period`; kept here as `period` times the
    average, which the quotient cancels. Only gains: 100; only losses: 0; neither: None. The
    whole sequence counts: Wilder's smoothing never forgets.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems, 1978, section VI.
    """
    if period < 1 or len(closes) <= period or not _finite(closes):
        return None
    changes = [after - before for before, after in pairwise(closes)]
    try:
        gains = math.fsum(c for c in changes[:period] if c > 0.0)
        losses = -math.fsum(c for c in changes[:period] if c < 0.0)
    except OverflowError:
        return None
    kept = (period - 1) / period
    for change in changes[period:]:
        gains *= kept
        losses *= kept
        if change > 0.0:
            gains += change
        else:
            losses -= change
    found = _quotient(100.0 * gains, gains + losses)
    return None if found is None else min(found, 100.0)  # rounding may lift only gains a little above


def sma(values: Sequence[float], n: int) -> float | None:
    """Simple mean of the last `n` values, in their unit."""
    if n < 1 or len(values) < n:
        return None
    return _mean(values[-n:])


def log_returns(closes: Sequence[float], n: int) -> list[float]:
    """The last `n` log returns, `ln(close / close before)`; 0.01 is about one percent.

    Fewer where there are fewer closes; none at all when a close among them is no positive number.
    """
    tail = closes[-n - 1 :]
    if n < 1 or len(tail) < 2 or not _finite(tail) or min(tail) <= 0.0:
        return []
    try:
        returns = [math.log(after / before) for before, after in pairwise(tail)]
    except ValueError:  # a quotient of zero: no market moves by 300 orders of magnitude in a bar
        return []
    return returns if _finite(returns) else []


def stdev(values: Sequence[float], n: int) -> float | None:
    """Sample standard deviation (divisor n - 1) of the last `n` values; of log returns, 0.002 is 0.2 % a bar."""
    tail = values[-n:]
    mean = sma(tail, n) if n > 1 else None
    if mean is None:
        return None
    deviation = math.dist(tail, [mean] * n) / math.sqrt(n - 1)
    if not math.isfinite(deviation):
        return None
    return deviation if deviation > NOISE else 0.0


def trend(closes: Sequence[float], volatility: float | None, fast: int = 20, slow: int = 100) -> float | None:
    """How far the fast mean of closes stands above the slow one, in `volatility x sqrt(fast)`.

    Positive while rising. None when the volatility is zero.
    """
    above, below = sma(closes, fast), sma(closes, slow)
    if above is None or below is None or not volatility:
        return None
    gap = _quotient(above, below)
    return None if gap is None else _quotient(gap - 1.0, volatility * math.sqrt(fast))


def drawdown(closes: Sequence[float]) -> float | None:
    """The last close against the highest: 0 at the top, -0.1 ten percent below it."""
    if not closes or not _finite(closes) or min(closes) <= 0.0:
        return None
    return closes[-1] / max(closes) - 1.0


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """A quotient of two indicators; None when either is undefined or the denominator is zero."""
    if numerator is None or denominator is None:
        return None
    return _quotient(numerator, denominator)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _mean(values: Sequence[float]) -> float | None:
    if not _finite(values):
        return None
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return None


def _quotient(numerator: float, denominator: float) -> float | None:
    if denominator == 0.0:
        return None
    value = numerator / denominator
    return value if math.isfinite(value) else None
