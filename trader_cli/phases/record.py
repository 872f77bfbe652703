"""record(): how a phase writes down what was decided, together with all it was decided on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trader_cli.agents.ask import Asked
from trader_cli.core.decimals import ZERO
from trader_cli.core.moments import Moment
from trader_cli.phases.desk import Desk
from trader_cli.schemas.decision import FALLBACK, Decision, Review
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Situation
from trader_cli.tools.store import Transaction

FAILING = 3
"""Failing cycles in a row after which it is an event, and a state that `status` shows."""
MODELS_FAILING = "MODELS_FAILING"


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
    """One transaction: the observation if it is new, every attempt at an answer, the decision."""
    asked, payload, where = decided.asked, decided.payload, decided.where
    with desk.ledger.transaction() as tx:
        seen = where.observation
        seen = seen if seen.id is not None else desk.ledger.log_observation(tx, seen)
        call_id, prompt_sha256 = _log_calls(desk, tx, asked, where.at) if asked else (None, None)
        terms = desk.ledger.log_terms(tx, where.market, where.costs, where.limits)
        decision: Decision[Any] = Decision(
            id=0,
            trace_id=decided.trace_id,
            at=where.at,
            wall_at=0,
            source=source(decided),
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
            misconfigured=asked.misconfigured if asked else None,
            cost_usd=asked.cost_usd if asked else ZERO,
        )
        made = desk.ledger.log_decision(tx, decided.agent, decision, terms)
        if made.is_fallback:
            _tell_of_failing(desk, tx, made)
        return made


def _log_calls(desk: Desk, tx: Transaction, asked: Asked[Any], at: Moment) -> tuple[int, str]:
    """Every attempt of every round, in order; returns the last one's id and its prompt's hash."""
    logged = 0, ""
    for one in asked.rounds:
        for attempt in (*one.answer.earlier, one.answer):
            logged = desk.ledger.log_call(tx, one.question, attempt, at, dict(one.outputs))
    return logged


def _tell_of_failing(desk: Desk, tx: Transaction, made: Decision[Any]) -> None:
    """An event, once, when FAILING cycles in a row had no usable answer. A trace has one fallback at most."""
    cycles, cause = desk.ledger.failing()
    if cycles == FAILING:
        reason = f"{cycles} cycles in a row without a usable answer of a model: {cause}"
        desk.ledger.log_event(tx, "ERROR", {"code": MODELS_FAILING, "reason": reason}, made.at, made.trace_id)


def source(decided: Decided) -> str:
    """Who decided: a model, the law without one, or the fallback after a model failed."""
    asked = decided.asked
    if asked is None or decided.by_law:
        return "law"
    return FALLBACK if asked.record is None else asked.answer.source
