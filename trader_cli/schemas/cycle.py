"""What a cycle came to: its decisions, its order, its snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.order import Order
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.situation import TradingState
from trader_cli.schemas.trader import Proposal


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a verdict: the order if there is one, whether it was there before, else why nothing was sent."""

    order: Order | None
    already: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cycle:
    """One trace from plan to snapshot.

    Attributes:
        unsettled: orders of earlier traces that keep new ones away.
        upstream: what could not be reached, if anything; the cycle was recorded as OBSERVE then.
        misconfigured: what only other settings can mend, if a model said so.
        snapshot: None when there was no price to mark the book to.
        state: what trading is allowed at its end.
        changes: what it changed that an operator should know at once: trading slowed down, an epoch began.
    """

    trace_id: str
    unsettled: tuple[Order, ...]
    upstream: str | None
    misconfigured: str | None
    plan: Decision[Plan]
    proposal: Decision[Proposal]
    verdict: Decision[Verdict]
    execution: Execution
    snapshot: Snapshot | None
    state: TradingState = TradingState.RUN
    changes: tuple[str, ...] = ()

    @property
    def fallback(self) -> Decision[Plan] | Decision[Proposal] | Decision[Verdict] | None:
        """The step that a model gave no usable answer for; a trace has one at most."""
        return next((one for one in (self.plan, self.proposal, self.verdict) if one.is_fallback), None)

    @property
    def cost_usd(self) -> Decimal:
        """What its models cost."""
        return self.plan.cost_usd + self.proposal.cost_usd + self.verdict.cost_usd
