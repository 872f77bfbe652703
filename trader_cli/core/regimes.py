"""Regimes: what kind of market the features show, and what the rules model expects of each policy in it.

The thresholds split recorded BTC/USDT 5m candles (2020-12 to 2021-07) into about 70 % range-bound,
15 % rising, 10 % falling and 5 % turbulent bars.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

from trader_cli.core.policies import within_bounds
from trader_cli.schemas.market import Costs, Features

TREND = 1.0
"""|trend| from here on is a trend: one standard deviation (1.03) of what a random walk shows."""
TURBULENT = 1.6
"""volatility_ratio from here on is turbulence: the wildest twentieth of recorded bars."""
FAR_BELOW = 8.0
"""A drawdown of this many volatilities is a fall, though the means may not show it yet."""


class Regime(StrEnum):
    """UNDEFINED: too little is known to trade on."""

    UNDEFINED = "undefined"
    RANGE = "range-bound"
    RISING = "trend-up"
    FALLING = "trend-down"
    TURBULENT = "turbulent"


def regime(features: Features) -> Regime:
    """The regime of one observation; turbulence before trend, because a trend means little in it."""
    if None in (features.rsi, features.trend, features.volatility_ratio) or not features.volatility:
        return Regime.UNDEFINED
    if (features.volatility_ratio or 0.0) >= TURBULENT:
        return Regime.TURBULENT
    slope = features.trend or 0.0
    if abs(slope) < TREND:
        return Regime.RANGE
    return Regime.RISING if slope > 0 else Regime.FALLING


def falling(features: Features) -> bool:
    """Whether prices go down: a negative trend, or far below the top of the window."""
    deep = FAR_BELOW * (features.volatility or 0.0)
    return (features.trend or 0.0) < 0 or (features.drawdown or 0.0) < -deep


FIT_BP: dict[Regime, dict[str, float]] = {
    Regime.UNDEFINED: {"rsi_reversion": 0.0, "ma_trend": 0.0, "breakout": 0.0},
    Regime.RANGE: {"rsi_reversion": 6.0, "ma_trend": -2.0, "breakout": -6.0},
    Regime.RISING: {"rsi_reversion": 2.0, "ma_trend": 8.0, "breakout": 4.0},
    Regime.FALLING: {"rsi_reversion": -4.0, "ma_trend": -8.0, "breakout": -4.0},
    Regime.TURBULENT: {"rsi_reversion": -12.0, "ma_trend": 2.0, "breakout": 4.0},
}
"""The prior mean of what a round trip earns in each regime, in basis points.

Priors by judgement, not measured edges: means revert in a range, trends and breakouts need
movement, and nothing is bought gladly on the way down. They rank policies until outcomes do.
Cash is the bar: always 0.
"""

TUNING: dict[Regime, dict[str, dict[str, int]]] = {
    Regime.RISING: {"rsi_reversion": {"low": 40, "high": 70}},
    Regime.FALLING: {"rsi_reversion": {"low": 25, "high": 50}, "ma_trend": {"fast": 12, "slow": 50}},
    Regime.TURBULENT: {
        "rsi_reversion": {"low": 20, "high": 65},
        "ma_trend": {"fast": 12, "slow": 50},
        "breakout": {"entry": 48, "exit": 24},
    },
}
"""Where parameters differ from the catalogue's defaults: slower and wider when prices are wild.

RSI lives between 40 and 80 in rising markets and between 20 and 60 in falling ones (Andrew Cardwell's
ranges, in John Hayden, The 21 Irrefutable Truths of Trading, p. 139), so its band moves along.
"""


def tuned(policy_id: str, here: Regime) -> dict[str, int | float]:
    """The parameters the rules model gives a policy in a regime."""
    return within_bounds(policy_id, TUNING.get(here, {}).get(policy_id, {}))


EXPLORE_MOST, EXPLORE_LEAST, EXPLORE_HALF = 0.30, 0.05, 20
"""Exploration without outcomes, in the limit, and the number of outcomes half way between."""


def explore_ratio(outcomes: int) -> float:
    """The share of plans that try what might be better instead of what looks best: 0.3 falling to 0.05."""
    spread = EXPLORE_MOST - EXPLORE_LEAST
    return round(EXPLORE_LEAST + spread * EXPLORE_HALF / (EXPLORE_HALF + max(outcomes, 0)), 4)


def ranking(expected_bp: Mapping[str, float]) -> tuple[str, ...]:
    """The policies expected to beat cash, best first, by what each is believed to earn per round trip."""
    best = sorted(expected_bp, key=lambda policy_id: -expected_bp[policy_id])
    return tuple(policy_id for policy_id in best if expected_bp[policy_id] > 0.0)


HORIZON_BARS = 36
"""How long a position is expected to be held: its move is about volatility x sqrt(this)."""


def expected_bp(strength: float, volatility: float | None) -> float | None:
    """The move that a signal of that strength (0..1) expects over the horizon, in basis points."""
    return None if volatility is None else round(strength * volatility * math.sqrt(HORIZON_BARS) * 10_000, 1)


def round_trip_bp(costs: Costs) -> float:
    """What a purchase and its sale cost together, in basis points: the fee and the slippage twice, the spread once."""
    return float(round(2 * costs.fee_pct * 100 + costs.spread_bps + 2 * costs.slippage_bps, 2))
