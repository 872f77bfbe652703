"""The judge: a second look at what the law lets through. It can lower or refuse, never raise."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trader_cli.agents.prompts import PRELUDE, account_facts, market_facts, position_facts
from trader_cli.agents.reading import UnreadableError, check, cut
from trader_cli.core.decimals import ZERO, dec, text
from trader_cli.core.limits import smallest_qty
from trader_cli.schemas.decision import Review
from trader_cli.schemas.judge import SCHEMA, WIRE, Verdict
from trader_cli.schemas.question import Agent, Question
from trader_cli.schemas.situation import Situation
from trader_cli.schemas.trader import Proposal

PROMPT = (
    PRELUDE
    + "You are the Judge. The law (code) has already limited the order to law.allowed_qty; you may only lower it.\n"
    + "Enforce only: deposit cap and exchange precision or least notional, and plain contradictions between the "
    + "proposal and the facts. APPROVE if the constraints are satisfied at the quantity proposed; REVISE with a "
    + "revised_qty (a multiple of law.step, at least law.min_qty, at most law.allowed_qty) or REJECT otherwise.\n"
)
MAX_OUTPUT_TOKENS = 1_500


def question(situation: Situation, proposal: Proposal, law: Review, trace_id: str) -> Question:
    """What the judge is asked."""
    market = situation.market
    least = smallest_qty(market, law.price, situation.book.base) if proposal.action == "BUY" else market.min_qty
    facts = {
        **market_facts(situation),
        "proposal": proposal.payload(),
        "law": {
            "allowed_qty": text(law.allowed),
            "min_qty": text(least),
            "step": text(market.step),
            "passed": sum(1 for rule in law.rulings if rule.ok),
            "lowered_by": [{"name": r.name, "limit": r.limit, "value": r.value} for r in law.rulings if not r.ok],
        },
        "position": position_facts(situation),
        **account_facts(situation),
    }
    return Question(Agent.JUDGE, trace_id, PROMPT, facts, "verdict", WIRE, MAX_OUTPUT_TOKENS, at=situation.at)


def read(document: Any) -> Verdict:
    """A reply as a Verdict. Raises UnreadableError for one that contradicts itself."""
    check(document, WIRE, "wire schema")
    document = {key: value for key, value in document.items() if value is not None}
    document["notes"] = cut(document["notes"])
    document["violations"] = [cut(one) for one in document["violations"]]
    check(document, SCHEMA, "verdict schema")
    revised = document.get("revised_qty")
    qty = _qty(revised) if revised is not None else None
    decision = document["decision"]
    if decision == "REVISE" and (qty is None or qty <= ZERO):
        raise UnreadableError("REVISE without a quantity")
    if decision != "REVISE" and qty is not None:
        raise UnreadableError(f"{decision} with a revised quantity")
    return Verdict.from_payload(document)


def advised(verdict: Verdict, law: Review) -> Decimal:
    """The quantity the judge lets through of what the law allowed; a revision that raises it lets nothing through."""
    if verdict.decision == "REJECT" or raises(verdict, law):
        return ZERO
    return law.allowed if verdict.revised_qty is None else verdict.revised_qty


def raises(verdict: Verdict, law: Review) -> bool:
    """Whether a revision asks for more than the law allowed, which was told to the judge."""
    return verdict.revised_qty is not None and verdict.revised_qty > law.allowed


def _qty(words: str) -> Decimal:
    try:
        return dec(words)
    except ValueError as error:
        raise UnreadableError(f"revised_qty {error}") from None
