"""Calibration: whether stated confidence is worth what it says, held against outcomes.

The Brier score is the mean squared distance between a stated probability and what came (G. Brier, Monthly Weather
Review 78, 1950): 0 is perfect, a coin that always says one half has 0.25. Reliability compares, in bins of a tenth,
what was said with how often it was right; its interval is Wilson's score interval (E. Wilson, JASA 22, 1927).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

COIN = 0.25
"""The Brier score of always saying one half."""
ENOUGH = 10
"""Fewer outcomes than this say nothing."""
BINS = 10
LEVEL = 0.90


@dataclass(frozen=True, slots=True)
class Bin:
    """What was said from `low` to `high` (0..1; the last bin holds 1): how often, on average, and how often right."""

    low: float
    high: float
    n: int
    said: float
    right: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How stated confidence stood up: the number of outcomes, the Brier score (None without any), the bins in use."""

    n: int
    brier: float | None
    bins: tuple[Bin, ...]

    @property
    def is_enough(self) -> bool:
        """Whether there are outcomes enough to say anything."""
        return self.n >= ENOUGH


def calibration(stated: Iterable[tuple[float, bool]]) -> Calibration:
    """Of pairs of a stated confidence (0..1) and whether it came right. Raises ValueError for another confidence."""
    sums: dict[int, tuple[int, float, int]] = {}
    total, squares = 0, 0.0
    for confidence, came in stated:
        if not 0.0 <= confidence <= 1.0:
            raise ValueError(f"needs a confidence between 0 and 1, was {confidence}")
        total += 1
        squares += (confidence - came) ** 2
        at = min(int(confidence * BINS + 1e-9), BINS - 1)
        n, said, right = sums.get(at, (0, 0.0, 0))
        sums[at] = n + 1, said + confidence, right + came
    bins = tuple(
        Bin(at / BINS, (at + 1) / BINS, n, said / n, right / n, wilson(right, n))
        for at, (n, said, right) in sorted(sums.items())
    )
    return Calibration(total, squares / total if total else None, bins)


def wilson(right: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The score interval of a share: `right` of `n` > 0."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = right / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    reach = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)
