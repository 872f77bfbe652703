"""What other programs take from a ledger, row by row, oldest first: tables as they are, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, div, sub, text
from trader_cli.core.errors import UsageError
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.book import Book
from trader_cli.schemas.lot import Lot
from trader_cli.tools import queries
from trader_cli.tools.accounts import changed, lotted
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.migrations import CHAINED

Row = dict[str, Any]

TABLES = (*CHAINED, "audit_chain", "open_orders")
_TIME = {"candles": "opened_at"}
_TIMELESS = ("meta", "prompts", "terms", "audit_chain", "open_orders")
_INDEXED = ("decisions", "portfolio", "trades", "orders")
"""Tables with an index over market time."""


@dataclass(frozen=True, slots=True)
class Span:
    """Market time, ms UTC: from the first moment on, before the second."""

    since: Moment | None = None
    until: Moment | None = None

    def holds(self, at: str) -> bool:
        """Whether a time as the ledger writes it lies within."""
        return (self.since is None or at >= iso(self.since)) and (self.until is None or at < iso(self.until))


def columns(ledger: Ledger, what: str) -> list[str]:
    """The columns of an export, in order. Raises UsageError for what there is none of."""
    if what in _MADE:
        return list(_MADE[what].columns) or [*_names(ledger, what), *_ADDED[what]]
    if what in TABLES:
        return _names(ledger, what)
    near = get_close_matches(what, WHAT, 1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    raise UsageError(f'there is no export "{what[:60]}".{meant}', f"One of: {', '.join(WHAT)}")


def export(ledger: Ledger, what: str, span: Span) -> Iterator[Row]:
    """The rows of a table or of what is made from them, as they are read. Raises UsageError."""
    columns(ledger, what)
    if what in _MADE:
        return _MADE[what].rows(ledger, span)
    if what in _TIMELESS and span != Span():
        raise UsageError(f'"{what}" has no market time', "Leave --since and --until out.")
    return _table(ledger, what, span)


def _names(ledger: Ledger, table: str) -> list[str]:
    return [row[1] for row in ledger.db.execute(f"PRAGMA table_info({table})")]


def _table(ledger: Ledger, table: str, span: Span) -> Iterator[Row]:
    return _select(ledger, f"SELECT r.* FROM {table} AS r", table, span)


def _select(ledger: Ledger, sql: str, table: str, span: Span) -> Iterator[Row]:
    """Rows of `sql`, whose table is `r`, in the order they were written; of a span, in the order of time."""
    key = {"audit_chain": "r.seq", "open_orders": "r.client_order_id"}.get(table, "r.id")
    bounds = ((">=", span.since), ("<", span.until))
    values = [iso(at) for _, at in bounds if at is not None]
    time = f"r.{_TIME.get(table, 'ts_utc')}"
    indexed = bool(values) and table in _INDEXED
    terms = " AND ".join(f"{'' if indexed else '+'}{time} {sign} ?" for sign, at in bounds if at is not None)
    sql += (f" WHERE {terms}" if terms else "") + f" ORDER BY {f'{time}, ' if indexed else ''}{key}"
    cursor = ledger.db.execute(sql, values)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


# --- made from tables ----------------------------------------------------------------------------


def _decisions(ledger: Ledger, span: Span) -> Iterator[Row]:
    said = ", ".join(f"json_extract(r.payload_json, '$.{name}') AS {name}" for name in _ADDED["decisions"])
    return _select(ledger, f"SELECT r.*, {said} FROM decisions AS r", "decisions", span)


def _trades(ledger: Ledger, span: Span) -> Iterator[Row]:
    """Each trade with its policy, its fee in quote, and what it realized at average cost."""
    realized = _realized(ledger)
    sql = (
        "SELECT r.*, json_extract(t.payload_json, '$.policy_id') AS policy, "
        "json_extract(t.payload_json, '$.hypothesis') AS hypothesis "
        "FROM trades AS r LEFT JOIN decisions AS t ON t.id = r.proposal_id"
    )
    for row in _select(ledger, sql, "trades", span):
        fee, gain = realized.get(row["idempotency_key"], (ZERO, ZERO))
        yield {**row, "fee_quote": text(fee), "realized_pnl": text(gain)}


def _realized(ledger: Ledger) -> dict[str, tuple[Decimal, Decimal]]:
    """The fees in quote and the realized profit of each order: two numbers for each order that was filled."""
    base, quote = _currencies(ledger)
    book = Book()
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for change in ledger.changes():
        before, book = book, changed(book, change, base, quote)
        if change.fill is not None:
            fee, gain = found.get(change.order, (ZERO, ZERO))
            found[change.order] = add(fee, change.fill.fee_quote), add(gain, sub(book.realized, before.realized))
    return found


def _lots(ledger: Ledger, span: Span) -> Iterator[Row]:
    """Closed lots in the order they were closed, then the open ones; FIFO, as core/lots.py. A lot belongs to the
    policy that bought it, and to a span by the time it was closed, or opened if it still is."""
    base, quote = _currencies(ledger)
    book, held = Book(), tuple[Lot, ...]()
    policies: dict[str, str | None] = {}
    for change in ledger.changes():
        if change.order and change.order not in policies:
            policies[change.order] = policy_of(ledger, change.order)
        book = changed(book, change, base, quote)
        held, closed = lotted(held, change, book, base, quote)
        for one in closed:
            if span.holds(iso(one.closed_at)):
                yield {
                    "state": "closed", "opened_at": iso(one.opened_at), "closed_at": iso(one.closed_at),
                    "holding_secs": (one.closed_at - one.opened_at) // 1000, "qty": text(one.qty),
                    "cost": text(one.cost), "proceeds": text(one.proceeds), "profit": text(one.profit),
                    "return": text(div(one.profit, one.cost)) if one.cost > ZERO else None,
                    "policy": policies.get(one.opened_by), "opened_by": one.opened_by, "closed_by": one.closed_by,
                }  # fmt: skip
        kept = {lot.client_order_id for lot in held}
        policies = {key: policy for key, policy in policies.items() if key in kept}
    for lot in held:
        if span.holds(iso(lot.opened_at)):
            yield {
                **dict.fromkeys(_MADE["lots"].columns), "state": "open", "opened_at": iso(lot.opened_at),
                "qty": text(lot.qty), "cost": text(lot.cost), "policy": policies.get(lot.client_order_id),
                "opened_by": lot.client_order_id,
            }  # fmt: skip


def _returns(ledger: Ledger, span: Span) -> Iterator[Row]:
    """One row per UTC day with a snapshot: r = (E - F) / E0 - 1, where E is the day's last equity, F what was paid in
    or out since the row before (at the day's end), and E0 the equity of the row before, on the first day the deposits.
    Rounded half-even to 1e-12; empty where E0 is not above zero. The form of quantstats and pyfolio: a day, a ratio."""
    before: tuple[Decimal, Decimal] | None = None
    for day, equity, deposits in _days(ledger):
        base, flow = (deposits, ZERO) if before is None else (before[0], sub(deposits, before[1]))
        before = equity, deposits
        if not span.holds(f"{day}T00:00:00.000Z"):
            continue
        gained = text(sub(div(sub(equity, flow), base), Decimal(1))) if base > ZERO else None
        yield {"date": day, "return": gained, "equity": text(equity), "deposits": text(deposits)}


def _days(ledger: Ledger) -> Iterator[tuple[str, Decimal, Decimal]]:
    """The last equity and the deposits of each UTC day, in order; each day is found by the index over time."""
    day = ledger.db.execute("SELECT substr(min(ts_utc), 1, 10) FROM portfolio").fetchone()[0]
    while day is not None:
        last = f"{day}T23:59:59.999Z"
        equity, deposits = ledger.db.execute(
            "SELECT equity_usdt, deposits_usdt FROM portfolio WHERE ts_utc <= ? ORDER BY ts_utc DESC, id DESC LIMIT 1",
            (last,),
        ).fetchone()
        yield day, dec(equity), dec(deposits)
        day = ledger.db.execute(
            "SELECT substr(min(ts_utc), 1, 10) FROM portfolio WHERE ts_utc > ?", (last,)
        ).fetchone()[0]


def _cycles(ledger: Ledger, span: Span) -> Iterator[Row]:
    """In the order they were written; a span begins at the first decision of its time."""
    first = 0
    if span.since is not None:
        (found,) = ledger.db.execute("SELECT min(id) FROM decisions WHERE ts_utc >= ?", (iso(span.since),)).fetchone()
        if found is None:
            return
        first = found - 1
    yield from (row for row in queries.cycles_after(ledger, first) if span.holds(row["ts_utc"]))


def _currencies(ledger: Ledger) -> tuple[str, str]:
    base, _, quote = (ledger.identity().get("symbol") or "/").partition("/")
    return base, quote


def policy_of(ledger: Ledger, client_order_id: str) -> str | None:
    """The policy that proposed an order; None for one that nobody proposed."""
    row = ledger.db.execute(
        "SELECT json_extract(t.payload_json, '$.policy_id') FROM orders AS o "
        "LEFT JOIN decisions AS t ON t.id = o.proposal_id WHERE o.client_order_id = ?",
        (client_order_id,),
    ).fetchone()
    return None if row is None else row[0]


@dataclass(frozen=True, slots=True)
class _Made:
    """An export that is no table: its rows, and its columns unless they are a table's and `_ADDED`."""

    rows: Callable[[Ledger, Span], Iterator[Row]]
    columns: tuple[str, ...] = ()


_ADDED = {
    "decisions": (
        *("mode", "explore_ratio", "next_wakeup_secs", "action", "qty", "confidence", "policy_id", "hypothesis"),
        *("decision", "revised_qty", "notes"),
    ),
    "trades": ("policy", "hypothesis", "fee_quote", "realized_pnl"),
}
_MADE = {
    "cycles": _Made(
        _cycles,
        (
            *("plan_id", "ts_utc", "trace_id", "mode", "action", "qty", "confidence", "policy", "verdict", "fallback"),
            *("order_state", "filled", "price", "fee", "fee_asset", "equity", "proposal_id", "verdict_id", "wall_ts"),
            "why",
        ),
    ),
    "trades": _Made(_trades),
    "returns": _Made(_returns, ("date", "return", "equity", "deposits")),
    "lots": _Made(
        _lots,
        (
            *("state", "opened_at", "closed_at", "holding_secs", "qty", "cost", "proceeds", "profit", "return"),
            *("policy", "opened_by", "closed_by"),
        ),
    ),
    "decisions": _Made(_decisions),
}
WHAT = tuple(dict.fromkeys((*_MADE, *TABLES)))
"""Everything that can be exported."""
