"""What one step came to: as a JSON document and as a few lines for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from trader_cli.core.accounting import average_price
from trader_cli.core.decimals import ZERO, brief, text
from trader_cli.core.moments import iso
from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.cycle import Execution
from trader_cli.schemas.decision import Decision, Review
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Observation
from trader_cli.schemas.order import Fill, Order, OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.trader import Proposal


def short(trace_id: str) -> str:
    """The first eight characters of a trace id."""
    return trace_id[:8]


def question_lines(question: Mapping[str, Any] | None, cause: str | None) -> list[str]:
    """The exact question for a person to read, or why none was put."""
    if question is None:
        return [f"No question is put to a model: {cause or 'the law decides alone'}"]
    lines = [f"Question to the {question['agent'].lower()} (at most {question['max_output_tokens']} tokens)"]
    lines += [f"  {line}" for line in question["prompt"].splitlines()]
    lines += [f"  {name:<18} {json.dumps(value)}" for name, value in question["facts"].items()]
    return [*lines, f"  answer schema      {json.dumps(question['schema'])}"]


def observation_document(seen: Observation | None) -> dict[str, Any] | None:
    """What was seen: price, age, defects, features."""
    if seen is None:
        return None
    window = seen.window
    return {
        "id": seen.id,
        "ts_utc": iso(seen.at),
        "source": window.source,
        "bars": len(window.candles),
        "price": None if window.price is None else text(window.price),
        "age_secs": None if window.age_ms is None else window.age_ms // 1000,
        "defects": [{"kind": d.kind, "detail": d.detail} for d in window.defects],
        "features": {name: getattr(seen.features, name) for name in seen.features.__slots__},
    }


def _decision(kind: str, decision: Decision[Any], dry_run: bool) -> dict[str, Any]:
    return {
        "schema": f"trader.{kind}/1",
        "id": decision.id,
        "trace_id": decision.trace_id,
        "ts_utc": iso(decision.at),
        "dry_run": dry_run,
        "source": decision.source,
        "cause": decision.cause,
        "cost_usd": text(decision.cost_usd),
        "observation_id": decision.observation_id,
        "prompt_sha256": decision.prompt_sha256,
        kind: decision.payload.payload(),
    }


def plan_document(plan: Decision[Plan], seen: Observation | None, dry_run: bool) -> dict[str, Any]:
    """A plan with what it saw."""
    document = _decision("plan", plan, dry_run)
    document["wake_at"] = None if plan.wake_at is None else iso(plan.wake_at)
    document["observation"] = observation_document(seen)
    return document


def plan_lines(plan: Decision[Plan], seen: Observation | None) -> list[str]:
    """A plan for a person."""
    chosen = plan.payload
    lines = [
        _head("Plan", plan),
        f"  mode        {chosen.mode}  explore {chosen.explore_ratio:g}  "
        f"wake in {chosen.next_wakeup_secs} s ({iso(plan.wake_at or plan.at)})",
    ]
    for number, strategy in enumerate(chosen.strategies):
        params = " ".join(f"{name}={value:g}" for name, value in strategy.params.items())
        lines.append(f"  {'strategies' if not number else '':<11} {strategy.policy_id:<14} {params}".rstrip())
    if plan.cause:
        lines.append(f"  because     {plan.cause}")
    return lines + _market_line(seen)


def proposal_document(proposal: Decision[Proposal], seen: Observation | None, dry_run: bool) -> dict[str, Any]:
    """A proposal with what it saw."""
    document = _decision("proposal", proposal, dry_run)
    document["plan_id"] = proposal.plan_id
    document["observation"] = observation_document(seen)
    return document


def proposal_lines(proposal: Decision[Proposal], seen: Observation | None, base: str) -> list[str]:
    """A proposal for a person."""
    said = proposal.payload
    what = said.action if said.action == "HOLD" else f"{said.action} {text(said.qty)} {base}"
    lines = [
        f"{_head('Proposal', proposal)}",
        f"  action      {what}  policy {said.policy_id}  confidence {said.confidence:.2f}",
        f"  why         {said.hypothesis}",
    ]
    return lines + _market_line(seen)


def verdict_document(verdict: Decision[Verdict], dry_run: bool) -> dict[str, Any]:
    """A verdict with every rule of the law."""
    document = _decision("verdict", verdict, dry_run)
    document["proposal_id"] = verdict.proposal_id
    document["allowed_qty"] = text(verdict.review.allowed) if verdict.review else None
    document["rules"] = rules_document(verdict.review)
    return document


def rules_document(law: Review | None) -> list[dict[str, Any]]:
    """Every rule with its limit and what it found."""
    if law is None:
        return []
    return [
        {
            "name": rule.name,
            "ok": rule.ok,
            "limit": rule.limit,
            "value": rule.value,
            "before": text(rule.before),
            "after": text(rule.after),
        }
        for rule in law.rulings
    ]


def verdict_lines(verdict: Decision[Verdict]) -> list[str]:
    """A verdict for a person: the rules that spoke first, then how many did not."""
    said = verdict.payload
    revised = "" if said.revised_qty is None else f" to {text(said.revised_qty)}"
    lines = [f"{_head('Verdict', verdict)}", f"  decision    {said.decision}{revised}"]
    rulings = verdict.review.rulings if verdict.review else ()
    for rule in rulings:
        if not rule.ok:
            change = "" if rule.after == ZERO else f", {text(rule.before)} -> {text(rule.after)}"
            lines.append(f"  NO  {rule.name:<15} {rule.value}; needs {rule.limit}{change}")
    lines.append(f"  ok  {sum(rule.ok for rule in rulings)} of {len(rulings)} rules")
    if said.notes:
        lines.append(f"  notes       {said.notes}")
    return lines


def order_document(order: Order | None) -> dict[str, Any] | None:
    """An order with its fills."""
    if order is None:
        return None
    intent, executed = order.intent, order.executed_qty
    return {
        "client_order_id": intent.client_order_id,
        "exchange_order_id": order.exchange_order_id,
        "state": order.state.value,
        "side": intent.side.value,
        "symbol": intent.symbol,
        "qty": text(intent.qty),
        "executed_qty": text(executed),
        "price": text(average_price(order.quote_qty, executed)) if executed else None,
        "quote_qty": text(order.quote_qty),
        "fills": [fill_document(fill) for fill in order.fills],
        "evidence": order.evidence,
    }


def fill_document(fill: Fill) -> dict[str, Any]:
    """One execution."""
    return {
        "trade_id": fill.trade_id,
        "ts_utc": iso(fill.at),
        "qty": text(fill.qty),
        "price": text(fill.price),
        "fee": text(fill.fee),
        "fee_asset": fill.fee_asset,
    }


def execution_document(verdict: Decision[Verdict], done: Execution, dry_run: bool) -> dict[str, Any]:
    """What came of a verdict."""
    return {
        "schema": "trader.execution/1",
        "trace_id": verdict.trace_id,
        "verdict_id": verdict.id,
        "dry_run": dry_run,
        "already": done.already,
        "reason": done.reason,
        "order": order_document(done.order),
    }


def execution_lines(verdict: Decision[Verdict], done: Execution) -> list[str]:
    """What came of a verdict, for a person."""
    name = short(verdict.trace_id)
    if done.order is None:
        return [f"Nothing to execute {name}: {done.reason}"]
    if done.already:
        return [f"Already executed {name}. Nothing sent.", *order_lines(done.order)]
    return [f"{_CAME[done.order.state]} {name}", *order_lines(done.order)]


_CAME = {
    OrderState.INTENT: "Not sent yet",
    OrderState.UNKNOWN: "UNKNOWN: sent, and no answer that proves anything. NOT retried",
    OrderState.OPEN: "Held by the exchange",
    OrderState.FILLED: "Executed",
    OrderState.PARTIAL: "Executed in part",
    OrderState.REJECTED: "Not executed: refused",
    OrderState.ABANDONED: "Not executed: never taken",
    OrderState.NEEDS_HUMAN: "NEEDS A HUMAN",
}


def order_lines(order: Order) -> list[str]:
    """An order for a person."""
    intent, executed = order.intent, order.executed_qty
    what = f"{intent.side} {text(executed)} of {text(intent.qty)}" if executed else f"{intent.side} {text(intent.qty)}"
    price = f" @ {brief(average_price(order.quote_qty, executed))} = {brief(order.quote_qty)}" if executed else ""
    lines = [
        f"  {order.state}  {what}{price}",
        f"  order {order.exchange_order_id or '-'}  key {intent.client_order_id}",
    ]
    lines += [
        f"  fill {f.trade_id}  {text(f.qty)} @ {text(f.price)}  fee {text(f.fee)} {f.fee_asset}" for f in order.fills
    ]
    kinds = ("message", "error", "doubt", "absent", "contradiction")
    if said := next((order.evidence[one] for one in kinds if order.evidence.get(one)), None):
        lines.append(f"  said: {order.evidence.get('code') or ''} {said}".rstrip())
    return lines


def snapshot_document(taken: Snapshot, dry_run: bool) -> dict[str, Any]:
    """A snapshot, money as strings."""
    book = taken.book
    return {
        "schema": "trader.snapshot/1",
        "id": taken.id,
        "trace_id": taken.trace_id,
        "ts_utc": iso(taken.at),
        "dry_run": dry_run,
        "symbol": taken.symbol,
        "mark_price": text(taken.mark_price),
        "equity": text(taken.equity),
        "quote": text(book.quote),
        "base": text(book.base),
        "cost": text(book.cost),
        "deposits": text(book.deposits),
        "realized_pnl": text(book.realized),
        "unrealized_pnl": text(taken.unrealized),
        "fees": text(book.fees),
        "peak_equity": text(taken.peak),
        "drift_base": taken.drift_base,
        "drift_quote": taken.drift_quote,
    }


def snapshot_lines(taken: Snapshot) -> list[str]:
    """A snapshot for a person."""
    book = taken.book
    base, _, quote = taken.symbol.partition("/")
    gain = taken.equity - book.deposits
    drift = f"  drift       {_drift(taken.drift_base)} {base}  {_drift(taken.drift_quote)} {quote} (exchange less book)"
    return [
        f"Snapshot {iso(taken.at)}  equity {brief(taken.equity)} {quote} ({gain:+.4f})",
        f"  holds       {brief(book.quote)} {quote} + {text(book.base)} {base} @ {text(taken.mark_price)}",
        f"  profit      realized {brief(book.realized)}  unrealized {brief(taken.unrealized)}  fees {brief(book.fees)}",
        drift,
    ]


def _drift(value: Decimal | None) -> str:
    return "not known" if value is None else brief(value)


def _head(what: str, decision: Decision[Any]) -> str:
    cost = f"  ${text(decision.cost_usd)}" if decision.cost_usd else ""
    return f"{what} {short(decision.trace_id)}  {iso(decision.at)}  #{decision.id} by {decision.source}{cost}"


def _market_line(seen: Observation | None) -> list[str]:
    if seen is None:
        return []
    window, features = seen.window, seen.features
    if window.defects:
        return [f"  market      {d.kind}: {d.detail}" for d in window.defects]
    age = "-" if window.age_ms is None else f"{window.age_ms // 1000} s old"
    rsi = "-" if features.rsi is None else f"{features.rsi:.1f}"
    ma20 = "-" if features.ma20 is None else f"{features.ma20:.8g}"
    price = "-" if window.price is None else text(window.price)
    return [f"  market      {price}  RSI {rsi}  MA20 {ma20}  candle {age}  {window.source}"]
