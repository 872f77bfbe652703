"""judge: the law, then a model if something is left to allow, then the minimum, then the law again."""

from __future__ import annotations

from dataclasses import replace

from trader_cli.agents import judge as mind
from trader_cli.agents.ask import Asked, ask
from trader_cli.agents.reading import cut
from trader_cli.core.decimals import ZERO
from trader_cli.core.limits import Case, review
from trader_cli.phases.desk import Desk, Minds, seen_by, situation
from trader_cli.phases.record import Decided, record
from trader_cli.schemas.decision import Decision, Review
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Situation
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.logs import on_trace

MAX_VIOLATIONS = 4
"""The specification's maxItems of `violations`; the whole list is in the verdict's law."""


def judge(desk: Desk, plan: Decision[Plan], proposal: Decision[Proposal]) -> Decision[Verdict]:
    """The proposal's one verdict. What the law refuses, no model is asked about."""
    on_trace(proposal.trace_id)
    if done := desk.ledger.verdict_of(proposal.id):
        return done
    return record(desk, decide(desk.minds, case_of(desk, plan, proposal), proposal))


def decide(minds: Minds, case: Case, proposal: Decision[Proposal]) -> Decided:
    """The verdict on a case: the law, the judge if something is left to allow, the law again. Nothing is written."""
    law = first = review(case)
    asked = None
    if law.allowed > ZERO:
        question = mind.question(case.situation, proposal.payload, law, proposal.trace_id)
        asked = ask(minds.judge, question, mind.read)
        law = lowered(case, law, asked)
    return Decided(
        Agent.JUDGE,
        proposal.trace_id,
        case.situation,
        payload=ruled(case, first, law, asked),
        asked=asked,
        cause=asked.cause if asked else None,
        proposal_id=proposal.id,
        review=law,
        by_law=asked is not None and asked.record is None and not case.is_buy,
    )


def lowered(case: Case, law: Review, asked: Asked[Verdict]) -> Review:
    """The law again, on what the judge left. A SELL that reduces the position cannot be blocked by a model.

    Where the judge left all, the law's word stands as it is, with the rules that lowered.
    """
    if not case.is_buy:
        return law
    left = mind.advised(asked.record, law) if asked.record else ZERO
    return law if left == law.allowed else review(replace(case, ceiling=left))


def ruled(case: Case, first: Review, law: Review, asked: Asked[Verdict] | None) -> Verdict:
    """The final word as the specification shapes it; `first` is the law's word before the judge's."""
    said = asked.record if asked else None
    advice = tuple(f"judge: {words}" for words in said.violations) if said and case.is_buy else ()
    violations = tuple(dict.fromkeys((*first.violations, *law.violations, *advice)))[:MAX_VIOLATIONS]
    asked_qty = case.proposal.qty
    if law.allowed <= ZERO:
        refusal = law.refusal
        raised = said is not None and mind.raises(said, first)
        by_judge = asked is not None and case.is_buy and (said is None or raised or said.decision == "REJECT")
        if by_judge and raised:
            return Verdict("REJECT", None, violations, "the judge raised the quantity, which it may only lower")
        words = "the judge refused" if by_judge else f"{refusal.name}: {refusal.value}" if refusal else "nothing left"
        return Verdict("REJECT", None, violations, cut(said.notes if by_judge and said and said.notes else words))
    notes = said.notes if said else ""
    if law.allowed < asked_qty:
        return Verdict("REVISE", law.allowed, violations, notes)
    return Verdict("APPROVE", None, violations, notes)


def case_of(desk: Desk, plan: Decision[Plan], proposal: Decision[Proposal]) -> Case:
    """The proposal before the law, at the price its trader saw."""
    now = desk.clock.now()
    seen = seen_by(desk, proposal.observation_id, proposal.trace_id, now)
    return case_in(situation(desk, seen, now), plan, proposal)


def case_in(where: Situation, plan: Decision[Plan], proposal: Decision[Proposal]) -> Case:
    """The proposal before the law in a situation, at the price that was seen there."""
    price = where.observation.window.price or ZERO
    return Case(where, plan.payload, proposal.payload, price, price)
