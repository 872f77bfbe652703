"""Plans and proposals with the model's answers they stand on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from trader_cli.schemas.decision import OPERATOR
from trader_cli.schemas.question import Agent, Answer
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Stood:
    """A plan or proposal as it is stored; `plan` is the payload of a proposal's plan, `answer` what a model said."""

    id: int
    agent: Agent
    payload: str
    source: str
    cause: str | None
    plan: str | None
    answer: Answer | None


def stood(ledger: Ledger) -> Iterator[Stood]:
    """Every plan and proposal that no person made, in order of id."""
    asked = "c.request_json, c.tools_json" if ledger.has("model_calls", "tools_json") else "NULL, NULL"
    sql = f"""
    SELECT d.id, d.agent, d.payload_json, d.source, d.cause, p.payload_json, c.model, c.status, c.reply, c.error,
      {asked} FROM decisions AS d LEFT JOIN decisions AS p ON p.id = d.plan_id
    LEFT JOIN model_calls AS c ON c.id = d.model_call_id WHERE d.agent <> 'JUDGE' AND d.source <> ? ORDER BY d.id"""
    for row in ledger.db.execute(sql, (OPERATOR,)):
        answer = None if row[6] is None else replace(Answer(row[6], row[7], row[8], error=row[9]), **called(*row[10:]))
        yield Stood(row[0], Agent(row[1]), row[2], row[3], row[4], row[5], answer)


def called(request_json: str | None, tools_json: str | None) -> dict[str, Any]:
    """How an answer was asked for and what it called, as `Answer` has it."""
    calls = json.loads(tools_json) if tools_json else []
    return {
        "request": None if request_json is None else json.loads(request_json),
        "calls": tuple(ToolCall(one["call_id"], one["name"], one["arguments"]) for one in calls),
    }
