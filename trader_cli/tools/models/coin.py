"""The model that knows nothing: it buys and sells at times that chance picks. What a policy earns is held against it.

It obeys the same law, pays the same costs and is recorded like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trader_cli.core.policies import within_bounds
from trader_cli.core.ports import Ids
from trader_cli.schemas.question import Agent, Answer, Question
from trader_cli.tools.models.rules import RulesModel, order_of, plan_of, room_of, size_of

EVERY_BARS = 24
"""About every so many cycles a deal, unless another number is asked for."""
NAMED = "breakout"
"""Under whose name it trades: a plan must name a policy of the catalogue."""


class CoinModel:
    """All three agents; `ids` is where chance comes from, a deal comes in one of `every` cycles."""

    name = "coin"

    def __init__(self, ids: Ids, every: int = EVERY_BARS) -> None:
        self._ids = ids
        self._every = every
        self._judge = RulesModel(ids)

    def answer(self, question: Question) -> Answer:
        """Answer by chance: always `ok`, for nothing, at once."""
        facts = question.facts
        if question.agent is Agent.PLANNER:
            words = plan_of("TRADE", 1.0, facts, [{"policy_id": NAMED, "params": within_bounds(NAMED, {})}])
        elif question.agent is Agent.TRADER:
            words = self._propose(facts, question.trace_id)
        else:
            return self._judge.answer(question)
        said = json.dumps(words, separators=(",", ":"), allow_nan=False)
        return Answer(model=self.name, status="ok", text=said, source="rules")

    def _propose(self, facts: Mapping[str, Any], trace_id: str) -> dict[str, Any]:
        room, held = room_of(facts), (facts.get("position") or {}).get("held")
        if room is None or not isinstance(held, bool):
            return order_of("HOLD", None, NAMED, "does not know what may be traded", 0.5)
        if self._ids.chance(trace_id).random() * self._every >= 1.0:
            return order_of("HOLD", None, NAMED, "tails", 0.5)
        qty = room.max_sell if held else size_of(facts, room, 0.5)
        if qty is None or qty <= 0 or (not held and qty < room.least):
            return order_of("HOLD", None, NAMED, "heads, and no room", 0.5)
        return order_of("SELL" if held else "BUY", qty, NAMED, "heads", 0.5)
