"""Ratios of returns: values by hand, a bootstrap written out plainly, and intervals that hold what they say."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.core.returns import RESAMPLES, Chance, mean_and_deviation, sharpe, sortino
from trader_cli.schemas.performance import LEAST_RETURNS, Ratio

pytestmark = pytest.mark.untraced

Figure = Callable[[Sequence[float], float, Chance], Ratio]
FIGURES = pytest.mark.parametrize("figure", [sharpe, sortino])
BAND = (0.80, 0.97)
"""Around 0.90 for SEEDS; half the width would hold 0.59 of them, double 0.999."""
SEEDS = 120

percents = st.lists(st.integers(-500, 500), min_size=LEAST_RETURNS, max_size=60).filter(
    lambda some: min(some) < 0 and len(set(some)) > 1
)


def fractions(percents: Sequence[int]) -> list[float]:
    """Returns of basis points."""
    return [one / 10_000 for one in percents]


def series(seed: int, n: int, mean: float = 0.0, deviation: float = 0.01) -> list[float]:
    """Returns that are Normal and independent."""
    chance = random.Random(seed)
    return [chance.gauss(mean, deviation) for _ in range(n)]


def ends(ratio: Ratio) -> tuple[float, float]:
    """The interval of a ratio that has one."""
    assert ratio.low is not None
    assert ratio.high is not None
    return ratio.low, ratio.high


def plain_sharpe(returns: Sequence[float]) -> float:
    mean = sum(returns) / len(returns)
    return mean / math.sqrt(sum((one - mean) ** 2 for one in returns) / (len(returns) - 1))


def plain_sortino(returns: Sequence[float]) -> float:
    down = math.sqrt(sum(one * one for one in returns if one < 0) / len(returns))
    return sum(returns) / len(returns) / down if down else math.inf


def plain_interval(figure: Callable[[Sequence[float]], float], returns: Sequence[float], seed: int) -> list[float]:
    """The stationary bootstrap one return at a time, with the same draws: its 50th from below, and from above."""
    chance, n = random.Random(seed), len(returns)
    found = []
    for _ in range(RESAMPLES):
        sample: list[float] = []
        while len(sample) < n:
            start, length = int(chance.random() * n), 1
            u = 1.0 - chance.random()
            while u <= (1 - n ** (-1 / 3)) ** length:
                length += 1
            sample += [returns[(start + step) % n] for step in range(length)][: n - len(sample)]
        found.append(figure(sample))
    return [sorted(found)[49], sorted(found)[950]]


def test_a_sharpe_ratio_is_the_mean_by_the_samples_deviation_and_the_root_of_a_year() -> None:
    """16 gains of 3 % and 16 losses of 1 %: mean 1 %, squares 32 of 2 % over 31."""
    found = sharpe([0.03, -0.01] * 16, 365, random.Random(1))
    assert found.n == 32
    assert found.value == pytest.approx(0.01 / (0.02 * math.sqrt(32 / 31)) * math.sqrt(365), rel=1e-12)


def test_a_sortino_ratio_divides_by_the_losses_over_all_returns() -> None:
    """Half the returns lose 1 %: the root mean square over all of them is 1 % by the root of 2."""
    found = sortino([0.03, -0.01] * 16, 365, random.Random(1))
    assert found.n == 32
    assert found.value == pytest.approx(math.sqrt(2) * math.sqrt(365), rel=1e-12)


@FIGURES
def test_too_few_returns_have_no_ratio(figure: Figure) -> None:
    returns = series(3, LEAST_RETURNS)
    assert figure(returns[1:], 365, random.Random(1)) == Ratio(LEAST_RETURNS - 1)
    assert figure([], 365, random.Random(1)) == Ratio(0)
    assert figure(returns, 365, random.Random(1)).value is not None


@pytest.mark.parametrize("quiet", [0.0, 0.1, -0.1, 1e-9, 7.3, 800.0])
def test_returns_that_vary_by_noise_alone_have_no_sharpe_ratio(quiet: float) -> None:
    assert sharpe([quiet] * 40, 365, random.Random(1)) == Ratio(40)
    noisy = [quiet, math.nextafter(quiet, 999.0), quiet - 1e-16, quiet + 1e-16] * 10
    assert sharpe(noisy, 365, random.Random(1)) == Ratio(40)


def test_small_returns_are_no_noise() -> None:
    assert sharpe([3e-9, -1e-9] * 20, 365, random.Random(1)).value == pytest.approx(
        sharpe([3e-2, -1e-2] * 20, 365, random.Random(1)).value, rel=1e-9
    )


def test_without_a_loss_there_is_no_sortino_ratio() -> None:
    assert sortino([0.01, 0.0, 0.02] * 20, 365, random.Random(1)) == Ratio(60)
    assert sortino([0.0] * 40, 365, random.Random(1)) == Ratio(40)


@FIGURES
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_return_that_is_not_finite_is_refused(figure: Figure, wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        figure([*series(1, 40), wrong], 365, random.Random(1))


@FIGURES
@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_year_without_returns_is_refused(figure: Figure, wrong: float) -> None:
    with pytest.raises(ValueError, match="in a year"):
        figure(series(1, 40), wrong, random.Random(1))


@settings(max_examples=25)
@given(percents)
def test_mean_and_deviation_are_those_of_the_standard_library(some: list[int]) -> None:
    returns = fractions(some)
    mean, deviation = mean_and_deviation(returns)
    assert mean == pytest.approx(fmean(returns), rel=1e-12, abs=1e-15)
    assert deviation == pytest.approx(stdev(returns), rel=1e-12)
    assert mean_and_deviation(returns[:1]) == (returns[0], 0.0)


@pytest.mark.parametrize(("figure", "plain"), [(sharpe, plain_sharpe), (sortino, plain_sortino)])
@pytest.mark.parametrize("n", [30, 31, 64, 125])
def test_the_interval_is_that_of_a_bootstrap_written_out(
    figure: Figure, plain: Callable[[Sequence[float]], float], n: int
) -> None:
    returns = series(n, n, 0.001)
    found = figure(returns, 1, random.Random(n))
    assert found.value == pytest.approx(plain(returns), rel=1e-9)
    assert ends(found) == pytest.approx(plain_interval(plain, returns, n), rel=1e-9)


@FIGURES
@settings(max_examples=10)
@given(some=percents, seed=st.integers(0, 9))
def test_equal_returns_and_equal_chance_give_equal_ratios(figure: Figure, some: list[int], seed: int) -> None:
    returns = fractions(some)
    one, other = (figure(returns, 365, random.Random(seed)) for _ in range(2))
    assert one == other


def test_other_chance_gives_the_same_value_and_another_interval() -> None:
    one, other = (sharpe(series(1, 50), 365, random.Random(seed)) for seed in (1, 2))
    assert one.value == other.value
    assert ends(one) != ends(other)


@FIGURES
@settings(max_examples=10)
@given(some=percents, factor=st.floats(0.01, 10.0))
def test_stakes_do_not_change_a_ratio_nor_its_interval(figure: Figure, some: list[int], factor: float) -> None:
    returns = fractions(some)
    one = figure(returns, 365, random.Random(3))
    other = figure([factor * each for each in returns], 365, random.Random(3))
    assert other.value == pytest.approx(one.value, rel=1e-6, abs=1e-9)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), rel=1e-6, abs=1e-6)


@FIGURES
def test_a_year_of_four_times_the_returns_doubles_all_figures(figure: Figure) -> None:
    one, four = (figure(series(5, 80, 0.001), per_year, random.Random(3)) for per_year in (365, 4 * 365))
    assert one.value is not None
    assert four.value == pytest.approx(2 * one.value)
    assert ends(four) == pytest.approx([2 * end for end in ends(one)])


@settings(max_examples=10)
@given(percents)
def test_losing_what_was_gained_turns_a_sharpe_ratio_around(some: list[int]) -> None:
    returns = fractions(some)
    one = sharpe(returns, 365, random.Random(3))
    other = sharpe([-each for each in returns], 365, random.Random(3))
    assert one.value is not None
    assert other.value == pytest.approx(-one.value, rel=1e-9, abs=1e-9)
    if one.low is not None and one.high is not None:
        assert ends(other) == pytest.approx((-one.high, -one.low), rel=1e-6, abs=1e-6)


def test_a_high_mean_costs_the_interval_no_digits() -> None:
    """Returns of one half and a billionth more or less: squares of the returns themselves would have cancelled."""
    chance = random.Random(1)
    returns = [0.5 + chance.choice((-1, 1)) * 2.0**-30 for _ in range(200)]
    found = sharpe(returns, 1, random.Random(2))
    low, high = ends(found)
    assert found.value is not None
    assert found.value == pytest.approx(2.0**29, rel=0.02)
    assert 0.9 * found.value < low < high < 1.1 * found.value


def test_resamples_without_a_loss_take_the_interval_away_when_they_are_many() -> None:
    """One loss in forty is left out of about a third of all resamples; ten hardly ever."""
    rare = sortino([-0.01, *[0.01] * 39], 365, random.Random(1))
    assert rare.value == pytest.approx(0.0095 / (0.01 / math.sqrt(40)) * math.sqrt(365))
    assert (rare.low, rare.high) == (None, None)
    low, high = ends(sortino([-0.01, 0.01, 0.01, 0.01] * 10, 365, random.Random(1)))
    assert 0 < low < high < math.inf


def test_resamples_in_which_nothing_happened_count_as_zero() -> None:
    """One day of trading in forty: many resamples hold only the days without."""
    idle = [0.0] * 39
    low, high = ends(sharpe([*idle, 0.01], 1, random.Random(1)))
    assert low == 0.0 < high
    low, high = ends(sortino([-0.01, *idle], 1, random.Random(1)))
    assert low < 0.0 == high


@pytest.mark.parametrize("alike", [0.01, -0.01])
def test_resamples_that_only_gain_or_lose_alike_are_infinitely_good_or_bad(alike: float) -> None:
    found = sharpe([*[alike] * 39, 2 * alike], 365, random.Random(1))
    assert found.value == pytest.approx(41 / 40 / math.sqrt((1 - 1 / 40) / 39) * math.copysign(math.sqrt(365), alike))
    assert (found.low, found.high) == (None, None)


@FIGURES
def test_more_returns_make_the_interval_narrower(figure: Figure) -> None:
    """By the root of how many: 16 times the returns, a quarter of the width."""
    widths = []
    for n in (100, 1_600):
        low, high = ends(figure(series(8, n, 0.001), 365, random.Random(1)))
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4.0, rel=0.25)


def test_returns_that_follow_each_other_are_less_sure_than_the_same_shuffled() -> None:
    """What a bootstrap of single returns would not see."""
    chance = random.Random(4)
    returns, last = [], 0.0
    for _ in range(1_000):
        last = 0.7 * last + chance.gauss(0.0, 0.01)
        returns.append(last)
    low, high = ends(sharpe(returns, 365, random.Random(1)))
    chance.shuffle(returns)
    less, more = ends(sharpe(returns, 365, random.Random(1)))
    assert high - low > 1.5 * (more - less)


@cache
def estimates(figure: Figure, mean: float) -> list[Ratio]:
    """Of SEEDS series of 120 Normal returns with that mean and a deviation of 1 %, per period."""
    return [figure(series(seed, 120, mean), 1, random.Random(-seed)) for seed in range(SEEDS)]


def held(some: Sequence[Ratio], truth: float, width: float = 1.0) -> float:
    """The share of intervals with the truth in them, each `width` times as wide around its value."""
    count = 0
    for one in some:
        low, high = ends(one)
        assert one.value is not None
        count += one.value + width * (low - one.value) <= truth <= one.value + width * (high - one.value)
    return count / len(some)


@pytest.mark.parametrize("mean", [0.0, 0.002])
def test_nine_intervals_of_ten_hold_the_true_sharpe_ratio(mean: float) -> None:
    assert BAND[0] < held(estimates(sharpe, mean), mean / 0.01) < BAND[1]


def test_nine_intervals_of_ten_hold_the_true_sortino_ratio() -> None:
    """With a mean of 0 the ratio is 0, whatever the losses."""
    assert BAND[0] < held(estimates(sortino, 0.0), 0.0) < BAND[1]


@FIGURES
@pytest.mark.parametrize("width", [0.5, 2.0])
def test_an_interval_of_half_or_double_the_width_would_be_found_out(figure: Figure, width: float) -> None:
    assert not BAND[0] < held(estimates(figure, 0.0), 0.0, width) < BAND[1]
