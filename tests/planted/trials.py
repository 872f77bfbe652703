"""Trials over a planted market: what memory believes after so many round trips of a known edge."""

from __future__ import annotations

from dataclasses import dataclass

from tests.desks import COSTS
from tests.fakes import BTC
from tests.planted.desks import FixedPlan, planted_desk, run
from tests.planted.market import Edge, PlantedMarket, gross_bp
from trader_cli.core.posteriors import added, interval, posterior
from trader_cli.schemas.memory import Evidence
from trader_cli.tools.memory import all_learnt

ENTRY, EXIT = 10, 5
CALM_BARS = 12
"""Bars of a block before its trip: the channel of ENTRY bars, and two more."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The true net edge of a round trip (bp), the belief's interval, the outcomes behind it."""

    edge_bp: float
    low_bp: float
    high_bp: float
    outcomes: tuple[float, ...]

    @property
    def covers(self) -> bool:
        """Whether the interval holds the true edge."""
        return self.low_bp <= self.edge_bp <= self.high_bp


def trial(seed: int, edge_bp: float, spread_bp: float, trips: int) -> Trial:
    """A whole desk that trades `breakout` by a fixed plan in a stationary market; its outcomes folded without decay.

    By the real market's step: each sale leaves dust, which the next one sells.
    """
    market = PlantedMarket(seed, lambda block: Edge(gross_bp(edge_bp, COSTS), spread_bp), CALM_BARS)
    plan = {"entry": ENTRY, "exit": EXIT}
    with planted_desk(market, lambda ids: FixedPlan("breakout", plan, ids), market=BTC) as desk:
        run(desk, trips * market.size)
        learnt = [one.experiment for one in all_learnt(desk.ledger) if not one.experiment.is_dust]
    seen: Evidence | None = None
    outcomes = []
    for one in learnt:
        assert one.policy_id == "breakout"
        assert one.net_bp is not None
        outcomes.append(one.net_bp)
        seen = added(seen, one.net_bp, one.share, one.closed_at, None)
    low, high = interval(posterior("breakout", seen))
    return Trial(edge_bp, low, high, tuple(outcomes))
