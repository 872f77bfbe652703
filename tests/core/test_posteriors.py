"""Posteriors: the conjugate update held against its textbook form, decay, pooling, and draws."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.posteriors import (
    PRIOR,
    Prior,
    added,
    decayed,
    dof_of,
    draw,
    interval,
    p_positive,
    pooled,
    posterior,
)
from trader_cli.core.student import cdf
from trader_cli.schemas.memory import Evidence

pytestmark = pytest.mark.untraced

HOUR = 3_600_000
values = st.lists(st.integers(-500, 500), min_size=1, max_size=30)
weighted = st.lists(st.tuples(st.integers(-500, 500), st.integers(2, 100)), min_size=1, max_size=20)


def evidence(outcomes: list[int] | list[float], at: int = 0) -> Evidence:
    """Outcomes of weight 1 without decay."""
    seen: Evidence | None = None
    for value in outcomes:
        seen = added(seen, value, 1.0, at, None)
    assert seen is not None
    return seen


@given(values, st.integers(-20, 20))
def test_the_update_is_the_conjugate_one(outcomes: list[int], prior_mean: int) -> None:
    """mu_n, kappa_n, alpha_n and beta_n of Murphy (2007), equations 85 to 89, in exact fractions."""
    n, kappa, alpha, beta = len(outcomes), Fraction(9), Fraction(2), Fraction(3600)
    mean = Fraction(sum(outcomes), n)
    squares = sum((value - mean) ** 2 for value in outcomes)
    kappa_n, alpha_n = kappa + n, alpha + Fraction(n, 2)
    mu_n = (kappa * prior_mean + n * mean) / kappa_n
    beta_n = beta + squares / 2 + kappa * n * (mean - prior_mean) ** 2 / (2 * kappa_n)
    found = posterior("x", evidence(outcomes), prior_mean)
    assert found.mean_bp == pytest.approx(float(mu_n), abs=1e-9)
    assert found.scale_bp == pytest.approx(math.sqrt(beta_n / (alpha_n * kappa_n)), rel=1e-9)
    assert found.dof == float(2 * alpha_n) == dof_of(n)
    assert found.n == n


def test_a_prior_is_a_prior() -> None:
    nothing = posterior("x", None, 6.0)
    assert (nothing.n, nothing.mean_bp, nothing.dof) == (0.0, 6.0, 4.0)
    assert nothing.sd_bp == pytest.approx(20.0)
    assert p_positive(posterior("x", None)) == 0.5
    low, high = interval(nothing)
    assert (low + high) / 2 == pytest.approx(6.0)
    assert high - 6.0 == pytest.approx(2.131847 * math.sqrt(200), rel=1e-6)


@given(weighted, st.randoms(use_true_random=False))
def test_without_decay_the_order_does_not_matter(outcomes: list[tuple[int, int]], chance: random.Random) -> None:
    def total(some: list[tuple[int, int]]) -> Evidence:
        seen: Evidence | None = None
        for value, percent in some:
            seen = added(seen, value, percent / 100, 0, None)
        assert seen is not None
        return seen

    shuffled = list(outcomes)
    chance.shuffle(shuffled)
    one, other = total(outcomes), total(shuffled)
    weights = [percent / 100 for _, percent in outcomes]
    mean = sum(w * value for (value, _), w in zip(outcomes, weights, strict=True)) / sum(weights)
    squares = sum(w * (value - mean) ** 2 for (value, _), w in zip(outcomes, weights, strict=True))
    for seen in (one, other):
        assert seen.n == pytest.approx(sum(weights))
        assert seen.mean_bp == pytest.approx(mean, abs=1e-6)
        assert seen.squares == pytest.approx(squares, rel=1e-6, abs=1e-4)


def test_dust_weighs_nothing_before_and_after_outcomes() -> None:
    seen = evidence([10, 20])
    assert added(seen, 9_000, 0.0, 0, None) == seen
    first = added(None, 9_000, 0.0, 0, None)
    assert (first.n, first.squares) == (0.0, 0.0)
    assert added(first, 10, 1.0, 0, None) == evidence([10])


@given(values, values)
def test_two_sums_together_are_all_outcomes_added(some: list[int], others: list[int]) -> None:
    together, all_of_them = pooled(evidence(some), evidence(others)), evidence([*some, *others])
    assert together.n == all_of_them.n
    assert together.mean_bp == pytest.approx(all_of_them.mean_bp, abs=1e-6)
    assert together.squares == pytest.approx(all_of_them.squares, rel=1e-6, abs=1e-3)
    assert pooled(evidence(some), evidence(others), 0.0).mean_bp == pytest.approx(evidence(some).mean_bp)


def test_an_outcome_counts_half_after_a_half_life_and_its_value_stays() -> None:
    seen = evidence([10, 30])
    later = decayed(seen, HOUR, HOUR)
    assert (later.n, later.mean_bp, later.squares, later.at) == (1.0, 20.0, 100.0, HOUR)
    assert decayed(later, 2 * HOUR, HOUR) == decayed(seen, 2 * HOUR, HOUR)
    assert decayed(seen, HOUR, None) == seen
    assert decayed(later, 0, HOUR) == later, "nothing is younger than it is"
    more = added(seen, 50, 1.0, HOUR, HOUR)
    assert (more.n, more.mean_bp) == (2.0, 35.0)


def test_forgotten_evidence_is_the_prior_again() -> None:
    faded = posterior("x", decayed(evidence([100] * 50), 200 * HOUR, HOUR), 6.0)
    assert faded.mean_bp == pytest.approx(6.0, abs=1e-9)
    assert faded.sd_bp == pytest.approx(20.0, rel=1e-9)


def test_more_outcomes_make_the_interval_narrower_and_the_edge_surer() -> None:
    widths, chances = [], []
    for n in (1, 5, 25, 125):
        belief = posterior("x", evidence([0, 40] * n))
        low, high = interval(belief)
        widths.append(high - low)
        chances.append(p_positive(belief))
    assert widths == sorted(widths, reverse=True)
    assert chances == sorted(chances)
    assert chances[-1] > 0.999


@given(values, st.floats(0.5, 0.99))
def test_an_interval_holds_what_it_says(outcomes: list[int], level: float) -> None:
    belief = posterior("x", evidence(outcomes))
    low, high = ((end - belief.mean_bp) / belief.scale_bp for end in interval(belief, level))
    assert cdf(high, belief.dof) - cdf(low, belief.dof) == pytest.approx(level, abs=1e-9)


def test_draws_have_the_beliefs_mean_spread_and_chance() -> None:
    belief = posterior("x", evidence([10, 30, 50, -20, 5, 60]))
    chance = random.Random(5)
    drawn = [draw(belief, chance) for _ in range(40_000)]
    assert fmean(drawn) == pytest.approx(belief.mean_bp, abs=4 * belief.sd_bp / 200)
    assert pstdev(drawn) == pytest.approx(belief.sd_bp, rel=0.04)
    assert sum(one > 0 for one in drawn) / len(drawn) == pytest.approx(p_positive(belief), abs=0.01)
    assert [draw(belief, random.Random(5)) for _ in range(3)] == [drawn[0]] * 3


def coverage(seeds: int, edge: float, spread: float, trades: int) -> float:
    """The share of seeds whose 90 % interval holds the true edge, by the formulas alone."""
    held = 0
    for seed in range(seeds):
        chance = random.Random(seed)
        low, high = interval(posterior("x", evidence([chance.gauss(edge, spread) for _ in range(trades)])))
        held += low <= edge <= high
    return held / seeds


@pytest.mark.parametrize(("edge", "spread", "trades"), [(0.0, 60.0, 40), (10.0, 40.0, 60), (-8.0, 90.0, 120)])
def test_nine_intervals_of_ten_hold_the_true_edge(edge: float, spread: float, trades: int) -> None:
    assert 0.87 < coverage(600, edge, spread, trades) < 0.95


def test_a_prior_that_is_too_sure_would_be_found_out() -> None:
    """The same coverage with a prior of ten times the strength: the test above can fail."""
    strong = Prior(strength=PRIOR.strength * 10, alpha=PRIOR.alpha, beta=PRIOR.beta)
    held = 0
    for seed in range(200):
        chance = random.Random(seed)
        seen = evidence([chance.gauss(25.0, 40.0) for _ in range(60)])
        low, high = interval(posterior("x", seen, prior=strong))
        held += low <= 25.0 <= high
    assert held / 200 < 0.7
