"""trader status: where we stand."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.options import Globals, command
from trader_cli.core.limits import in_force
from trader_cli.core.moments import iso
from trader_cli.phases.cycle import account_trouble, due_at
from trader_cli.phases.record import FAILING
from trader_cli.tools.clock import wall_now
from trader_cli.tools.queries import cycle_count
from trader_cli.views.status import short_line, status_lines
from trader_cli.wiring import open_reader, operator_stop

Short = Annotated[
    bool, typer.Option("--short", metavar="", help="One line of at most 80 columns, for tmux or a prompt.")
]


@command
def status(g: Globals, short: Short = False) -> None:
    """State, position, equity, open orders, and when the next cycle is due. Read-only.

    Example: set -g status-right '#(trader status --short)'
    """
    settings = g.settings()
    with open_reader(settings) as ledger:
        pinned = ledger.identity()
        state, cause = in_force(ledger.trading_state(), operator_stop(settings).state())
        plan, taken, due = ledger.newest_plan(), ledger.last_snapshot(), due_at(ledger)
        waiting = ledger.open_orders()
        count = cycle_count(ledger)
        failing, failure = ledger.failing()
        accepted = ledger.last_event("ACCEPTED")
        now = wall_now()
        spent = ledger.spent_on(now)
    differs = None if plan is None or (accepted and accepted[0] >= plan.at) else account_trouble(plan)
    document = {
        "schema": "trader.status/1",
        "ledger": str(settings.db_path),
        "mode": pinned.get("mode"),
        "symbol": pinned.get("symbol"),
        "market": pinned.get("market"),
        "state": state.name,
        "cause": cause,
        "cycles": count,
        "last_cycle_at": None if plan is None else iso(plan.at),
        "last_cycle_wall_at": None if plan is None else iso(plan.wall_at),
        "last_trace_id": None if plan is None else plan.trace_id,
        "next_due_wall_at": None if due is None else iso(due),
        "next_due_secs": None if due is None else (due - now) // 1000,
        "is_due": due is None or now >= due,
        "account_differs": differs,
        "models_failing_cycles": failing,
        "models_failing": failing >= FAILING,
        "models_failure": failure,
        "model_cost_today_usd": spent,
        "model_budget_usd_per_day": settings.model_budget_usd_per_day,
        "unsettled_orders": [order.intent.client_order_id for order in waiting],
        "equity": None if taken is None else taken.equity,
        "quote": None if taken is None else taken.book.quote,
        "base": None if taken is None else taken.book.base,
        "deposits": None if taken is None else taken.book.deposits,
        "realized_pnl": None if taken is None else taken.book.realized,
        "unrealized_pnl": None if taken is None else taken.unrealized,
        "peak_equity": None if taken is None else taken.peak,
    }
    g.out.record(document, [short_line(document)] if short else status_lines(document))
