"""record(): how a phase writes down what was decided, together with all it was decided on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from trader_cli.agents.ask import Asked
from trader_cli.phases.desk import Desk
from trader_cli.schemas.decision import Decision, Review
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Situation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decided:
    """What a phase came to: the payload, who it came from, and on what.

    Attributes:
        where: the situation it was decided in, with the observation.
        asked: the exchange with the model, if one was asked; without a record in it, a fallback.
        by_law: the law decided although a model was asked.
        cause: why no model was asked or its answer was not used.
    """

    agent: Agent
    trace_id: str
    where: Situation
    payload: Any
    asked: Asked[Any] | None
    cause: str | None = None
    plan_id: int | None = None
    proposal_id: int | None = None
    review: Review | None = None
    by_law: bool = False


def record(desk: Desk, decided: Decided) -> Decision[Any]:
    """One transaction: the observation if it is new, the model's answer, the decision."""
    asked, payload, where = decided.asked, decided.payload, decided.where
    with desk.ledger.transaction() as tx:
        seen = where.observation
        seen = seen if seen.id is not None else desk.ledger.log_observation(tx, seen)
        call_id, prompt_sha256 = (
            desk.ledger.log_call(tx, asked.question, asked.answer, where.at) if asked else (None, None)
        )
        terms = desk.ledger.log_terms(tx, where.market, where.costs, where.limits)
        decision: Decision[Any] = Decision(
            id=0,
            trace_id=decided.trace_id,
            at=where.at,
            wall_at=0,
            source="law" if decided.by_law else _source(asked),
            cause=decided.cause,
            payload=payload,
            plan_id=decided.plan_id,
            proposal_id=decided.proposal_id,
            observation_id=seen.id,
            prompt_sha256=prompt_sha256,
            wake_at=where.at + payload.next_wakeup_secs * 1000 if isinstance(payload, Plan) else None,
            review=decided.review,
            model_call_id=call_id,
            upstream=where.observation.window.unavailable or (asked.upstream if asked else None),
        )
        return desk.ledger.log_decision(tx, decided.agent, decision, terms)


def _source(asked: Asked[Any] | None) -> str:
    """Who decided: a model, the law without one, or the fallback after a model failed."""
    if asked is None:
        return "law"
    return "fallback" if asked.record is None else asked.answer.source
