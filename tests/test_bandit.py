"""The planted bandit: a policy's share of the plans rises while it earns, and falls once it has lost its edge."""

from __future__ import annotations

import pytest

from tests.planted.bandit import PARTS, Part, bandit

pytestmark = pytest.mark.untraced

HALF = PARTS // 2


@pytest.mark.untraced
def test_the_planner_picks_what_earns_and_lets_go_of_what_stopped_earning() -> None:
    parts = bandit(seed=4, first_bp=60, then_bp=-120, blocks=5)
    start, best, end = parts[0].picked, max(part.picked for part in parts[:HALF]), parts[-1].picked
    assert start < 0.3
    assert best > start + 0.5
    assert end < best - 0.7
    assert parts[HALF - 1].low_bp > 0
    assert parts[-1].mean_bp < 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_over_several_seeds_only_an_edge_makes_a_policy_popular() -> None:
    """What each seed does is printed by `make bench`; here the mean over the seeds, against runs without an edge."""
    seeds = (1, 2, 3, 4, 5)
    planted = [bandit(seed, 60, -60, 12) for seed in seeds]
    without = [bandit(seed, -60, -60, 12) for seed in seeds]

    def share(runs: list[list[Part]], part: int) -> float:
        return sum(run[part].picked for run in runs) / len(runs)

    before, after, never = share(planted, HALF - 1), share(planted, PARTS - 1), share(without, HALF - 1)
    figures = f"picked with an edge {before:.2f}, after it was lost {after:.2f}, without one {never:.2f}"
    assert before > 0.6, figures
    assert after < before - 0.4, figures
    assert never < before - 0.4, figures
