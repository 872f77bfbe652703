"""Replies again: what each model said, read as its agent reads it, must give the decision that stands on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from trader_cli.agents import planner, trader
from trader_cli.agents.ask import Asked, ask
from trader_cli.agents.lookups import lookup
from trader_cli.schemas.market import Window
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent, Answer, Question
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Count, Problems
from trader_cli.tools.verification_replies import Stood, stood

NOTHING_SEEN = Window("", 60_000, (), (), None, None)


class Recorded:
    """A model that says again what the ledger keeps of it."""

    name = "recorded"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def answer(self, question: Question) -> Answer:
        """The recorded answer, whatever is asked."""
        return self._answer


def read_again(agent: Agent, answer: Answer, read: Any) -> Asked[Any]:
    """A recorded answer through the agent's reader: a record, or why it cannot be used.

    Of the rounds with a model it was the last, so calls in it were refused: for what they were, or for coming too late.
    """
    might_call = answer.request is not None and answer.request.get("tool_choice") == "auto"
    question = Question(agent, "", "", {}, "", {}, 0)
    return ask(Recorded(answer), question, read, partial(lookup, NOTHING_SEEN), 1 if might_call else 0)


def replies(ledger: Ledger, count: Count) -> Problems:
    """Each plan and proposal against the reply it was read from, or against the safe answer. Verdicts: the law's."""
    for one in stood(ledger):
        count.seen += 1
        said = json.loads(one.payload)
        name = f"{'plan' if one.agent is Agent.PLANNER else 'proposal'} {one.id}"
        asked = None
        if one.answer is not None:
            asked = read_again(one.agent, one.answer, planner.read if one.agent is Agent.PLANNER else trader.read)
        if asked is not None and asked.record is not None:
            yield from (f"{name}: {words}" for words in _used(one, said, asked.record.payload()))
        else:
            yield from (f"{name}: {words}" for words in _safe(one, said, asked))


def _used(one: Stood, said: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """A reply that can be read must be what was decided."""
    if one.source in ("law", "fallback"):
        yield f"source is {one.source}, though the reply can be used"
    if one.cause is not None:
        yield f"cause is {one.cause!r}, though the reply can be used"
    for key in {**wanted, **said}:
        if (was := said.get(key)) != (now := wanted.get(key)):
            yield f"{key} is {was!r}, the reply says {now!r}"


def _safe(one: Stood, said: dict[str, Any], asked: Asked[Any] | None) -> Iterator[str]:
    """Without a usable reply it must be the safe answer, with a cause."""
    wanted = "law" if asked is None else "fallback"
    if one.source != wanted:
        yield f"source is {one.source}, {'no model was asked' if asked is None else f'but {asked.cause}'}"
    if not one.cause:
        yield f"no cause is given for a safe answer of {wanted}"
    safe: dict[str, Any] = {
        "mode": "OBSERVE",
        "explore_ratio": 0.0,
        "strategies": [{"policy_id": "cash", "params": {}}],
    }
    if one.agent is Agent.TRADER:
        if one.plan is None:
            yield "its plan is not there"
            return
        safe = trader.hold(Plan.from_payload(json.loads(one.plan)), one.cause or "").payload()
    for key, now in safe.items():
        if (was := said.get(key)) != now:
            yield f"{key} is {was!r}, the safe answer is {now!r}"
