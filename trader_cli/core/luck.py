"""Luck: whether the best of many runs is better than the best of as many runs of chance would be.

The deflated Sharpe ratio (D. Bailey, M. López de Prado, J. of Portfolio Management 40, 2014): the probability that the
true Sharpe ratio is above the one that the luckiest of N skill-less trials is expected to show. Everything is per
period, not a year's. Trials that resemble each other also spread less, and nearly equal ones hardly count: many near
copies of one run leave little more than its own ratio to be doubted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev

from trader_cli.core.returns import mean_and_deviation
from trader_cli.schemas.performance import LEAST_RETURNS

EULER = 0.5772156649015329
"""The Euler-Mascheroni constant: the mean of a standard Gumbel distribution."""
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Luck:
    """What the best of many runs is worth.

    Attributes:
        trials: how many were run, those that failed as well.
        best: its Sharpe ratio per period; None below LEAST_RETURNS, or where its returns do not vary.
        benchmark: the Sharpe ratio per period that the best of so many trials without skill is expected to show.
        probability: that the true ratio of the best is above the benchmark, 0..1; None where `best` is.
    """

    trials: int
    best: float | None
    benchmark: float
    probability: float | None


def moments(returns: Sequence[float]) -> tuple[float, float, float, float]:
    """Mean, standard deviation, skew, and kurtosis (3 for a Normal).

    The deviation is the sample's (n - 1), as in `returns.sharpe`. Skew and kurtosis are plain ratios of the central
    moments over n, mu3 / mu2^(3/2) and mu4 / mu2^2, as the papers define them; only so is kurtosis never below
    skew^2 + 1, and the variance in `probabilistic_sharpe` never negative. Returns that do not vary have deviation 0,
    and are given a Normal's shape. Raises ValueError for a return that is not finite.
    """
    mean, deviation = mean_and_deviation(returns)
    if deviation == 0.0:
        return mean, 0.0, 0.0, 3.0
    n = len(returns)
    scaled = [(one - mean) / deviation for one in returns]
    second, third, fourth = (math.fsum(one**power for one in scaled) / n for power in (2, 3, 4))
    return mean, deviation, third / second**1.5, fourth / second**2


def probabilistic_sharpe(
    per_period_sharpe: float, n: int, skew: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """The probability (0..1) that the true Sharpe ratio is above the benchmark, both per period, after n returns.

    D. Bailey, M. López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15, 2012: the estimate is Normal
    with variance (1 - skew SR + (kurtosis - 1) / 4 SR^2) / (n - 1). Raises ValueError for n < 2, and for a kurtosis
    below skew^2 + 1, which no distribution has.
    """
    if n < 2:
        raise ValueError(f"needs two returns or more, was {n}")
    if kurtosis < (1.0 + skew * skew) * (1.0 - 1e-9):
        raise ValueError(f"needs a kurtosis of at least {1.0 + skew * skew}, was {kurtosis}")
    sharpe, above = per_period_sharpe, per_period_sharpe - benchmark
    variance = (1.0 - skew * sharpe + (kurtosis - 1.0) / 4 * sharpe * sharpe) / (n - 1)
    if variance > 0.0:
        return NORMAL.cdf(above / math.sqrt(variance))
    return 0.5 if above == 0.0 else float(above > 0.0)


def expected_best(trials: int, deviation_of_sharpes: float) -> float:
    """The highest Sharpe ratio to expect of so many trials without skill, whose ratios deviate so much around 0.

    Bailey and López de Prado (2014): ((1 - g) z(1 - 1 / N) + g z(1 - 1 / (N e))) times the deviation, with z the
    Normal's quantile and g Euler's constant. One trial has 0. Raises ValueError without a trial, or for a deviation
    below 0.
    """
    if trials < 1:
        raise ValueError(f"needs a trial, was {trials}")
    if not deviation_of_sharpes >= 0.0:
        raise ValueError(f"needs a deviation of 0 or more, was {deviation_of_sharpes}")
    if trials == 1:
        return 0.0
    often, seldom = 1.0 / trials, 1.0 / (trials * math.e)  # of the lower tail: near 1 a float has no digits left
    return -((1.0 - EULER) * NORMAL.inv_cdf(often) + EULER * NORMAL.inv_cdf(seldom)) * deviation_of_sharpes


def deflated(best_returns: Sequence[float], sharpes_of_all_trials: Sequence[float], trials: int | None = None) -> Luck:
    """The best run held against the luck of all (Bailey and López de Prado, 2014).

    Args:
        best_returns: of the best run, as fractions.
        sharpes_of_all_trials: per period, of each run that has one, the best as well.
        trials: how many were run, where some have no ratio; else as many as there are ratios.

    The deviation of the ratios is the sample's (n - 1). With fewer than two it is the one that chance alone gives a
    ratio of 0, 1 / sqrt(n - 1) for n returns. Raises ValueError without a trial, for fewer trials than ratios, and for
    a ratio or return that is not finite.
    """
    known, n = len(sharpes_of_all_trials), len(best_returns)
    runs = known if trials is None else trials
    if runs < known:
        raise ValueError(f"needs as many trials as ratios, {known}, was {runs}")
    if not all(map(math.isfinite, sharpes_of_all_trials)):
        raise ValueError("needs Sharpe ratios that are finite")
    spread = stdev(sharpes_of_all_trials) if known > 1 else 1.0 / math.sqrt(max(n - 1, 1))
    benchmark = expected_best(runs, spread)
    mean, deviation, skew, kurtosis = moments(best_returns)
    if n < LEAST_RETURNS or deviation == 0.0:
        return Luck(runs, None, benchmark, None)
    best = mean / deviation
    return Luck(runs, best, benchmark, probabilistic_sharpe(best, n, skew, kurtosis, benchmark))
