"""Student's t distribution: its distribution function and quantiles, to about 1e-12.

By the regularized incomplete beta function, as a continued fraction (DLMF 8.17.22, evaluated by
Lentz's method); scipy would be 90 MB for two numbers on a screen.
"""

from __future__ import annotations

import math

TINY = 1e-300
PRECISION = 1e-15
MOST_TERMS = 400


def cdf(t: float, dof: float) -> float:
    """P(T <= t) for `dof` > 0 degrees of freedom (Abramowitz and Stegun 26.7.1)."""
    if not math.isfinite(t):
        return 1.0 if t > 0 else 0.0
    if t * t < dof:  # near the middle the tail has lost its digits
        return 0.5 + math.copysign(0.5, t) * incomplete_beta(0.5, dof / 2, t * t / (dof + t * t))
    tail = 0.5 * incomplete_beta(dof / 2, 0.5, dof / (dof + t * t))
    return 1.0 - tail if t > 0 else tail


def quantile(p: float, dof: float) -> float:
    """The t with P(T <= t) = p. Raises ValueError unless 0 < p < 1."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"needs a probability between 0 and 1, was {p}")
    if p < 0.5:
        return -quantile(1.0 - p, dof)
    low, high = 0.0, 1.0
    while cdf(high, dof) < p:
        low, high = high, 2.0 * high
    while high - low > 1e-13 * max(high, 1.0):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if cdf(middle, dof) < p else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for a, b > 0 and 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly its mirror does not
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, _far(1.0 - (a + b) * x / (a + 1))
    total, step = d, 0.0
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = _far(1.0 + term * d)
            c = 1.0 + term / c if abs(c) > TINY else 1.0 + term / TINY
            step = c * d
            total *= step
        if abs(step - 1.0) < PRECISION:
            break
    return total


def _far(value: float) -> float:
    """1 / value, kept from dividing by nothing."""
    return 1.0 / (value if abs(value) > TINY else TINY)
