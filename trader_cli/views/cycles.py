"""A cycle as one line, as `loop` and `cycle` print it, and as a JSON document."""

from __future__ import annotations

from typing import Any

from trader_cli.core.accounting import average_price
from trader_cli.core.decimals import brief, text
from trader_cli.core.moments import iso
from trader_cli.schemas.cycle import Cycle
from trader_cli.views.steps import (
    execution_document,
    order_document,
    plan_document,
    proposal_document,
    short,
    snapshot_document,
    verdict_document,
)

HEADER = f"{'TIME (UTC)':<14} {'TRACE':<8} {'PROPOSAL':<18} {'VERDICT':<8} {'FILL':<22} {'EQUITY':>12}  WHY"


def cycle_line(came: Cycle) -> str:
    """Time, trace, what was proposed, ruled and filled, equity, and why."""
    said, ruled, order = came.proposal.payload, came.verdict.payload, came.execution.order
    if came.plan.payload.mode == "OBSERVE":
        proposal, why = "OBSERVE", came.plan.cause or said.hypothesis
    else:
        proposal = said.action if said.action == "HOLD" else f"{said.action} {text(said.qty)}"
        why = said.hypothesis if said.action == "HOLD" or order else came.execution.reason or ruled.notes
    verdict = "-" if said.action == "HOLD" else ruled.decision
    fill = "-"
    if order is not None:
        executed = order.executed_qty
        fill = order.state.value
        if executed:
            fill = f"{text(executed)} @ {brief(average_price(order.quote_qty, executed))[:10]}"
    equity = f"{came.snapshot.equity:.2f}" if came.snapshot else "-"
    stamp = iso(came.plan.at)[5:19].replace("T", " ")
    return f"{stamp:<14} {short(came.trace_id)} {proposal:<18} {verdict:<8} {fill:<22} {equity:>12}  {why}"


def cycle_document(came: Cycle, dry_run: bool) -> dict[str, Any]:
    """The whole cycle."""
    return {
        "schema": "trader.cycle/1",
        "trace_id": came.trace_id,
        "ts_utc": iso(came.plan.at),
        "dry_run": dry_run,
        "trading": "blocked" if came.unsettled else "open",
        "upstream": came.upstream,
        "unsettled": [order_document(order) for order in came.unsettled],
        "plan": plan_document(came.plan, None, dry_run),
        "proposal": proposal_document(came.proposal, None, dry_run),
        "verdict": verdict_document(came.verdict, dry_run),
        "execution": execution_document(came.verdict, came.execution, dry_run),
        "snapshot": snapshot_document(came.snapshot, dry_run) if came.snapshot else None,
    }
