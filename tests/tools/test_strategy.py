"""The features of a window: the formulas of `Features`, from their words; None where undefined."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import astuple, replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.schemas.market import Candle, Defect, Features, Window
from trader_cli.tools.strategy import UNDEFINED, compute_indicators

BAR_MS = 300_000


def window(closes: list[str], volumes: list[str] | None = None) -> Window:
    volumes = volumes or ["1.5"] * len(closes)
    candles = tuple(
        Candle(i * BAR_MS, Decimal(close), Decimal(close), Decimal(close), Decimal(close), Decimal(volume))
        for i, (close, volume) in enumerate(zip(closes, volumes, strict=True))
    )
    price = candles[-1].close if candles else None
    return Window("simulated:1", BAR_MS, candles, (), price, 0 if candles else None)


def walk(n: int, seed: int = 7) -> Window:
    chance = random.Random(seed)
    price, closes, volumes = 30_000.0, [], []
    for _ in range(n):
        price *= math.exp(chance.gauss(0, 0.002))
        closes.append(f"{price:.2f}")
        volumes.append(f"{chance.expovariate(0.1):.5f}")
    return window(closes, volumes)


def test_every_feature_is_its_formula() -> None:
    seen = walk(200)
    closes = [float(candle.close) for candle in seen.candles]
    volumes = [float(candle.volume) for candle in seen.candles]
    returns = [math.log(after / before) for before, after in pairwise(closes)]
    volatility = statistics.stdev(returns[-48:])
    slope = statistics.mean(closes[-20:]) / statistics.mean(closes[-100:]) - 1
    features = compute_indicators(seen)
    assert features.rsi is not None
    assert 0 <= features.rsi <= 100
    assert features.ma20 == pytest.approx(statistics.mean(closes[-20:]), rel=1e-9)
    assert features.volume_avg == pytest.approx(statistics.mean(volumes[-20:]), rel=1e-9)
    assert features.volatility == pytest.approx(volatility, rel=1e-9)
    assert features.trend == pytest.approx(slope / (volatility * math.sqrt(20)), rel=1e-9)
    assert features.drawdown == pytest.approx(closes[-1] / max(closes) - 1, rel=1e-9)
    assert features.volume_ratio == pytest.approx(volumes[-1] / statistics.mean(volumes[-20:]), rel=1e-9)
    calm = statistics.stdev(returns[-96:])
    assert features.volatility_ratio == pytest.approx(statistics.stdev(returns[-12:]) / calm, rel=1e-9)


def test_a_window_with_a_defect_has_no_features() -> None:
    seen = walk(200)
    assert compute_indicators(replace(seen, defects=(Defect("gap", "two bars are missing"),))) == UNDEFINED
    assert astuple(UNDEFINED) == (None,) * 8


def test_a_flat_window_has_no_rsi_no_trend_and_no_volatility_ratio() -> None:
    features = compute_indicators(window(["100"] * 200))
    assert features == Features(
        rsi=None,
        ma20=100.0,
        volume_avg=1.5,
        volatility=0.0,
        trend=None,
        drawdown=0.0,
        volume_ratio=1.0,
        volatility_ratio=None,
    )


def test_no_volume_has_no_ratio() -> None:
    features = compute_indicators(window(["100", "101"] * 60, ["0"] * 120))
    assert features.volume_avg == 0.0
    assert features.volume_ratio is None


@pytest.mark.parametrize(
    ("bars", "defined"),
    [
        (0, set()),
        (1, {"drawdown"}),
        (15, {"drawdown", "rsi"}),
        (20, {"drawdown", "rsi", "ma20", "volume_avg", "volume_ratio"}),
        (49, {"drawdown", "rsi", "ma20", "volume_avg", "volume_ratio", "volatility"}),
        (97, {"drawdown", "rsi", "ma20", "volume_avg", "volume_ratio", "volatility", "volatility_ratio"}),
        (100, set(Features.__dataclass_fields__)),
    ],
)
def test_a_feature_is_defined_from_the_bar_on_that_completes_its_look_back(bars: int, defined: set[str]) -> None:
    def names(features: Features) -> set[str]:
        return {name for name in Features.__dataclass_fields__ if getattr(features, name) is not None}

    assert names(compute_indicators(walk(bars))) == defined
    if bars > 1:
        assert names(compute_indicators(walk(bars - 1))) < defined


@given(st.lists(st.decimals("0.00000001", "99999999", places=8), max_size=130))
@settings(deadline=None, max_examples=60)
def test_features_are_finite_pure_and_of_ten_digits(prices: list[Decimal]) -> None:
    seen = window([format(price, "f") for price in prices])
    features = compute_indicators(seen)
    assert features == compute_indicators(seen)
    for value in astuple(features):
        assert value is None or (math.isfinite(value) and value == float(f"{value:.10g}"))
