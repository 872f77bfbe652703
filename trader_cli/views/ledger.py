"""The audit screens: cycles in a table or as they come."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from trader_cli.views.output import Column, cell, clean, significant

Rows = Sequence[dict[str, Any]]


def _price(value: str) -> str:
    return significant(value, 8)


def _money(value: str) -> str:
    return f"{Decimal(value):.2f}"


def _confidence(value: float) -> str:
    return f"{value:.2f}"


def _stamp(value: str) -> str:
    return value[5:16].replace("T", " ")


def _trace(value: str) -> str:
    return value[:8]


_TIME = Column("ts_utc", "TIME (UTC)", brief=_stamp)
_TRACE = Column("trace_id", "TRACE", brief=_trace)

CYCLES = (
    _TIME,
    _TRACE,
    Column("mode", "MODE", gives_way=4),
    Column("action", "ACTION"),
    Column("qty", "QTY", number=True, brief=lambda value: "-" if value == "0" else value),
    Column("confidence", "CONF", number=True, brief=_confidence, gives_way=7),
    Column("policy", "POLICY", gives_way=3),
    Column("verdict", "VERDICT"),
    Column("fallback", "FALLBACK", gives_way=1, sparse=True),
    Column("order_state", "ORDER", gives_way=7),
    Column("filled", "FILLED", number=True, gives_way=8),
    Column("price", "PRICE", number=True, brief=_price, gives_way=2),
    Column("equity", "EQUITY", number=True, brief=_money, gives_way=3),
    Column("why", "WHY", fills=True, gives_way=6),
)
"""What gives way first on a narrow terminal has the highest number; a pipe gets all of it. `fallback` names the
agent that gave no usable answer: what stands there is the safe answer, and nobody decided it."""

DECISIONS = (
    _TIME,
    _TRACE,
    Column("id", "ID", number=True, gives_way=4),
    Column("agent", "AGENT", gives_way=5),
    Column("said", "SAID"),
    Column("qty", "QTY", number=True),
    Column("confidence", "CONF", number=True, brief=_confidence, gives_way=3),
    Column("policy", "POLICY", gives_way=2),
    Column("source", "SOURCE"),
    Column("why", "WHY", fills=True, gives_way=1),
)

TRADES = (
    _TIME,
    _TRACE,
    Column("side", "SIDE"),
    Column("qty", "QTY", number=True),
    Column("price", "PRICE", number=True),
    Column("quote_qty", "WORTH", number=True, brief=_money, gives_way=2),
    Column("fee", "FEE", number=True, gives_way=1),
    Column("fee_asset", "IN", gives_way=1),
    Column("status", "STATUS", gives_way=5),
    Column("policy", "POLICY", gives_way=3),
    Column("symbol", "SYMBOL", gives_way=6),
    Column("why", "WHY", fills=True, gives_way=4),
)

ERRORS = (
    _TIME,
    _TRACE,
    Column("kind", "KIND"),
    Column("who", "WHO", gives_way=1),
    Column("message", "MESSAGE", fills=True),
)

DOCUMENTS = {
    CYCLES: ("trader.cycles/1", "cycles"),
    DECISIONS: ("trader.decisions/1", "decisions"),
    TRADES: ("trader.trades/1", "trades"),
    ERRORS: ("trader.failures/1", "failures"),
}
"""The schema of each list as a JSON document, and the key of its rows."""

_MORE = {
    CYCLES: ("fee", "fee_asset", "plan_id", "proposal_id", "verdict_id", "wall_ts"),
    DECISIONS: ("model_call_id", "prompt_sha256", "wall_ts"),
    TRADES: ("id", "client_order_id", "exchange_order_id", "wall_ts"),
    ERRORS: ("table_name", "row_id"),
}


def wide(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The same columns and more of them."""
    return (*columns, *(Column(key) for key in _MORE[columns]))


def upright(columns: tuple[Column, ...], row: dict[str, Any]) -> list[str]:
    """A row as a line per value, each whole: for more columns than a terminal has room for."""
    return [f"{column.key:<17} {'-' if (value := row.get(column.key)) is None else cell(value)}" for column in columns]


_TAIL = "{:<11} {:<8} {:<16} {:<7} {:<18} {:>9}  {}"


def tail_header(width: int) -> str:
    """The names of `tail_line`'s columns."""
    return _TAIL.format("TIME (UTC)", "TRACE", "ACTION", "VERDICT", "FILL", "EQUITY", "WHY")[:width].rstrip()


def tail_line(row: dict[str, Any], width: int) -> str:
    """A cycle on one line of a terminal, cut to fit `width`; what a fallback answered is called one."""
    action = "OBSERVE" if row["mode"] == "OBSERVE" else row["action"] or "-"
    if row["fallback"]:
        action += " fallback"
    elif row["action"] in ("BUY", "SELL"):
        action += f" {row['qty']}"
    fill = f"{row['filled']} @ {_price(row['price'])}" if row["filled"] else row["order_state"] or "-"
    equity = "-" if row["equity"] is None else _money(row["equity"])
    stamp, trace, why = _stamp(row["ts_utc"]), _trace(row["trace_id"]), clean(row["why"] or "")
    line = _TAIL.format(stamp, trace, action, row["verdict"] or "-", fill, equity, why).rstrip()
    return line if len(line) <= width else line[: width - 1] + "~"
