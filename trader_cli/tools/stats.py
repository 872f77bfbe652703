"""How much a ledger holds: rows, bytes, who decided what, what it cost. Fast at any size: no table is read whole."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, mul
from trader_cli.schemas.question import Agent
from trader_cli.tools.ledger import Ledger


def stats(ledger: Ledger) -> dict[str, Any]:
    """Figures by name. Rows of a table are its highest id, for no row is ever deleted; money in USD as Decimal."""
    rows = {table: _one(ledger, f"SELECT coalesce(max(id), 0) FROM {table}") for table in ledger.tables}
    rows["audit_chain"] = _one(ledger, "SELECT coalesce(max(seq), 0) FROM audit_chain")
    agents = {
        agent.value: _one(ledger, "SELECT count(*) FROM decisions WHERE agent = ?", agent.value) for agent in Agent
    }
    cycles = agents[Agent.PLANNER.value]
    size = _one(ledger, "PRAGMA page_count") * _one(ledger, "PRAGMA page_size")
    return {
        "bytes": size,
        "bytes_per_1000_cycles": size * 1000 // cycles if cycles else None,
        "cycles": cycles,
        "first_at": _one(ledger, "SELECT min(ts_utc) FROM decisions"),
        "last_at": _one(ledger, "SELECT max(ts_utc) FROM decisions"),
        "decisions": agents,
        "fallbacks": _one(ledger, "SELECT count(*) FROM decisions WHERE source = 'fallback'"),
        "failed_calls": _one(ledger, "SELECT count(*) FROM model_calls WHERE status <> 'ok'"),
        "trades": {side: _one(ledger, "SELECT count(*) FROM trades WHERE side = ?", side) for side in ("BUY", "SELL")},
        "unsettled_orders": _one(ledger, "SELECT count(*) FROM open_orders"),
        "model_cost_usd": _cost(ledger),
        "rows": rows,
    }


def _cost(ledger: Ledger) -> Decimal:
    """What all model calls cost, in USD; calls that cost nothing are not looked at."""
    total = ZERO
    for cost, calls in ledger.db.execute(
        "SELECT cost_usd, count(*) FROM model_calls WHERE cost_usd <> '0' GROUP BY cost_usd"
    ):
        total = add(total, mul(dec(cost), Decimal(calls)))
    return total


def _one(ledger: Ledger, sql: str, *values: str) -> Any:
    return ledger.db.execute(sql, values).fetchone()[0]
