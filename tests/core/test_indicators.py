"""Indicators against published values, an exact re-computation, and everything that is undefined."""

from __future__ import annotations

import csv
import json
import math
import statistics
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.core.indicators import NOISE, drawdown, log_returns, ratio, rsi, sma, stdev, trend

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/reference"
published = pytest.mark.skipif(not REFERENCE.exists(), reason="the published reference values are not here")

prices = st.floats(min_value=1e-6, max_value=1e6)
anything = st.floats(allow_nan=True, allow_infinity=True)


def skender() -> list[dict[str, str]]:
    with (REFERENCE / "skender_rsi14_sma20_expected.csv").open() as rows:
        return list(csv.DictReader(rows))


@published
def test_rsi_equals_the_published_values_of_skender_at_every_bar() -> None:
    rows = skender()
    closes = [float(row["close"]) for row in rows]
    for i, row in enumerate(rows):
        value = rsi(closes[: i + 1])
        if row["rsi14_json"] == "":
            assert value is None
        else:
            assert value == pytest.approx(float(row["rsi14_json"]), abs=1e-9)


@published
def test_sma_equals_the_published_values_of_skender_at_every_bar() -> None:
    rows = skender()
    closes = [float(row["close"]) for row in rows]
    for i, row in enumerate(rows):
        value = sma(closes[: i + 1], 20)
        if row["sma20_json"] == "":
            assert value is None
        else:
            assert value == pytest.approx(float(row["sma20_json"]), abs=1e-9)


@published
def test_rsi_equals_the_published_values_of_talib() -> None:
    text = (REFERENCE / "talib/close252.txt").read_text()
    closes = [float(number) for number in text.replace(",", " ").split()]
    expected = json.loads((REFERENCE / "talib/expected_rsi14.json").read_text())
    assert len(closes) == 252
    assert rsi(closes[: expected["first_valid_index"]]) is None
    for index, value in expected["expected_by_bar_index"].items():
        assert rsi(closes[: int(index) + 1]) == pytest.approx(value, abs=expected["tolerance"])


def exact_rsi(closes: list[float], period: int) -> Fraction | None:
    """Wilder's definition, word for word, without rounding."""
    changes = [Fraction(after) - Fraction(before) for before, after in pairwise(closes)]
    gain = sum((max(c, Fraction(0)) for c in changes[:period]), Fraction(0)) / period
    loss = sum((max(-c, Fraction(0)) for c in changes[:period]), Fraction(0)) / period
    for change in changes[period:]:
        gain = (gain * (period - 1) + max(change, Fraction(0))) / period
        loss = (loss * (period - 1) + max(-change, Fraction(0))) / period
    if gain + loss == 0:
        return None
    return 100 * gain / (gain + loss)


@given(st.lists(prices, min_size=4, max_size=40), st.integers(2, 14))
@settings(deadline=None)
def test_rsi_is_wilders_definition(closes: list[float], period: int) -> None:
    value = rsi(closes, period)
    if len(closes) <= period:
        assert value is None
    else:
        exact = exact_rsi(closes, period)
        assert value == (None if exact is None else pytest.approx(float(exact), abs=1e-9))


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ([float(i) for i in range(1, 40)], 100.0),
        ([float(i) for i in range(40, 1, -1)], 0.0),
        ([7.0] * 40, None),
        ([float(i) for i in range(14)], None),
        ([], None),
    ],
    ids=["only gains", "only losses", "flat", "fourteen closes", "nothing"],
)
def test_rsi_at_its_edges(closes: list[float], expected: float | None) -> None:
    assert rsi(closes) == expected


def test_a_plateau_keeps_the_rsi_it_was_reached_with() -> None:
    before = [100.0 + (i % 3) for i in range(30)]
    assert rsi(before + [before[-1]] * 50) == pytest.approx(rsi(before))


@given(st.lists(anything, max_size=30), st.integers(-1, 16))
@settings(deadline=None)
def test_nothing_is_ever_nan_infinite_or_an_error(values: list[float], n: int) -> None:
    found = [rsi(values, n), sma(values, n), stdev(values, n), drawdown(values)]
    found += [stdev(log_returns(values, n), 2), trend(values, stdev(values, 3), 3, 9)]
    found.append(ratio(sma(values, 1), sma(values, 2)))
    assert all(value is None or math.isfinite(value) for value in found)
    assert all(math.isfinite(value) for value in log_returns(values, n))
    value = rsi(values, n)
    assert value is None or 0.0 <= value <= 100.0


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_an_input_that_is_not_finite_makes_the_result_undefined(poison: float) -> None:
    closes = [*[100.0 + i % 5 for i in range(30)], poison, 101.0]
    assert rsi(closes) is None
    assert sma(closes, 20) is None
    assert stdev(closes, 20) is None
    assert drawdown(closes) is None
    assert log_returns(closes, 20) == []
    assert trend(closes, 0.01, 3, 9) is None


@pytest.mark.parametrize("price", [0.0, -1.0])
def test_a_price_that_is_not_positive_has_no_returns_and_no_drawdown(price: float) -> None:
    assert log_returns([100.0, price, 101.0], 2) == []
    assert drawdown([100.0, price, 101.0]) is None


def test_returns_are_the_last_ones_and_fewer_where_there_are_fewer_closes() -> None:
    closes = [1.0, 2.0, 4.0, 4.0]
    assert log_returns(closes, 2) == pytest.approx([math.log(2), 0.0])
    assert log_returns(closes, 9) == pytest.approx([math.log(2), math.log(2), 0.0])
    assert log_returns([1.0], 9) == []


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60))
@settings(deadline=None)
def test_deviation_is_that_of_a_sample(values: list[float]) -> None:
    expected = statistics.stdev(values)
    assert stdev(values, len(values)) == pytest.approx(expected, rel=1e-9, abs=NOISE)


def test_deviation_looks_only_at_the_last_values() -> None:
    assert stdev([99.0, 1.0, 2.0, 3.0], 3) == pytest.approx(1.0)
    assert stdev([1.0, 2.0], 3) is None
    assert stdev([1.0], 1) is None


def test_rounding_noise_is_no_movement() -> None:
    closes = [100.0 * 1.001**i for i in range(60)]
    assert stdev(log_returns(closes, 48), 48) == 0.0
    assert trend(closes, 0.0, 5, 20) is None


def test_trend_is_positive_while_rising_and_measured_in_volatility() -> None:
    closes = [100.0] * 80 + [110.0] * 20
    gap = 110.0 / 102.0 - 1.0
    assert trend(closes, 0.01) == pytest.approx(gap / (0.01 * math.sqrt(20)))
    assert trend(closes, 0.02) == pytest.approx(gap / (0.02 * math.sqrt(20)))
    assert trend(closes[:99], 0.01) is None
    assert trend(closes, None) is None


def test_drawdown_is_zero_at_the_top_and_negative_below_it() -> None:
    assert drawdown([90.0, 100.0]) == 0.0
    assert drawdown([90.0, 100.0, 80.0]) == pytest.approx(-0.2)
    assert drawdown([]) is None


def test_a_quotient_with_nothing_below_or_something_undefined_is_undefined() -> None:
    assert ratio(1.0, 4.0) == 0.25
    assert ratio(1.0, 0.0) is None
    assert ratio(None, 1.0) is None
    assert ratio(1.0, None) is None
