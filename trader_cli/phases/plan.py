"""plan: look at the market, ask the planner, write the plan down with what it saw."""

from __future__ import annotations

from trader_cli.agents import planner
from trader_cli.agents.ask import ask
from trader_cli.core.hostile import storable
from trader_cli.phases.account import looked_closer
from trader_cli.phases.desk import Desk, Minds, observe, situation
from trader_cli.phases.record import Decided, record
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Situation, TradingState
from trader_cli.tools.logs import on_trace


def plan(desk: Desk, trace_id: str) -> Decision[Plan]:
    """Begin a trace. A stop, an unsettled order or a bad window give OBSERVE without asking a model."""
    on_trace(trace_id)
    now = desk.clock.now()
    seen = observe(desk, trace_id, now)
    if looked_closer(desk, seen):
        seen = observe(desk, trace_id, now)
    return record(desk, decide(desk.minds, situation(desk, seen, now), trace_id))


def decide(minds: Minds, where: Situation, trace_id: str) -> Decided:
    """What to plan in a situation. Nothing is written: a replay decides again with recorded minds."""
    cause = no_question(where)
    asked = None
    if cause is None:
        asked = ask(minds.planner, planner.question(where, trace_id), planner.read)
        cause = asked.cause
    chosen = (asked.record if asked else None) or planner.observe(where)
    return Decided(Agent.PLANNER, trace_id, where, chosen, asked, cause)


def no_question(where: Situation) -> str | None:
    """Why no model is asked in this situation, if so; in words that can be kept as they are."""
    if where.state is TradingState.HALT:
        return storable(f"stopped: {where.stop_cause}")
    if where.open_orders:
        return f"order {where.open_orders[0]} is not settled"
    if where.observation.window.defects:
        first = where.observation.window.defects[0]
        return storable(f"{first.kind}: {first.detail}")
    return None
