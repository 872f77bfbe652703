"""A decision as the ledger keeps it: what an agent (or the law, or an operator) said, and why."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

T = TypeVar("T")

FALLBACK = "fallback"
"""The source of a safe answer that stands in the place of one a model failed to give."""

LAW = "law"
"""The source of what code decided without a model, and who set a trading state that nobody asked for."""

OPERATOR = "operator"
"""The source of a decision that a person made: a flatten. It passes a stop, and nothing else that binds a SELL."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule of the law said.

    Attributes:
        name: the rule.
        ok: False when it lowered the quantity or refused.
        limit, value: what it demands and what it found, as text for a person.
        before, after: the quantity asked and the quantity it lets through, in base.
    """

    name: str
    ok: bool
    limit: str
    value: str
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class Review:
    """The law's word on one order: what it allows (0 = nothing) at `price`, rule by rule."""

    allowed: Decimal
    price: Decimal
    rulings: tuple[Ruling, ...]

    @property
    def violations(self) -> tuple[str, ...]:
        """The names of the rules that lowered or refused."""
        return tuple(ruling.name for ruling in self.rulings if not ruling.ok)

    @property
    def refusal(self) -> Ruling | None:
        """The first rule that let nothing through."""
        return next((ruling for ruling in self.rulings if not ruling.ok and ruling.after == 0), None)


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """One row of `decisions`.

    Attributes:
        at: market time, ms UTC; `wall_at`: wall time, ms UTC.
        source: rules | openai (a model decided), law (code decided without a model),
            fallback (a model failed; `cause` says how), operator.
        wake_at: for plans, when the next cycle is due.
        review: for verdicts, the law's word.
        upstream: what could not be reached while it was made; said once, not kept.
        misconfigured: what only other settings can mend (a model's key or name); said once, not kept.
        cost_usd: what models cost for it; said once, for `model_calls` keeps it.
    """

    id: int
    trace_id: str
    at: int
    wall_at: int
    source: str
    cause: str | None
    payload: T
    plan_id: int | None
    proposal_id: int | None
    observation_id: int | None
    prompt_sha256: str | None
    wake_at: int | None
    review: Review | None
    model_call_id: int | None = None
    upstream: str | None = None
    misconfigured: str | None = None
    cost_usd: Decimal = Decimal(0)

    @property
    def is_fallback(self) -> bool:
        """Whether nobody decided this: a model gave no usable answer."""
        return self.source == FALLBACK
