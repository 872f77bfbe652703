"""What trading teaches: one sale's outcome of one purchase, what it adds up to, and the belief that follows.

A basis point (bp) is a hundredth of a percent of what the purchase had cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from trader_cli.schemas.lot import Lot


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one sale made of one purchase, or of a part of it.

    Attributes:
        policy_id, params, regime, hypothesis, confidence: of the decision that bought; policy_id None, and the others
            empty, where no decision of this ledger did.
        opened_by, closed_by: client_order_id of the purchase and of the sale.
        opened_at, closed_at: times of the first and of the last fill that it is made of, ms UTC.
        share: of the purchase's quantity, 0..1: the weight of the outcome. A rest that is too little to be sold by
            itself belongs to the sale that left it; what it brings later weighs nothing.
        qty: base sold, a fee in base included.
        cost, proceeds: in quote; fees are in the cost and off the proceeds.
        model_cost_usd: what the models cost from the purchase's cycle to the sale's, shared among what was held.
        net: proceeds - cost - model cost, in quote; without the model cost where the quote is not dollars.
        net_bp: net of cost; None where there was no cost.
    """

    policy_id: str | None
    params: dict[str, int | float]
    regime: str
    hypothesis: str | None
    confidence: float | None
    opened_by: str
    closed_by: str
    opened_at: int
    closed_at: int
    share: float
    qty: Decimal
    cost: Decimal
    proceeds: Decimal
    model_cost_usd: Decimal
    net: Decimal
    net_bp: float | None

    @property
    def held_ms(self) -> int:
        """How long the position was held."""
        return self.closed_at - self.opened_at

    @property
    def is_dust(self) -> bool:
        """Whether it is only what an earlier sale left because it could not be sold."""
        return self.share == 0.0

    @property
    def won(self) -> bool:
        """Whether anything was left of it after fees and models."""
        return self.net > 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Outcomes of one policy in one regime, summed up.

    Attributes:
        n: their weight together, after decay.
        mean_bp: their weighted mean.
        squares: the weighted sum of squared distances from the mean, bp squared.
        at: the moment that the weights are as of, ms UTC.
    """

    n: float
    mean_bp: float
    squares: float
    at: int


@dataclass(frozen=True, slots=True)
class Purchase:
    """What was bought by one order.

    Attributes:
        qty: base in total.
        model_cost: of models (USD), not yet taken over by sales.
        is_closed: nothing but a rest that cannot be sold is left of it.
        covers: it was set against what had been sold beyond what was held, so that its sales teach nothing.
    """

    qty: Decimal
    model_cost: Decimal = Decimal(0)
    is_closed: bool = False
    covers: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What was held after a sale, so that the next one needs no row before it.

    Attributes:
        base, cost: of the book, in base and quote.
        lots: oldest first.
        purchases: of the lots, by client_order_id.
    """

    base: Decimal
    cost: Decimal
    lots: tuple[Lot, ...]
    purchases: dict[str, Purchase]


@dataclass(frozen=True, slots=True)
class Learnt:
    """A row of memory: an outcome, and the evidence of its policy and regime before and after it.

    Both are None where there is none: no policy opened it. An outcome without a cost adds nothing. `standing` is in the
    last row of a sale.
    """

    id: int
    experiment: Experiment
    before: Evidence | None
    after: Evidence | None
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of a policy's mean net return per trade: a Student's t distribution.

    Attributes:
        n: weight of the outcomes behind it; 0 for a prior.
        mean_bp, scale_bp, dof: location, scale and degrees of freedom.
    """

    policy_id: str
    n: float
    mean_bp: float
    scale_bp: float
    dof: float

    @property
    def sd_bp(self) -> float:
        """Its standard deviation."""
        return self.scale_bp * math.sqrt(self.dof / (self.dof - 2))


@dataclass(frozen=True, slots=True)
class Held:
    """A purchase, or what is left of it, that nobody sold yet: no outcome.

    Attributes:
        policy_id: whose it is; None where no decision of this ledger bought it.
        opened_by: client_order_id of the purchase; opened_at its first fill, ms UTC.
        qty: base still held; cost what it has cost in quote.
    """

    policy_id: str | None
    opened_by: str
    opened_at: int
    qty: Decimal
    cost: Decimal
