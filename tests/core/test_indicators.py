"""Indicators against published values, an exact re-computation, and everything that is undefined."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise, takewhile
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trader_cli.core.indicators import NOISE, drawdown, log_returns, ratio, rsi, sma, stdev, trend

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/reference"
published = pytest.mark.skipif(not REFERENCE.exists(), reason="the published reference values are not here")

Indicator = Callable[[Sequence[float], int], float | None]

prices = st.floats(min_value=1e-6, max_value=1e6)
HUGE = 1.7e308  # the sum of two is no double
anything = st.floats(allow_nan=True, allow_infinity=True)


def at_every_bar(indicator: Indicator, closes: Sequence[float], n: int) -> list[float | None]:
    """The indicator of each prefix: what a trader sees who knows no later bar."""
    return [indicator(closes[: end + 1], n) for end in range(len(closes))]


def gap(ours: list[float | None], expected: list[float | None]) -> float:
    """The largest difference; what is undefined must be so in both."""
    assert [value is None for value in ours] == [value is None for value in expected]
    both = zip(ours, expected, strict=True)
    return max((abs(one - other) for one, other in both if one is not None and other is not None), default=0.0)


def sheet(name: str) -> list[dict[str, str]]:
    with (REFERENCE / name).open() as rows:
        return list(csv.DictReader(rows))


def skender_closes() -> list[float]:
    return [float(row["close"]) for row in sheet("skender/quotes_default.csv")]


def skender_column(name: str, column: str) -> list[float | None]:
    rows: list[dict[str, float | None]] = json.loads((REFERENCE / "skender" / name).read_text())
    return [row[column] for row in rows]


def talib_closes() -> list[float]:
    closes = [float(number) for number in (REFERENCE / "talib/close252.txt").read_text().replace(",", " ").split()]
    assert len(closes) == 252
    return closes


def tulip(indicator: str) -> tuple[list[float], list[str]]:
    """Closes and, as printed, the values of a test of Tulip Indicators, such as `rsi 5`."""
    block = (REFERENCE / "tulip/untest.txt").read_text().partition(f"\n{indicator}\n")[2].partition("\n\n")[0]
    closes, values = (line.strip("{}").split(",") for line in block.splitlines())
    return [float(close) for close in closes], values


@published
@pytest.mark.parametrize("origin", ["json", "excel"])
@pytest.mark.parametrize(("indicator", "n", "column", "defined"), [(rsi, 14, "rsi14", 488), (sma, 20, "sma20", 483)])
def test_rsi_and_sma_equal_both_columns_of_skender_at_every_bar(
    indicator: Indicator, n: int, column: str, defined: int, origin: str
) -> None:
    """502 bars, published with all digits of a double, which the order of the additions moves by less than 2e-13."""
    rows = sheet("skender_rsi14_sma20_expected.csv")
    ours = at_every_bar(indicator, [float(row["close"]) for row in rows], n)
    cells = [row[f"{column}_{origin}"] for row in rows]
    assert gap(ours, [float(cell) if cell else None for cell in cells]) <= 1e-12
    assert len([value for value in ours if value is not None]) == defined


@published
@pytest.mark.parametrize(("indicator", "n"), [(rsi, 14), (sma, 20)])
def test_rsi_and_sma_equal_the_sheets_skender_publishes_at_every_bar(indicator: Indicator, n: int) -> None:
    name = indicator.__name__
    expected = skender_column(f"{name}.standard.json", name)
    assert gap(at_every_bar(indicator, skender_closes(), n), expected) <= 1e-12


@published
def test_deviation_of_a_sample_is_that_skender_publishes_of_a_population_at_every_bar() -> None:
    """Its divisor is n = 14 and ours n - 1; the mean beside it is our SMA. Its smma sheet is nothing we compute."""
    closes = skender_closes()
    ours = [None if value is None else value * math.sqrt(13 / 14) for value in at_every_bar(stdev, closes, 14)]
    assert gap(ours, skender_column("stdev.standard.json", "stdDev")) <= 1e-12
    means = skender_column("stdev.standard.json", "mean")
    assert gap(at_every_bar(sma, closes, 14), means) <= 1e-12


@published
def test_rsi_equals_the_published_values_of_talib() -> None:
    expected = json.loads((REFERENCE / "talib/expected_rsi14.json").read_text())
    ours = at_every_bar(rsi, talib_closes(), expected["period"])
    assert [value is None for value in ours] == [bar < expected["first_valid_index"] for bar in range(252)]
    assert 252 - ours.count(None) == expected["valid_values"]
    for bar, value in expected["expected_by_bar_index"].items():
        assert ours[int(bar)] == pytest.approx(value, rel=0, abs=expected["tolerance"])


@published
@pytest.mark.parametrize(("indicator", "warm_up"), [(rsi, 5), (sma, 4)])
def test_rsi_and_sma_equal_the_published_values_of_tulip_to_every_printed_digit(
    indicator: Indicator, warm_up: int
) -> None:
    closes, printed = tulip(f"{indicator.__name__} 5")
    ours = at_every_bar(indicator, closes, 5)
    assert ours[:warm_up] == [None] * warm_up
    assert [f"{value:.3f}" for value in ours[warm_up:]] == printed


@published
def test_deviation_of_a_sample_is_that_tulip_publishes_of_a_population_to_every_printed_digit() -> None:
    closes, printed = tulip("stddev 5")
    ours = at_every_bar(stdev, closes, 5)
    assert [f"{value * math.sqrt(4 / 5):.3f}" for value in ours if value is not None] == printed


@published
def test_rsi_is_not_the_one_that_starts_from_the_first_change_instead_of_a_mean() -> None:
    """Another RSI under the same name: its averages start at zero, and never were the mean of 14 changes."""
    rows = sheet("ewm_variant_rsi_bukosabino_cs-rsi.csv")
    ours = at_every_bar(rsi, [float(row["Close"]) for row in rows], 14)
    assert [value is None for value in ours] == [row["RSI"] == "" for row in rows]
    gaps = [abs(value - float(row["RSI"])) for value, row in zip(ours, rows, strict=True) if value is not None]
    assert min(gaps) > 0.4
    assert gaps[0] == pytest.approx(1.33, abs=0.01)


# TA-Lib itself.

Series = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def walk(start: int, steps: list[int]) -> list[float]:
    return [cents / 100 for cents in accumulate(steps, lambda cents, step: max(1, cents + step), initial=start)]


walks = st.builds(walk, st.integers(1, 10**7), st.lists(st.integers(-500, 500) | st.just(0), max_size=150))
"""Random walks of a price in cents, with plateaus, down to a cent."""


def by_talib(function: Callable[[Series, int], Series], closes: list[float], n: int) -> list[float | None]:
    values: list[float] = function(np.array(closes), n).tolist()
    return [None if math.isnan(value) else value for value in values]


@given(walks, st.integers(2, 30))
@settings(deadline=None)
def test_rsi_is_talibs_at_every_bar_of_a_random_walk_within_1e_9(closes: list[float], n: int) -> None:
    """It answers 0 while no price has moved, where we have no answer: 0 would be read as oversold."""
    expected = by_talib(talib.RSI, closes, n)
    still = len(list(takewhile(lambda close: close == closes[0], closes)))
    assert all(value == 0.0 for value in expected[n:still])
    expected[n:still] = [None] * len(expected[n:still])
    assert gap(at_every_bar(rsi, closes, n), expected) <= 1e-9


@given(walks, st.integers(2, 30))
@settings(deadline=None)
def test_sma_is_talibs_at_every_bar_of_a_random_walk_within_1e_12_of_the_price(closes: list[float], n: int) -> None:
    """Its running sum forgets no rounding; ours adds the window anew."""
    expected = by_talib(talib.SMA, closes, n)
    assert gap(at_every_bar(sma, closes, n), expected) <= 1e-12 * max(closes)


@published
@pytest.mark.parametrize("closes", [skender_closes, talib_closes], ids=["skender", "talib"])
@pytest.mark.parametrize("n", [2, 5, 14, 20, 100])
def test_rsi_and_sma_are_talibs_over_the_published_closes(closes: Callable[[], list[float]], n: int) -> None:
    series = closes()
    assert gap(at_every_bar(rsi, series, n), by_talib(talib.RSI, series, n)) <= 1e-10
    assert gap(at_every_bar(sma, series, n), by_talib(talib.SMA, series, n)) <= 1e-10


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
@example([0.0, HUGE, 0.0, HUGE, 0.0], 4)
@example([HUGE, 0.0, HUGE, 0.0], 3)
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


def test_only_gains_are_never_more_than_a_hundred_however_they_round() -> None:
    assert rsi([12.0, 3564961776436173.0], 1) == 100.0
