"""Plans and proposals with the model's answers they stand on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trader_cli.schemas.decision import OPERATOR
from trader_cli.schemas.question import Agent, Answer
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
    sql = """
    SELECT d.id, d.agent, d.payload_json, d.source, d.cause, p.payload_json, c.model, c.status, c.reply, c.error
    FROM decisions AS d LEFT JOIN decisions AS p ON p.id = d.plan_id
    LEFT JOIN model_calls AS c ON c.id = d.model_call_id WHERE d.agent <> 'JUDGE' AND d.source <> ? ORDER BY d.id"""
    for row in ledger.db.execute(sql, (OPERATOR,)):
        answer = None if row[6] is None else Answer(row[6], row[7], row[8], error=row[9])
        yield Stood(row[0], Agent(row[1]), row[2], row[3], row[4], row[5], answer)
