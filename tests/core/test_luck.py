"""The best of many: the paper's own example, closed forms, and sweeps of chance that must not pass for skill."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trader_cli.core.luck import deflated, expected_best, moments, probabilistic_sharpe
from trader_cli.core.returns import sharpe
from trader_cli.schemas.performance import LEAST_RETURNS

pytestmark = pytest.mark.untraced

SURE = 0.95
lists = st.lists(st.integers(-500, 500).map(lambda bp: bp / 10_000), min_size=2, max_size=60)


def series(chance: random.Random, n: int, mean: float = 0.0) -> list[float]:
    """Returns that are Normal and independent, with a deviation of 1 %."""
    return [chance.gauss(mean, 0.01) for _ in range(n)]


def per_period(returns: Sequence[float]) -> float:
    return fmean(returns) / stdev(returns)


def sweep(seed: int, runs: int = 64, n: int = 200, edge: float = 0.0) -> tuple[list[float], list[float]]:
    """The best series of many, all of chance but one with an edge, and the ratios of all."""
    chance = random.Random(seed)
    tried = [series(chance, n, edge if run == 0 else 0.0) for run in range(runs)]
    ratios = [per_period(returns) for returns in tried]
    return tried[ratios.index(max(ratios))], ratios


@pytest.mark.parametrize(("trials", "probability"), [(100, 0.9004), (46, 0.9505)])
def test_the_papers_example_comes_out(trials: int, probability: float) -> None:
    """Five years of 250 days, SR 2.5 and V 0.5 a year, skew -3, kurtosis 10 (Bailey, López de Prado, 2014)."""
    benchmark = expected_best(trials, math.sqrt(0.5 / 250))
    if trials == 100:
        assert benchmark == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic_sharpe(2.5 / math.sqrt(250), 1_250, -3.0, 10.0, benchmark)
    assert found == pytest.approx(probability, abs=5e-5)


def test_moments_of_a_few_returns_by_hand() -> None:
    """0, 0, 0 and 4 %: the second to fourth central moments are 3, 6 and 21 over n; the second is 4 over n - 1."""
    mean, deviation, skew, kurtosis = moments([0.0, 0.0, 0.0, 0.04])
    assert (mean, deviation) == pytest.approx((0.01, 0.02))
    assert skew == pytest.approx(6 / 3**1.5)
    assert kurtosis == pytest.approx(21 / 9)


def test_a_normal_series_has_skew_0_and_kurtosis_3() -> None:
    mean, deviation, skew, kurtosis = moments(series(random.Random(1), 40_000, 0.002))
    assert (mean, deviation) == pytest.approx((0.002, 0.01), rel=0.1)
    assert skew == pytest.approx(0.0, abs=4 * math.sqrt(6 / 40_000))
    assert kurtosis == pytest.approx(3.0, abs=4 * math.sqrt(24 / 40_000))


@pytest.mark.parametrize("returns", [[], [0.3], [0.1] * 50])
def test_returns_that_do_not_vary_are_given_a_normals_shape(returns: list[float]) -> None:
    mean, *others = moments(returns)
    assert mean == pytest.approx(returns[0] if returns else 0.0)
    assert others == [0.0, 0.0, 3.0]


@settings(max_examples=60)
@given(lists, st.floats(0.01, 50.0), st.floats(-1.0, 1.0))
def test_stake_and_mean_do_not_change_the_shape(returns: list[float], factor: float, offset: float) -> None:
    assume(len(set(returns)) > 1)
    mean, deviation, *shape = moments(returns)
    scaled_mean, scaled_deviation, *scaled_shape = moments([factor * one + offset for one in returns])
    assert scaled_mean == pytest.approx(factor * mean + offset, abs=1e-9)
    assert scaled_deviation == pytest.approx(factor * deviation, rel=1e-6)
    assert scaled_shape == pytest.approx(shape, rel=1e-6, abs=1e-6)


@settings(max_examples=100)
@given(lists, st.floats(-50.0, 50.0), st.integers(2, 5_000), st.floats(-1.0, 1.0))
def test_a_probability_comes_of_any_returns(returns: list[float], ratio: float, n: int, benchmark: float) -> None:
    """Two values are the limit, where kurtosis is skew^2 + 1 and the variance may be nothing."""
    _, _, skew, kurtosis = moments(returns)
    for shape in ((skew, kurtosis), (skew, skew * skew + 1)):
        found = probabilistic_sharpe(ratio, n, *shape, benchmark)
        assert 0.0 <= found <= 1.0
        assert (found >= 0.5) == (ratio >= benchmark) or found == pytest.approx(0.5)


def test_without_variance_the_ratio_is_what_it_seems() -> None:
    """Skew 1 and kurtosis 2 at a ratio of 2: 1 - 2 + 1 is 0."""
    assert [probabilistic_sharpe(2.0, 50, 1.0, 2.0, benchmark) for benchmark in (1.9, 2.0, 2.1)] == [1.0, 0.5, 0.0]


def test_the_probability_for_normal_returns_is_the_closed_form() -> None:
    """Variance (1 + SR^2 / 2) / (n - 1) (A. Lo, 2002): SR 0.2 after 101 returns is 2 by the root of 1.02."""
    assert probabilistic_sharpe(0.2, 101, 0.0, 3.0) == pytest.approx(NormalDist().cdf(2.0 / math.sqrt(1.02)))
    assert probabilistic_sharpe(0.2, 101, 0.0, 3.0, 0.2) == 0.5


def test_bad_tails_make_a_good_ratio_less_sure_and_more_returns_surer() -> None:
    plain = probabilistic_sharpe(0.1, 250, 0.0, 3.0)
    assert probabilistic_sharpe(0.1, 250, -2.0, 10.0) < probabilistic_sharpe(0.1, 250, 0.0, 10.0) < plain
    assert probabilistic_sharpe(0.1, 500, 0.0, 3.0) > plain
    assert probabilistic_sharpe(0.1, 250, 0.0, 3.0, 0.05) < plain


@pytest.mark.parametrize(("n", "skew", "kurtosis"), [(1, 0.0, 3.0), (0, 0.0, 3.0), (50, 0.0, 0.9), (50, -2.0, 4.9)])
def test_a_shape_that_cannot_be_is_refused(n: int, skew: float, kurtosis: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        probabilistic_sharpe(0.1, n, skew, kurtosis)


@pytest.mark.parametrize("trials", [2, 10, 64, 300])
def test_the_expected_best_is_about_the_mean_of_the_highest_of_many(trials: int) -> None:
    """Against draws: the formula is of an extreme value, 8 % short for two and within 2 % from ten on."""
    chance = random.Random(trials)
    rounds = 60_000 // trials
    drawn = fmean(max(chance.gauss(0.0, 0.3) for _ in range(trials)) for _ in range(rounds))
    assert expected_best(trials, 0.3) == pytest.approx(drawn, rel=0.1 if trials == 2 else 0.04)


def test_the_expected_best_of_one_is_nothing_and_of_more_is_more() -> None:
    assert expected_best(1, 0.3) == 0.0
    rising = [expected_best(trials, 0.3) for trials in (1, 2, 3, 10, 100, 10**6, 10**18)]
    assert rising == sorted(set(rising))
    assert expected_best(50, 0.6) == pytest.approx(2 * expected_best(50, 0.3))
    assert expected_best(50, 0.0) == 0.0


@pytest.mark.parametrize(("trials", "deviation"), [(0, 0.3), (-1, 0.3), (5, -0.1), (5, math.nan)])
def test_no_trials_and_no_deviation_are_refused(trials: int, deviation: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        expected_best(trials, deviation)


def test_one_run_is_held_against_nothing() -> None:
    returns = series(random.Random(2), 100, 0.001)
    found = deflated(returns, [per_period(returns)])
    _, _, skew, kurtosis = moments(returns)
    assert (found.trials, found.benchmark) == (1, 0.0)
    assert found.best == pytest.approx(per_period(returns))
    assert found.probability == pytest.approx(probabilistic_sharpe(per_period(returns), 100, skew, kurtosis))


def test_the_ratio_of_the_best_is_the_one_that_reports_show() -> None:
    returns = series(random.Random(2), 100, 0.001)
    best = deflated(returns, [0.1, 0.2]).best
    assert best is not None
    assert sharpe(returns, 365, random.Random(1)).value == pytest.approx(best * math.sqrt(365))


def test_the_benchmark_comes_of_how_the_ratios_differ_and_of_how_many_were_run() -> None:
    returns = series(random.Random(2), 100, 0.001)
    ratios = [0.1, 0.2, 0.3]
    known, more = deflated(returns, ratios), deflated(returns, ratios, 10)
    assert (known.trials, more.trials) == (3, 10)
    assert known.benchmark == pytest.approx(expected_best(3, 0.1))
    assert more.benchmark == pytest.approx(expected_best(10, 0.1))
    assert known.probability is not None
    assert more.probability is not None
    assert more.probability < known.probability


def test_runs_that_all_came_to_the_same_are_one() -> None:
    returns = series(random.Random(2), 100, 0.001)
    assert deflated(returns, [0.1] * 20).probability == deflated(returns, [0.1]).probability


def test_where_all_other_runs_failed_chance_alone_says_how_they_would_have_differed() -> None:
    returns = series(random.Random(2), 101, 0.001)
    assert deflated(returns, [per_period(returns)], 64).benchmark == pytest.approx(expected_best(64, 0.1))
    assert deflated(returns, [], 64).benchmark == pytest.approx(expected_best(64, 0.1))
    assert deflated(returns[:1], [0.1], 64).benchmark == pytest.approx(expected_best(64, 1.0))


def test_a_best_run_of_too_few_returns_or_none_that_vary_says_nothing() -> None:
    chance = random.Random(3)
    returns = series(chance, LEAST_RETURNS)
    for short in (returns[1:], [], [0.01] * 200):
        found = deflated(short, [0.1, 0.2])
        assert (found.best, found.probability) == (None, None)
        assert found.benchmark == pytest.approx(expected_best(2, stdev([0.1, 0.2])))
    assert deflated(returns, [0.1, 0.2]).probability is not None


@pytest.mark.parametrize(("ratios", "trials"), [([], None), ([], 0), ([0.1, 0.2], 1), ([0.1, math.nan], None)])
def test_trials_that_do_not_add_up_are_refused(ratios: list[float], trials: int | None) -> None:
    with pytest.raises(ValueError, match="needs"):
        deflated([0.01, -0.01] * 50, ratios, trials)


@pytest.mark.untraced
def test_the_best_of_64_series_of_chance_is_seldom_taken_for_skill() -> None:
    """As one run alone, the best of each of these sweeps would have passed."""
    alone = luck = 0
    for seed in range(40):
        best, ratios = sweep(seed)
        alone += (deflated(best, [per_period(best)]).probability or 0.0) > SURE
        luck += (deflated(best, ratios).probability or 0.0) > SURE
    assert alone > 36
    assert luck < 4


@pytest.mark.untraced
def test_a_real_edge_among_64_series_is_mostly_seen() -> None:
    """A ratio of 0.4 per period over 200 returns is nearly six deviations of chance."""
    seen = 0
    for seed in range(40):
        best, ratios = sweep(seed, edge=0.004)
        seen += (deflated(best, ratios).probability or 0.0) > SURE
    assert seen > 30
