"""What another model would have done with the recorded questions: cycle by cycle, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trader_cli.schemas.question import Agent

ZERO = Decimal(0)


class Cut(StrEnum):
    """Why no more was asked."""

    CEILING = "the ceiling was reached"
    SIGNAL = "it was interrupted"
    UNREACHED = "the model could not be reached"
    MISCONFIGURED = "the model cannot be asked with these settings"


@dataclass(frozen=True, slots=True)
class Choice:
    """What one side decided in a cycle.

    Attributes:
        mode: of the plan.
        proposed: the action of the proposal, whatever the plan says; None where no trader answered for this side.
        action: the action that counts: HOLD where this side's plan is OBSERVE, or where nothing was proposed.
        policy_id: of the proposal; None without one.
        decision: of the verdict on the recorded proposal; None without one.
        qty: what the proposal asks for, in base.
        ordered: what the law and the judge leave of it and this side's own book can bear, in base.
        price: what one unit of that comes to by the rule, in quote; None where nothing was filled.
    """

    mode: str
    proposed: str | None
    action: str
    policy_id: str | None
    decision: str | None
    qty: Decimal = ZERO
    ordered: Decimal = ZERO
    price: Decimal | None = None

    @property
    def is_unfilled(self) -> bool:
        """Whether it orders something that no stored bar could fill."""
        return self.ordered > ZERO and self.price is None


@dataclass(frozen=True, slots=True)
class Spent:
    """What asking took, all attempts together.

    Attributes:
        questions: requests that were answered or failed; each round of tools is one.
        cost_usd: the bound, where `priced` is False: then no price is known for some of it.
    """

    questions: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = ZERO
    priced: bool = True


@dataclass(frozen=True, slots=True)
class Worth:
    """Equity in quote, at the price that a cycle saw.

    Attributes:
        before: by the rule, before the recorded action of the cycle.
        recorded, other: by the rule, after each side's action.
        ledger: of the snapshot that ended the cycle; None without one.
    """

    before: Decimal
    recorded: Decimal
    other: Decimal
    ledger: Decimal | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One cycle, and what the other model says of it.

    Attributes:
        at: market time of its plan, ms UTC.
        other: None where nothing was asked, or not all of it.
        asked: the agents whose recorded question was put.
        unusable: those whose answer could not be used, with the cause; the safe answer stands in for it.
        not_asked: why there is no other side, if so.
        followed: False where its plan trades and the recorded one did not: no trader was asked then, so it holds.
        worth: None while no price is known, and where nothing more can be asked.
        cut: why this is the last one, if so; `cut_because` in the words of the model's door.
    """

    trace_id: str
    at: int
    recorded: Choice
    other: Choice | None
    asked: tuple[Agent, ...] = ()
    unusable: tuple[tuple[Agent, str], ...] = ()
    not_asked: str | None = None
    followed: bool = True
    spent: Spent = Spent()
    worth: Worth | None = None
    cut: Cut | None = None
    cut_because: str | None = None

    @property
    def same(self) -> bool | None:
        """Whether both sides act alike; None where there is no other side."""
        return None if self.other is None else self.other.action == self.recorded.action


@dataclass(frozen=True, slots=True)
class Asking:
    """Who is asked, where (None: in this program), for how much at most in USD, and about how many cycles."""

    model: str
    host: str | None
    max_cost_usd: Decimal | None
    cycles: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often both sides said the same of one thing, and of how many."""

    agent: Agent
    what: str
    same: int
    of: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Many cycles summed up.

    Attributes:
        changes: each (recorded action, other action) that differs, and how often; the most frequent first.
        not_asked: how many cycles have no other side, by the reason.
        not_followed: cycles whose other plan trades where the recorded one did not.
        unusable: (agent, cause) of answers that could not be used, and how often; the most frequent first.
        worth: `before` of the first cycle, the rest of the last one.
        orders, unfilled: of the recorded and of the other side: what was ordered by the rule, what no bar could fill.
    """

    asking: Asking
    compared: int
    same: int
    changes: tuple[tuple[str, str, int], ...]
    agreement: tuple[Agreement, ...]
    not_asked: tuple[tuple[str, int], ...]
    not_followed: int
    unusable: tuple[tuple[Agent, str, int], ...]
    spent: Spent
    worth: Worth | None
    orders: tuple[int, int]
    unfilled: tuple[int, int]
    cut: Cut | None
    cut_because: str | None

    @property
    def different(self) -> int:
        """How many cycles have another action."""
        return self.compared - self.same
