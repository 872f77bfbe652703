"""The trader: one compact proposal under the current plan."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from trader_cli.agents.lookups import TOOLS
from trader_cli.agents.prompts import PRELUDE, account_facts, market_facts, position_facts
from trader_cli.agents.reading import UnreadableError, check, cut
from trader_cli.core.decimals import ZERO, dec, text
from trader_cli.core.limits import Case, review, smallest_qty
from trader_cli.core.policies import signals
from trader_cli.core.regimes import expected_bp
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent, Question
from trader_cli.schemas.situation import Situation
from trader_cli.schemas.trader import SCHEMA, WIRE, Proposal

PROMPT = (
    PRELUDE
    + "You are the Trader. Goal: a compact action proposal under the current Plan.\n"
    + "signals are what the plan's policies say of these candles, edge_bp the move each expects; room is what the law "
    + "would let through. "
    + "Prefer HOLD when the edge is weak against costs.round_trip_bp; use tiny quantities in real mode. "
    + "qty is in base, a multiple of room.step, within room; 0 for HOLD. "
    + "hypothesis: at most 120 characters, numbers only from the facts.\n"
)
MAX_OUTPUT_TOKENS = 4_000


def question(situation: Situation, plan: Plan, trace_id: str, may_look_up: bool = False) -> Question:
    """What the trader is asked; with the tools, if it may look something up first."""
    position = position_facts(situation)
    facts = {
        **market_facts(situation),
        "plan": plan.payload(),
        "signals": [
            {
                "policy_id": one.policy_id,
                "action": one.action,
                "strength": one.strength,
                "edge_bp": expected_bp(one.strength, situation.observation.features.volatility),
                "reason": one.reason,
            }
            for one in signals(plan.strategies, situation.observation.window, bool(position["held"]))
        ],
        "position": position,
        "room": room(situation, plan),
        **account_facts(situation),
    }
    tools = TOOLS if may_look_up else ()
    return Question(
        Agent.TRADER, trace_id, PROMPT, facts, "proposal", WIRE, MAX_OUTPUT_TOKENS, tools=tools, at=situation.at
    )


def room(situation: Situation, plan: Plan) -> dict[str, Any]:
    """The most that the law would let through either way, what keeps a BUY back, the least that makes sense."""
    price, market, held = situation.observation.window.price, situation.market, situation.book.base
    nothing = {"max_buy": "0", "max_sell": "0", "blocked_by": [], "min_qty": text(market.min_qty)}
    if price is None:
        return {**nothing, "step": text(market.step)}
    ask = Proposal("BUY", market.max_qty, plan.strategies[0].policy_id, "", 1.0)
    case = Case(situation, plan, ask, price, price)
    buy = review(case)
    most_sold = ZERO
    if held > ZERO:
        most_sold = review(replace(case, proposal=replace(ask, action="SELL", qty=held))).allowed
    return {
        "max_buy": text(buy.allowed),
        "max_sell": text(most_sold),
        "blocked_by": []
        if buy.allowed > ZERO
        else [one.name for one in buy.rulings if one.after <= ZERO and one.name != "minimum"],
        "min_qty": text(smallest_qty(market, price, held)),
        "step": text(market.step),
    }


def read(document: Any) -> Proposal:
    """A reply as a Proposal. Raises UnreadableError."""
    check(document, WIRE, "wire schema")
    qty = _qty(document["qty"])
    document = {**document, "hypothesis": cut(document["hypothesis"])}
    check(document, SCHEMA, "proposal schema")
    if document["action"] == "HOLD":
        document["qty"] = "0"
    elif qty <= ZERO:
        raise UnreadableError(f"a {document['action']} of nothing")
    return Proposal.from_payload(document)


def hold(plan: Plan, why: str) -> Proposal:
    """The safe proposal."""
    return Proposal("HOLD", ZERO, plan.strategies[0].policy_id, cut(why), 0.0)


def _qty(words: str) -> Decimal:
    try:
        return dec(words)
    except ValueError as error:
        raise UnreadableError(f"qty {error}") from None
