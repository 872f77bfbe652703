"""What is believed of each policy before and after its outcomes: a Normal-Inverse-Gamma posterior with decay.

The net return of a round trip is taken as Normal with unknown mean and variance. The conjugate prior and its update
are those of K. Murphy, Conjugate Bayesian analysis of the Gaussian distribution (2007), section 3; the mean's
own distribution is then a Student's t. An outcome's weight halves every HALF_LIFE_BARS: markets change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from trader_cli.core.moments import Moment
from trader_cli.core.student import cdf, quantile
from trader_cli.schemas.memory import Evidence, Posterior

HALF_LIFE_BARS = 8_640
"""Bars after which an outcome counts half: 30 days of 5-minute bars."""

ELSEWHERE = 0.25
"""What an outcome in another regime counts: a power prior (J. Ibrahim, M.-H. Chen, Statistical Science 15, 2000)."""

LEVEL = 0.90
"""The share of an interval."""


@dataclass(frozen=True, slots=True)
class Prior:
    """A Normal-Inverse-Gamma prior, but for its mean.

    Attributes:
        strength: how many outcomes its mean is worth.
        alpha, beta: of the variance, whose mean is beta / (alpha - 1), in bp squared.
    """

    strength: float
    alpha: float
    beta: float


PRIOR = Prior(strength=9.0, alpha=2.0, beta=3600.0)
"""Round trips that vary by 60 bp, and a mean edge known to 20 bp: as likely a loss as a gain."""


def decayed(evidence: Evidence, at: Moment, half_life_ms: float | None) -> Evidence:
    """The evidence as it counts at a later moment; unchanged without a half-life, or for an earlier one."""
    if half_life_ms is None or at <= evidence.at:
        return evidence
    factor = 0.5 ** ((at - evidence.at) / half_life_ms)
    return Evidence(evidence.n * factor, evidence.mean_bp, evidence.squares * factor, at)


def added(
    evidence: Evidence | None, value_bp: float, weight: float, at: Moment, half_life_ms: float | None
) -> Evidence:
    """The evidence with one more outcome of that weight (0..1), by B. P. Welford's update (Technometrics 4, 1962)."""
    if evidence is None:
        return Evidence(weight, value_bp if weight > 0.0 else 0.0, 0.0, at)
    old = decayed(evidence, at, half_life_ms)
    n = old.n + weight
    off = value_bp - old.mean_bp
    mean = old.mean_bp + (off * weight / n if n > 0.0 else 0.0)
    return Evidence(n, mean, old.squares + weight * off * (value_bp - mean), old.at)


def pooled(one: Evidence, other: Evidence, weight: float = 1.0) -> Evidence:
    """Two sums of the same moment as one, the second counting `weight` (Chan, Golub, LeVeque, 1979)."""
    more = other.n * weight
    n = one.n + more
    off = other.mean_bp - one.mean_bp
    return Evidence(
        n,
        one.mean_bp + (off * more / n if n > 0.0 else 0.0),
        one.squares + other.squares * weight + (off * off * one.n * more / n if n > 0.0 else 0.0),
        max(one.at, other.at),
    )


def posterior(policy_id: str, evidence: Evidence | None, prior_mean_bp: float = 0.0, prior: Prior = PRIOR) -> Posterior:
    """The belief about a policy's mean return (bp per round trip) after the evidence."""
    seen = evidence or Evidence(0.0, 0.0, 0.0, 0)
    strength, alpha = prior.strength + seen.n, prior.alpha + seen.n / 2
    off = seen.mean_bp - prior_mean_bp
    beta = prior.beta + seen.squares / 2 + prior.strength * seen.n * off * off / (2 * strength)
    mean = prior_mean_bp + off * seen.n / strength
    return Posterior(policy_id, seen.n, mean, math.sqrt(beta / (alpha * strength)), 2 * alpha)


def dof_of(n: float, prior: Prior = PRIOR) -> float:
    """The degrees of freedom of a posterior with outcomes of weight `n` behind it."""
    return 2 * prior.alpha + n


def interval(belief: Posterior, level: float = LEVEL) -> tuple[float, float]:
    """The central interval that holds the mean with that probability, bp."""
    reach = quantile(0.5 + level / 2, belief.dof) * belief.scale_bp
    return belief.mean_bp - reach, belief.mean_bp + reach


def p_positive(belief: Posterior) -> float:
    """The probability that the policy earns more than it costs."""
    return cdf(belief.mean_bp / belief.scale_bp, belief.dof)


class Chance(Protocol):
    """A source of chance, such as `random.Random`."""

    def gauss(self, mu: float, sigma: float) -> float:
        """A sample of a Normal distribution."""

    def gammavariate(self, alpha: float, beta: float) -> float:
        """A sample of a Gamma distribution by shape and scale."""


def draw(belief: Posterior, chance: Chance) -> float:
    """A mean drawn from the belief, bp (Thompson sampling: W. R. Thompson, Biometrika 25, 1933)."""
    spread = math.sqrt(2 * chance.gammavariate(belief.dof / 2, 1.0) / belief.dof)
    return belief.mean_bp + belief.scale_bp * chance.gauss(0.0, 1.0) / spread
