"""snapshot: mark the book to the market and write it down, with what the exchange holds beyond it."""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core import accounting
from trader_cli.core.decimals import ZERO, sub
from trader_cli.core.errors import UpstreamError
from trader_cli.phases.desk import Desk, seen_by
from trader_cli.schemas.book import Balances, Book, Snapshot
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.market import Observation, Window
from trader_cli.schemas.planner import Plan


def snapshot(desk: Desk, trace_id: str | None = None) -> Snapshot:
    """The book at the last close. Without a trace it belongs to the newest one that lacks a snapshot.

    Raises UpstreamError when a position cannot be marked because no price is known.
    """
    now = desk.clock.now()
    market = desk.exchange.market()
    last = desk.ledger.last_snapshot()
    plan = desk.ledger.newest_plan()
    seen = seen_by(desk, plan.observation_id if plan else None, plan.trace_id if plan else "", now)
    held = _held(desk, plan, seen)
    with desk.ledger.transaction() as tx:
        book = desk.ledger.book(market.base, market.quote)
        mark = _mark(seen.window, last, book)
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
            drift_base=None if held is None else sub(held.base, book.base),
            drift_quote=None if held is None else sub(held.quote, book.quote),
        )
        desk.ledger.snapshot_portfolio(tx, taken)
    return desk.ledger.last_snapshot() or taken


def _held(desk: Desk, plan: Decision[Plan] | None, seen: Observation) -> Balances | None:
    """What the account holds now: asked anew if this trace sent an order, else as it was seen."""
    if plan is None or desk.ledger.order_of_trace(plan.trace_id) is not None:
        try:
            return desk.exchange.balances()
        except UpstreamError:
            return None
    if seen.base_balance is None or seen.quote_balance is None:
        return None
    return Balances(seen.base_balance, seen.quote_balance)


def _mark(window: Window, last: Snapshot | None, book: Book) -> Decimal:
    """The last close; the mark before, when there is none or when the newest bar is an absurd jump."""
    newest = window.candles[-1].opened_at if window.candles else None
    jumped = any(defect.kind == "absurd" and defect.at == newest for defect in window.defects)
    if last is not None and (jumped or window.price is None):
        return last.mark_price
    if window.price is not None:
        return window.price
    if book.base == ZERO:
        return ZERO  # nothing is held: there is nothing to mark
    raise UpstreamError("no sound candle gives a price to mark the position to", "Look: trader plan --dry-run")


def _unfinished(desk: Desk, plan: Decision[Plan] | None) -> str | None:
    return None if plan is None or desk.ledger.has_snapshot(plan.trace_id) else plan.trace_id
