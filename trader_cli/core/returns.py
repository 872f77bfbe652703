"""Sharpe and Sortino ratios of returns over equal times, each with the interval that dependent returns deserve.

Returns are fractions (0.01 is 1 %); the risk-free rate is 0. A year's ratio is a period's times the root of the periods
in a year, which holds for returns that do not depend on each other (A. Lo, Financial Analysts Journal 58, 2002).
Intervals are of the stationary bootstrap (D. Politis, J. Romano, JASA 89, 1994): blocks of chance length keep what
neighbours have in common, and volatility that comes in clusters does not pass for certainty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Protocol

from trader_cli.schemas.performance import LEAST_RETURNS, Ratio

LEVEL = 0.90
"""The share of an interval."""
RESAMPLES = 1_000
NOISE = 1e-14
"""A return comes of dividing two numbers near each other, to about 2e-16: a deviation up to this is none."""
DUST = 1e-6
"""The same for a resample, whose sums are differences of long ones: in deviations of the sample."""


class Chance(Protocol):
    """A source of chance, such as `random.Random`."""

    def random(self) -> float:
        """A number of the uniform distribution, 0 <= it < 1."""


def sharpe(returns: Sequence[float], per_year: float, chance: Chance) -> Ratio:
    """The mean by the sample's standard deviation (n - 1), a year (W. F. Sharpe, J. of Portfolio Management 21, 1994).

    Without a value below LEAST_RETURNS, or where the returns do not vary. A resample that does not vary counts as
    infinite with the sign of its mean, or as 0; where that reaches an end of the interval, there is no interval.
    Raises ValueError for a return that is not finite, or unless `per_year`, the returns in a year, is positive.
    """
    root = _root(per_year)
    n = len(returns)
    mean, deviation = mean_and_deviation(returns)
    if n < LEAST_RETURNS or deviation == 0.0:
        return Ratio(n)
    level = mean / deviation
    scaled = [(one - mean) / deviation for one in returns]  # centred: a high mean costs the squares no digits
    drawn = (
        _quotient(level + total / n, math.sqrt(max(0.0, squares - total * total / n) / (n - 1)))
        for total, squares in _resampled(scaled, [one * one for one in scaled], chance)
    )
    return _estimate(n, level, drawn, root)


def sortino(returns: Sequence[float], per_year: float, chance: Chance) -> Ratio:
    """The mean by the downside deviation, a year (F. Sortino, L. Price, Journal of Investing 3, 1994).

    The downside deviation is the root mean square of min(return, 0) over all n returns. Without a value below
    LEAST_RETURNS, or without a loss. A resample without a loss is no gap: it is better than any with one, so it counts
    as infinite (as 0, if it gained nothing either), and where more than one in twenty are, there is no interval:
    leaving them out would bring its upper end down.
    Raises ValueError for a return that is not finite, or unless `per_year`, the returns in a year, is positive.
    """
    root = _root(per_year)
    n = len(returns)
    mean, _ = mean_and_deviation(returns)
    downside = math.sqrt(math.fsum(min(one, 0.0) ** 2 for one in returns) / n) if n else 0.0
    if n < LEAST_RETURNS or downside <= NOISE:
        return Ratio(n)
    scaled = [one / downside for one in returns]
    drawn = (
        _quotient(total / n, math.sqrt(squares / n))
        for total, squares in _resampled(scaled, [min(one, 0.0) ** 2 for one in scaled], chance)
    )
    return _estimate(n, mean / downside, drawn, root)


def mean_and_deviation(returns: Sequence[float]) -> tuple[float, float]:
    """The mean, and the sample's standard deviation (n - 1), as fractions; 0.0 where it is no more than float noise.

    Both are 0.0 where there is nothing to take them of. Raises ValueError for a return that is not finite.
    """
    if not all(map(math.isfinite, returns)):
        raise ValueError("needs returns that are finite")
    n = len(returns)
    mean = math.fsum(returns) / n if n else 0.0
    if n < 2:
        return mean, 0.0
    deviation = math.sqrt(math.fsum((one - mean) ** 2 for one in returns) / (n - 1))
    return mean, deviation if deviation > NOISE * max(1.0, abs(mean)) else 0.0


def _root(per_year: float) -> float:
    if not (math.isfinite(per_year) and per_year > 0.0):
        raise ValueError(f"needs a positive number of returns in a year, was {per_year}")
    return math.sqrt(per_year)


def _resampled(firsts: Sequence[float], seconds: Sequence[float], chance: Chance) -> Iterator[tuple[float, float]]:
    """Both sums over each of RESAMPLES resamples: blocks from anywhere, around the end, of n^(1/3) on average.

    A block's sum is the difference of two running sums, so that a resample takes a step for each block.
    """
    n = len(firsts)
    runs = [list(accumulate(chain(some, some), initial=0.0)) for some in (firsts, seconds)]
    rate = math.log1p(-(n ** (-1 / 3)))  # lengths are geometric
    draw, log, (first, second) = chance.random, math.log, runs
    for _ in range(RESAMPLES):
        total = other = 0.0
        left = n
        while left:
            start = int(draw() * n)
            length = min(left, 1 + int(log(1.0 - draw()) / rate))
            total += first[start + length] - first[start]
            other += second[start + length] - second[start]
            left -= length
        yield total, other


def _quotient(mean: float, spread: float) -> float:
    """Both in deviations of the sample."""
    if spread > DUST:
        return mean / spread
    return math.copysign(math.inf, mean) if abs(mean) > DUST else 0.0


def _estimate(n: int, value: float, drawn: Iterable[float], root: float) -> Ratio:
    """With the percentile interval of what was drawn (Efron, Tibshirani, An Introduction to the Bootstrap, 1993)."""
    ordered = sorted(drawn)
    tail = int((len(ordered) + 1) * (1.0 - LEVEL) / 2)
    low, high = ordered[tail - 1], ordered[-tail]
    if math.isfinite(low) and math.isfinite(high):
        return Ratio(n, value * root, low * root, high * root)
    return Ratio(n, value * root)
