"""Regimes: the thresholds, the ranking that outcomes can turn, what a signal expects, and exploration that fades."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from trader_cli.core.regimes import (
    FIT_BP,
    Regime,
    expected_bp,
    explore_ratio,
    falling,
    ranking,
    regime,
    round_trip_bp,
    tuned,
)
from trader_cli.schemas.market import Costs, Features
from trader_cli.schemas.policy import BY_ID

CALM = Features(
    rsi=50.0,
    ma20=100.0,
    volume_avg=1.0,
    volatility=0.002,
    trend=0.0,
    drawdown=0.0,
    volume_ratio=1.0,
    volatility_ratio=1.0,
)


@pytest.mark.parametrize(
    ("slope", "wild", "expected"),
    [
        (0.0, 1.0, Regime.RANGE),
        (0.99, 1.59, Regime.RANGE),
        (-0.99, 1.0, Regime.RANGE),
        (1.0, 1.0, Regime.RISING),
        (-1.0, 1.0, Regime.FALLING),
        (3.0, 1.6, Regime.TURBULENT),
        (-3.0, 9.0, Regime.TURBULENT),
    ],
)
def test_the_regime_follows_trend_and_turbulence(slope: float, wild: float, expected: Regime) -> None:
    assert regime(replace(CALM, trend=slope, volatility_ratio=wild)) is expected


@pytest.mark.parametrize("name", ["rsi", "volatility", "trend", "volatility_ratio"])
def test_without_one_of_its_features_there_is_no_regime(name: str) -> None:
    assert regime(Features(**{**{f: getattr(CALM, f) for f in CALM.__slots__}, name: None})) is Regime.UNDEFINED


def test_a_market_that_does_not_move_has_no_regime() -> None:
    assert regime(replace(CALM, volatility=0.0)) is Regime.UNDEFINED


def test_prices_fall_when_the_trend_does_or_far_below_the_top() -> None:
    assert not falling(CALM)
    assert falling(replace(CALM, trend=-0.1))
    assert not falling(replace(CALM, drawdown=-0.015))
    assert falling(replace(CALM, drawdown=-0.017))


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (Regime.RANGE, ("rsi_reversion",)),
        (Regime.RISING, ("ma_trend", "breakout", "rsi_reversion")),
        (Regime.FALLING, ()),
        (Regime.TURBULENT, ("breakout", "ma_trend")),
        (Regime.UNDEFINED, ()),
    ],
)
def test_without_outcomes_the_fit_ranks_and_cash_is_the_bar(here: Regime, expected: tuple[str, ...]) -> None:
    assert ranking(FIT_BP[here]) == expected


def test_outcomes_turn_the_ranking() -> None:
    assert ranking({**FIT_BP[Regime.RISING], "ma_trend": -12.0, "rsi_reversion": 17.0}) == ("rsi_reversion", "breakout")


def test_a_signal_expects_its_strength_in_volatilities_over_the_horizon() -> None:
    assert expected_bp(0.5, 0.002) == 60.0  # half of 0.002 x sqrt(36)
    assert expected_bp(0.0, 0.002) == 0.0
    assert expected_bp(0.5, None) is None


def test_a_round_trip_costs_the_fee_and_the_slippage_twice_and_the_spread_once() -> None:
    assert round_trip_bp(Costs(Decimal("0.1"), Decimal(1), Decimal(2))) == 25.0


def test_exploration_fades_with_outcomes_and_never_ends() -> None:
    assert explore_ratio(0) == 0.3
    assert explore_ratio(20) == 0.175
    assert explore_ratio(10**9) == 0.05
    steps = [explore_ratio(n) for n in range(200)]
    assert steps == sorted(steps, reverse=True)
    assert explore_ratio(-5) == 0.3


def test_every_regime_ranks_every_policy_but_cash_and_tunes_within_bounds() -> None:
    for here in Regime:
        assert set(FIT_BP[here]) == set(BY_ID) - {"cash"}
        for policy_id, spec in BY_ID.items():
            params = tuned(policy_id, here)
            assert list(params) == [param.name for param in spec.params]
            assert all(param.low <= params[param.name] <= param.high for param in spec.params)


def test_the_rsi_band_is_wider_when_prices_are_wild() -> None:
    calm, wild = tuned("rsi_reversion", Regime.RANGE), tuned("rsi_reversion", Regime.TURBULENT)
    assert wild["low"] < calm["low"]
    assert wild["high"] > calm["high"]
