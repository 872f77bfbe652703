"""A cycle as one line, as `loop` and `cycle` print it, and as a JSON document."""

from __future__ import annotations

from typing import Any

from trader_cli.core.accounting import average_price
from trader_cli.core.decimals import text
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.cycle import Cycle
from trader_cli.views.status import gain_pct
from trader_cli.views.steps import (
    execution_document,
    order_document,
    plan_document,
    proposal_document,
    short,
    snapshot_document,
    verdict_document,
)

_TIME, _TRACE, _VERDICT, _FILL = 11, 8, 7, 18
_FIXED = _TIME + _TRACE + _VERDICT + _FILL + 4
_LEAST = 24


def header(width: int) -> str:
    """The names of a cycle line's columns on a terminal of `width` columns."""
    return _line("TIME (UTC)", "TRACE", "PROPOSAL", "VERDICT", "FILL", width)


def cycle_line(came: Cycle, width: int) -> str:
    """Time, trace, what was proposed and why, what was ruled and filled; the reason is cut to fit `width`."""
    stamp, trace, action, verdict, fill, _, why = cycle_cells(came)
    return _line(stamp[5:16].replace("T", " "), short(trace), f"{action}  {why}", verdict, fill, width)


def cycle_cells(came: Cycle) -> tuple[str, ...]:
    """The same for a pipe, whole: time, trace, action, verdict, fill, equity, why."""
    said, order = came.proposal.payload, came.execution.order
    observing = came.plan.payload.mode == "OBSERVE"
    action = "OBSERVE" if observing else said.action if said.action == "HOLD" else f"{said.action} {text(said.qty)}"
    why = (came.plan.cause if observing else None) or said.hypothesis
    if said.action != "HOLD" and order is None:
        why = came.execution.reason or why
    if came.fallback is not None:
        why = f"FALLBACK {came.fallback.cause}"
    verdict = "-" if said.action == "HOLD" else came.verdict.payload.decision
    equity = "-" if came.snapshot is None else text(came.snapshot.equity)
    return iso(came.plan.at), came.trace_id, action, verdict, _fill(came), equity, why


def _fill(came: Cycle) -> str:
    order = came.execution.order
    if order is None:
        return "-"
    executed = order.executed_qty
    if not executed:
        return order.state.value
    price = f"{average_price(order.quote_qty, executed):.8g}"
    return f"{text(executed)} @ {price.rstrip('0').rstrip('.') if '.' in price else price}"


def _line(stamp: str, trace: str, proposal: str, verdict: str, fill: str, width: int) -> str:
    room = max(_LEAST, width - _FIXED)
    if len(proposal) > room:
        proposal = proposal[: room - 1] + "~"
    return f"{stamp:<{_TIME}} {trace:<{_TRACE}} {proposal:<{room}} {verdict:<{_VERDICT}} {fill}".rstrip()


def cycle_document(came: Cycle, dry_run: bool) -> dict[str, Any]:
    """The whole cycle."""
    return {
        "schema": "trader.cycle/1",
        "trace_id": came.trace_id,
        "ts_utc": iso(came.plan.at),
        "dry_run": dry_run,
        "trading": "blocked" if came.unsettled else "open",
        "state": came.state.name,
        "changes": list(came.changes),
        "upstream": came.upstream,
        "misconfigured": came.misconfigured,
        "fallback": None if came.fallback is None else came.fallback.cause,
        "cost_usd": text(came.cost_usd),
        "unsettled": [order_document(order) for order in came.unsettled],
        "plan": plan_document(came.plan, None, dry_run),
        "proposal": proposal_document(came.proposal, None, dry_run),
        "verdict": verdict_document(came.verdict, dry_run),
        "execution": execution_document(came.verdict, came.execution, dry_run),
        "snapshot": snapshot_document(came.snapshot, dry_run) if came.snapshot else None,
    }


def waiting_line(due: Moment, left_secs: int, taken: Snapshot | None, trades: int) -> str:
    """What a loop waits for, in one line: the next cycle (UTC, on the wall), equity, the trades of this run."""
    words = [f"next {iso(due)[11:19]}Z in {left_secs // 60}m{left_secs % 60:02d}s"]
    if taken is not None:
        words.append(f"equity {taken.equity:.2f} ({gain_pct(taken.equity, taken.book.deposits)} %)")
    words.append(f"{trades} trade{'s' * (trades != 1)} in this run")
    return " | ".join([*words, "Ctrl-C stops"])
