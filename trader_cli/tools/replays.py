"""What a replay needs of a decision's row beyond the decision: its link, its terms, its state, and how it was asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from trader_cli.core.errors import LedgerError, NotFoundError
from trader_cli.core.moments import read_span
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.situation import Limits, TradingState
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification_past import read_terms


@dataclass(frozen=True, slots=True)
class Ground:
    """What a decision stood on.

    Attributes:
        link: of its row: the ledger before it is what it could know.
        timeframe_ms: of the ledger's bars.
        terms: the market's rules, the costs and the limits then.
        state: the trading state in force, and why: a STOP file leaves no row, so it is taken as recorded.
        law: the law's word, for a verdict.
        tool_rounds: how often its model might look something up.
    """

    link: int
    timeframe_ms: int
    terms: tuple[Market, Costs, Limits]
    state: tuple[TradingState, str | None]
    law: dict[str, Any] | None
    tool_rounds: int


def ground(ledger: Ledger, decision: Decision[Any]) -> Ground:
    """The ground of a decision. Raises NotFoundError where its terms are not there, LedgerError for an old ledger."""
    if not ledger.has("model_calls", "round"):
        raise LedgerError(
            "a replay needs a ledger of this program's schema", "Run any writing command once: trader recover"
        )
    row = ledger.db.execute(
        "SELECT d.link, t.terms_json, d.law_json, c.facts_json FROM decisions AS d "
        "LEFT JOIN terms AS t ON t.sha256 = d.terms_sha256 LEFT JOIN model_calls AS c ON c.id = d.model_call_id "
        "WHERE d.id = ?",
        (decision.id,),
    ).fetchone()
    if row is None or row[1] is None:
        raise NotFoundError(f"decision {decision.id} has no terms in this ledger", "Look: trader ledger verify")
    law = None if row[2] is None else json.loads(row[2])
    facts = {} if row[3] is None else json.loads(row[3])
    timeframe_ms = read_span(ledger.identity().get("timeframe") or "5m")
    return Ground(
        row[0], timeframe_ms, read_terms(row[1]), _state(decision, law, facts), law, _tool_rounds(ledger, decision)
    )


def _state(
    decision: Decision[Any], law: dict[str, Any] | None, facts: dict[str, Any]
) -> tuple[TradingState, str | None]:
    """The state as the law, the model's facts or the cause tell of it; RUN where none of them does."""
    halted, _, why = (decision.cause or "").partition("stopped: ")
    if not halted and why:
        return TradingState.HALT, why
    told = next((rule["value"] for rule in (law or {}).get("rules", ()) if rule["name"] == "state"), None)
    name = told or facts.get("trading_state") or "RUN"
    return TradingState[name], None


def _tool_rounds(ledger: Ledger, decision: Decision[Any]) -> int:
    """Rounds of tools: up to the one in which none was left to call, else one more than there were."""
    rows = ledger.db.execute(
        "SELECT c.round, c.request_json FROM model_calls AS c JOIN prompts AS p ON p.sha256 = c.prompt_sha256 "
        "WHERE c.trace_id = ? AND p.tools_json IS NOT NULL ORDER BY c.id",
        (decision.trace_id,),
    ).fetchall()
    for number, request_json in rows:
        if request_json is not None and json.loads(request_json)["tool_choice"] == "none":
            return int(number)
    return int(rows[-1][0] or 0) + 1 if rows else 0
