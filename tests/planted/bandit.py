"""A planted bandit: `breakout` earns for a while and then loses; how often does the rules planner pick it?"""

from __future__ import annotations

from dataclasses import dataclass

from tests.desks import COSTS
from tests.planted.desks import planted_desk
from tests.planted.market import Edge, PlantedMarket, gross_bp
from trader_cli.core.posteriors import interval
from trader_cli.core.regimes import Regime
from trader_cli.phases.cycle import loop
from trader_cli.schemas.cycle import Cycle
from trader_cli.tools.memory import all_learnt, read_posteriors

POLICY = "breakout"
CALM_BARS = 50
"""So that the channel of every tuning (24 or 48 bars) is calm."""
SPREAD_BP = 30.0
PARTS = 10


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the run: how often the policy was picked while nothing was held, and what was believed at its end."""

    edge_bp: float
    picked: float
    outcomes: int
    mean_bp: float
    low_bp: float
    high_bp: float


def bandit(seed: int, first_bp: float, then_bp: float, blocks: int) -> list[Part]:
    """PARTS parts of as many blocks; the policy's net edge is `first_bp` in the first half, `then_bp` in the second."""
    half = blocks * PARTS // 2

    def edge(block: int) -> Edge:
        return Edge(gross_bp(first_bp if block < half else then_bp, COSTS), SPREAD_BP)

    market = PlantedMarket(seed, edge, CALM_BARS)
    parts = []
    free = True
    with planted_desk(market) as desk:
        for part in range(PARTS):
            picked = []
            for came in loop(desk, blocks * market.size):
                assert isinstance(came, Cycle), came
                assert came.plan is not None
                assert came.snapshot is not None
                if free:  # a plan keeps the owner of what is held
                    picked.append(POLICY in {one.policy_id for one in came.plan.payload.strategies})
                free = came.snapshot.book.base == 0
            at = desk.clock.now()
            (belief,) = (one for one in read_posteriors(desk.ledger, at, Regime.RANGE) if one.policy_id == POLICY)
            outcomes = sum(1 for _ in all_learnt(desk.ledger, POLICY))
            share = sum(picked) / len(picked) if picked else 0.0
            truth = first_bp if part < PARTS // 2 else then_bp
            parts.append(Part(truth, share, outcomes, belief.mean_bp, *interval(belief)))
    return parts
