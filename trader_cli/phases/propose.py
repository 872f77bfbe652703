"""propose: ask the trader for one action under the plan."""

from __future__ import annotations

from functools import partial

from trader_cli.agents import trader
from trader_cli.agents.ask import ask
from trader_cli.agents.lookups import lookup
from trader_cli.phases.desk import Desk, Minds, seen_by, situation
from trader_cli.phases.plan import no_question
from trader_cli.phases.record import Decided, record
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Situation
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.logs import on_trace


def propose(desk: Desk, plan: Decision[Plan]) -> Decision[Proposal]:
    """The plan's one proposal. Under OBSERVE, a stop or a bad window it is HOLD, without asking a model."""
    on_trace(plan.trace_id)
    if done := desk.ledger.proposal_of(plan.id):
        return done
    now = desk.clock.now()
    where = situation(desk, seen_by(desk, plan.observation_id, plan.trace_id, now), now)
    return record(desk, decide(desk.minds, where, plan))


def decide(minds: Minds, where: Situation, plan: Decision[Plan]) -> Decided:
    """What to propose in a situation, after as many rounds of tools as the trader may have. Nothing is written."""
    cause = no_question(where) or (None if plan.payload.mode == "TRADE" else plan.cause or "the plan is OBSERVE")
    asked = None
    if cause is None:
        rounds = minds.tool_rounds
        question = trader.question(where, plan.payload, plan.trace_id, may_look_up=rounds > 0)
        asked = ask(minds.trader, question, trader.read, partial(lookup, where.observation.window), rounds)
        cause = asked.cause
    chosen = (asked.record if asked else None) or trader.hold(plan.payload, cause or "")
    return Decided(Agent.TRADER, plan.trace_id, where, chosen, asked, cause, plan_id=plan.id)
