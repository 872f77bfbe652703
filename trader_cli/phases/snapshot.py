"""snapshot: mark the book to the market and write it down, with what the exchange holds beyond it."""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core import accounting
from trader_cli.core.decimals import sub
from trader_cli.core.errors import UpstreamError
from trader_cli.phases.desk import Desk, seen_by
from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.market import Window
from trader_cli.schemas.planner import Plan


def snapshot(desk: Desk, trace_id: str | None = None) -> Snapshot:
    """The book at the last close. Without a trace it belongs to the newest one that lacks a snapshot.

    Raises UpstreamError when no price is known.
    """
    now = desk.clock.now()
    market = desk.exchange.market()
    held = desk.exchange.balances()
    last = desk.ledger.last_snapshot()
    plan = desk.ledger.newest_plan()
    seen = seen_by(desk, plan.observation_id if plan else None, plan.trace_id if plan else "", now)
    mark = _mark(seen.window, last)
    if mark is None:
        raise UpstreamError("no sound candle gives a price to mark the book to", "Look: trader plan --dry-run")
    with desk.ledger.transaction() as tx:
        book = desk.ledger.book(market.base, market.quote)
        equity = accounting.equity(book, mark)
        taken = Snapshot(
            id=None,
            trace_id=trace_id or _unfinished(desk, plan),
            at=now,
            symbol=market.symbol,
            book=book,
            mark_price=mark,
            unrealized=accounting.unrealized(book, mark),
            equity=equity,
            peak=max(equity, last.peak) if last else equity,
            drift_base=sub(held.base, book.base),
            drift_quote=sub(held.quote, book.quote),
        )
        desk.ledger.snapshot_portfolio(tx, taken)
    return desk.ledger.last_snapshot() or taken


def _mark(window: Window, last: Snapshot | None) -> Decimal | None:
    """The last close; the mark before, when there is none or when the newest bar is an absurd jump."""
    newest = window.candles[-1].opened_at if window.candles else None
    jumped = any(defect.kind == "absurd" and defect.at == newest for defect in window.defects)
    if last is not None and (jumped or window.price is None):
        return last.mark_price
    return window.price


def _unfinished(desk: Desk, plan: Decision[Plan] | None) -> str | None:
    return None if plan is None or desk.ledger.has_snapshot(plan.trace_id) else plan.trace_id
