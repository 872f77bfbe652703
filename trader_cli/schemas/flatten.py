"""What a flatten came to: rounds of sales by hand, and what is left of the position."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.cycle import Execution
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Market
from trader_cli.schemas.order import Order
from trader_cli.schemas.trader import Proposal


@dataclass(frozen=True, slots=True)
class Round:
    """One sale: its proposal, the law's verdict, the one order if one was sent. `snapshot` is None without a price."""

    proposal: Decision[Proposal]
    verdict: Decision[Verdict]
    execution: Execution
    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True)
class Flattened:
    """A position sold by an operator, as far as that could be done.

    Attributes:
        before, after: what our book held, in base.
        taken_back: own orders that were still open and were cancelled.
        unsettled: an order whose outcome is not known; nothing is sent while there is one.
        price: the bid that `after` was last reckoned at, in quote; None when nobody was asked.
        sellable: whether `after` is enough for another order.
        account_base: what the account holds free, in base, as it was seen last.
        foreign_base: how much of that is known not to be ours.
        refused: why nothing (more) was sold although there was something to sell, and what to do about it.
        upstream: what could not be reached.
    """

    market: Market
    before: Decimal
    after: Decimal
    taken_back: tuple[Order, ...] = ()
    unsettled: Order | None = None
    rounds: tuple[Round, ...] = ()
    price: Decimal | None = None
    sellable: bool = False
    account_base: Decimal | None = None
    foreign_base: Decimal = Decimal(0)
    refused: str | None = None
    upstream: str | None = None

    @property
    def dust(self) -> bool:
        """Whether something is left that no exchange takes: too little for one order."""
        return self.after > 0 and self.price is not None and not self.sellable

    @property
    def orders(self) -> tuple[Order, ...]:
        """What was sent."""
        return tuple(one.execution.order for one in self.rounds if one.execution.order is not None)

    @property
    def snapshot(self) -> Snapshot | None:
        """The last one taken."""
        return next((one.snapshot for one in reversed(self.rounds) if one.snapshot is not None), None)
