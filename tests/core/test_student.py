"""Student's t: published tables, closed forms, and what any distribution must keep."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.student import cdf, incomplete_beta, quantile

pytestmark = pytest.mark.untraced

TABLE = (
    (0.90, 1, 3.078), (0.95, 1, 6.314), (0.975, 1, 12.706), (0.99, 1, 31.821), (0.995, 1, 63.657),
    (0.90, 2, 1.886), (0.95, 2, 2.920), (0.975, 2, 4.303), (0.99, 2, 6.965), (0.995, 2, 9.925),
    (0.90, 4, 1.533), (0.95, 4, 2.132), (0.975, 4, 2.776), (0.99, 4, 3.747), (0.995, 4, 4.604),
    (0.90, 10, 1.372), (0.95, 10, 1.812), (0.975, 10, 2.228), (0.99, 10, 2.764), (0.995, 10, 3.169),
    (0.90, 30, 1.310), (0.95, 30, 1.697), (0.975, 30, 2.042), (0.99, 30, 2.457), (0.995, 30, 2.750),
    (0.90, 120, 1.289), (0.95, 120, 1.658), (0.975, 120, 1.980), (0.99, 120, 2.358), (0.995, 120, 2.617),
)  # fmt: skip
"""Percentage points of the t distribution, as every textbook prints them (Fisher and Yates, 1938, table III)."""


@pytest.mark.parametrize(("p", "dof", "t"), TABLE)
def test_the_quantiles_are_the_tables_to_the_last_printed_digit(p: float, dof: float, t: float) -> None:
    assert abs(quantile(p, dof) - t) < 0.000501
    assert quantile(1 - p, dof) == pytest.approx(-quantile(p, dof), rel=1e-9)


@given(st.floats(-50, 50))
def test_one_two_and_four_degrees_have_closed_forms(t: float) -> None:
    assert cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
    assert cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)
    s = t / math.sqrt(4 + t * t)
    assert cdf(t, 4) == pytest.approx(0.5 + 0.75 * s * (1 - s * s / 3), abs=1e-12)


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(0.5, 1e6))
def test_it_is_symmetric_rises_and_stays_a_probability(one: float, other: float, dof: float) -> None:
    low, high = sorted((one, other))
    assert 0.0 <= cdf(low, dof) <= cdf(high, dof) + 1e-12 <= 1.0 + 1e-12
    assert cdf(-one, dof) == pytest.approx(1 - cdf(one, dof), abs=1e-12)
    assert cdf(0.0, dof) == 0.5


@given(st.floats(0.001, 0.999), st.floats(1, 1e5))
def test_the_quantile_undoes_the_distribution(p: float, dof: float) -> None:
    assert cdf(quantile(p, dof), dof) == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize("t", [-3.0, -1.0, 0.5, 2.0])
def test_many_degrees_are_normal(t: float) -> None:
    assert cdf(t, 1e6) == pytest.approx(NormalDist().cdf(t), abs=1e-6)


def test_what_is_no_probability_is_refused_and_infinity_is_an_end() -> None:
    for p in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            quantile(p, 5)
    assert (cdf(math.inf, 3), cdf(-math.inf, 3)) == (1.0, 0.0)
    assert (incomplete_beta(2, 3, 0.0), incomplete_beta(2, 3, 1.0)) == (0.0, 1.0)
