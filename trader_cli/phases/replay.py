"""replay: a decision made again from what the ledger held before it, with the answers its model gave then.

Nothing is asked and nothing is written. What differs is said: another prompt, another fact, another word of the law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trader_cli.core.errors import NotFoundError
from trader_cli.phases import judge, plan, propose
from trader_cli.phases.desk import Minds, standing
from trader_cli.phases.record import Decided, source
from trader_cli.schemas.decision import OPERATOR, Decision
from trader_cli.schemas.question import Agent
from trader_cli.schemas.replay import Replay
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.models.recorded import NOT_RECORDED, RecordedModel
from trader_cli.tools.replays import Ground, ground
from trader_cli.tools.rows import review_document

Rewind = Callable[[int], Ledger]
"""The ledger as it stood before a link."""


def replay(ledger: Ledger, trace_id: str, agent: Agent, rewind: Rewind) -> Replay:
    """One step of a trace again. Raises NotFoundError where the trace has no such step, or a person made it."""
    decision = ledger.decision_of(trace_id, agent)
    if decision is None:
        raise NotFoundError(f"trace {trace_id[:8]} has no {agent.value} step", "See it: trader ledger trace last")
    if decision.source == OPERATOR:
        raise NotFoundError(f"decision {decision.id} was made by an operator: there is nothing to replay")
    on = ground(ledger, decision)
    model = RecordedModel(ledger, trace_id)
    again = _decide(ledger, decision, on, rewind, Minds(model, model, model, tool_rounds=on.tool_rounds))
    return Replay(
        agent,
        decision,
        again.payload.payload(),
        len(model.got),
        tuple(_differences(decision, again, on, model)),
    )


def _decide(ledger: Ledger, decision: Decision[Any], on: Ground, rewind: Rewind, minds: Minds) -> Decided:
    """The step's own decision, in the situation it was made in."""
    if decision.observation_id is None:
        raise NotFoundError(f"decision {decision.id} names no observation", "Look: trader ledger verify")
    timeframe_ms = on.timeframe_ms
    seen = ledger.observation(decision.observation_id, timeframe_ms)
    past = rewind(on.link)
    try:
        where = standing(past, seen, decision.at, on.terms, on.state)
    finally:
        past.close()
    if decision.proposal_id is not None:
        proposal = ledger.decision(decision.proposal_id)[1]
        planned = ledger.decision(proposal.plan_id or 0)[1]
        return judge.decide(minds, judge.case_in(where, planned, proposal), proposal)
    if decision.plan_id is not None:
        return propose.decide(minds, where, ledger.decision(decision.plan_id)[1])
    return plan.decide(minds, where, decision.trace_id)


def _differences(decision: Decision[Any], again: Decided, on: Ground, model: RecordedModel) -> Iterator[str]:
    """What was asked, looked up, said and ruled, held against the record."""
    rounds = again.asked.rounds if again.asked else ()
    for one, got in zip(rounds, model.got, strict=False):
        if one.outputs and one.outputs != got:
            yield "what it looked up is not what it got then"
    if rounds and rounds[-1].answer.status == NOT_RECORDED:
        yield str(rounds[-1].answer.error)
        return
    was, now = decision.payload.payload(), again.payload.payload()
    for name in {**was, **now}:
        if was.get(name) != now.get(name):
            yield f"{name} is {now.get(name)!r}, it was {was.get(name)!r}"
    for name, before, after in (("source", decision.source, source(again)), ("cause", decision.cause, again.cause)):
        if before != after:
            yield f"{name} is {after!r}, it was {before!r}"
    if again.review is not None and review_document(again.review) != on.law:
        yield "the law says something else of it"
