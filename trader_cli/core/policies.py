"""The policies of the catalogue: what each one does with a window of candles.

Every policy knows how to enter, how to leave, and how to leave a trade that loses. All are pure
functions of the window and of whether we hold, so that a signal can be computed again from the
ledger. Distances are measured in volatility: the standard deviation of the last 48 log returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trader_cli.core.indicators import log_returns, rsi, sma, stdev
from trader_cli.schemas.market import Candle, Window
from trader_cli.schemas.planner import Strategy
from trader_cli.schemas.policy import BY_ID, Param

VOLATILITY_BARS = 48
LOOK_BACK = 101
"""The longest look back of any parameter, and the current bar."""
FLOOR_BARS, FLOOR_SKIP = 48, 3
"""`rsi_reversion` gives up below the lowest low of the 48 bars before the last 3 (4 hours of 5m bars)."""
MA_BAND = 0.25
"""`ma_trend` asks for this distance of its means, in volatility, either way: nearer is whipsaw."""
FULL_RSI, FULL_GAP, FULL_BREAK = 15.0, 3.0, 2.0
"""The distance beyond the threshold at which a signal has strength 1: RSI points; volatilities."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one policy says of one window.

    Attributes:
        action: BUY (only when nothing is held), SELL (only when something is), or NONE.
        strength: how far beyond its threshold, 0 (at it, or NONE) to 1.
        reason: why, with the numbers; ASCII, at most 100 characters.
    """

    policy_id: str
    params: dict[str, int | float]
    action: str
    strength: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Bars:
    """The window, its closes as floats, and its volatility: None where undefined, never zero."""

    candles: Sequence[Candle]
    closes: Sequence[float]
    volatility: float | None


_Said = tuple[str, float, str]
_Policy = Callable[[dict[str, int | float], _Bars, bool], _Said]


def signal(policy_id: str, params: Mapping[str, object], candles: Sequence[Candle], held: bool) -> Signal:
    """What `policy_id` says of `candles` (closed, ascending). Parameters are read as `within_bounds` does.

    Raises ValueError for a policy the catalogue does not have.
    """
    return _signal(policy_id, params, _bars(candles, [float(candle.close) for candle in candles]), held)


def signals(strategies: Sequence[Strategy], window: Window, held: bool) -> tuple[Signal, ...]:
    """What each strategy of a plan says, in the plan's order. Raises ValueError as `signal` does."""
    bars = _bars(window.candles, window.closes)
    return tuple(_signal(strategy.policy_id, strategy.params, bars, held) for strategy in strategies)


def within_bounds(policy_id: str, params: Mapping[str, object]) -> dict[str, int | float]:
    """The policy's parameters and no others: a missing or senseless one at its default, the rest in bounds.

    So a position that was opened under an older catalogue can still be left.
    Raises ValueError for a policy the catalogue does not have.
    """
    if policy_id not in BY_ID:
        raise ValueError(f"needs a policy of the catalogue ({', '.join(BY_ID)}), was {policy_id!r}")
    return {param.name: _bounded(param, params.get(param.name)) for param in BY_ID[policy_id].params}


def _bounded(param: Param, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        value = param.default
    value = min(max(value, param.low), param.high)
    return round(value) if param.integer else float(value)


def _signal(policy_id: str, params: Mapping[str, object], bars: _Bars, held: bool) -> Signal:
    known = within_bounds(policy_id, params)
    action, strength, reason = POLICIES[policy_id](known, bars, held)
    return Signal(policy_id, known, action, round(min(max(strength, 0.0), 1.0), 4), reason[:100])


def _bars(candles: Sequence[Candle], closes: Sequence[float]) -> _Bars:
    volatility = stdev(log_returns(closes, VOLATILITY_BARS), VOLATILITY_BARS)
    return _Bars(candles, closes, volatility or None)


def _none(reason: str) -> _Said:
    return "NONE", 0.0, reason


def _too_few(bars: _Bars, needed: int) -> _Said:
    return _none(f"needs {max(needed, VOLATILITY_BARS + 1)} bars that move, has {len(bars.candles)}")


def _rsi_reversion(params: dict[str, int | float], bars: _Bars, held: bool) -> _Said:
    """Buy weakness above the floor, sell strength; a close below the floor ends the trade."""
    low, high = params["low"], params["high"]
    value = rsi(bars.closes)
    needed = FLOOR_BARS + FLOOR_SKIP
    if value is None or bars.volatility is None or len(bars.candles) < needed:
        return _too_few(bars, needed)
    close, floor = bars.closes[-1], _lowest(bars.candles[-needed:-FLOOR_SKIP])
    beneath = _distance(floor, close, bars)
    broken = f"RSI {value:.1f}, close {close:.8g} below the floor {floor:.8g}"
    if held and beneath > 0:
        return "SELL", beneath / FULL_BREAK, f"gives up: {broken}"
    if held and value > high:
        return "SELL", (value - high) / FULL_RSI, f"RSI {value:.1f} above {high}"
    if not held and value < low:
        weak = (low - value) / FULL_RSI
        return _none(f"falls on: {broken}") if beneath > 0 else ("BUY", weak, f"RSI {value:.1f} below {low}")
    return _none(f"RSI {value:.1f}, waits for {f'above {high}' if held else f'below {low}'}")


def _ma_trend(params: dict[str, int | float], bars: _Bars, held: bool) -> _Said:
    """Hold while the fast mean is above the slow one; the cross below is also the stop."""
    fast, slow = int(params["fast"]), int(params["slow"])
    near, far = sma(bars.closes, fast), sma(bars.closes, slow)
    if near is None or far is None or bars.volatility is None:
        return _too_few(bars, slow)
    gap = _distance(near, far, bars)
    means = f"mean {fast} {near:.8g}, mean {slow} {far:.8g}, gap {gap:+.2f} vol"
    if held and gap < -MA_BAND:
        return "SELL", (-gap - MA_BAND) / FULL_GAP, means
    if not held and gap > MA_BAND:
        return "BUY", (gap - MA_BAND) / FULL_GAP, means
    return _none(f"{means}, waits for {-MA_BAND if held else MA_BAND:+.2f}")


def _breakout(params: dict[str, int | float], bars: _Bars, held: bool) -> _Said:
    """Donchian's channel without the current bar: buy above its top, sell below its bottom, also at a loss.

    Source: Richard Donchian's four-week rule, with bars for days.
    """
    bars_used = int(params["exit" if held else "entry"])
    if bars.volatility is None or len(bars.candles) <= bars_used:
        return _too_few(bars, bars_used + 1)
    close, channel = bars.closes[-1], bars.candles[-bars_used - 1 : -1]
    edge = _lowest(channel) if held else float(max(candle.high for candle in channel))
    beyond = _distance(edge, close, bars) if held else _distance(close, edge, bars)
    where = f"below the {bars_used}-bar low {edge:.8g}" if held else f"above the {bars_used}-bar high {edge:.8g}"
    if beyond <= 0:
        return _none(f"close {close:.8g}, waits for {where}")
    return "SELL" if held else "BUY", beyond / FULL_BREAK, f"close {close:.8g} {where}"


def _cash(params: dict[str, int | float], bars: _Bars, held: bool) -> _Said:
    """Hold nothing."""
    return ("SELL", 1.0, "holds no position") if held else _none("nothing is held")


def _lowest(candles: Sequence[Candle]) -> float:
    return float(min(candle.low for candle in candles))


def _distance(above: float, below: float, bars: _Bars) -> float:
    """`ln(above / below)` in volatilities; zero where it is undefined."""
    if bars.volatility is None or above <= 0.0 or below <= 0.0:
        return 0.0
    return math.log(above / below) / bars.volatility


POLICIES: dict[str, _Policy] = {
    "rsi_reversion": _rsi_reversion,
    "ma_trend": _ma_trend,
    "breakout": _breakout,
    "cash": _cash,
}
