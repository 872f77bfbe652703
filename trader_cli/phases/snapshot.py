"""snapshot: mark the book to the market and write it down, with what the exchange holds beyond it."""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core import accounting
from trader_cli.core.decimals import ZERO, div, mul, sub
from trader_cli.core.errors import UpstreamError
from trader_cli.phases.desk import Desk, seen_by
from trader_cli.schemas.book import Balances, Book, Snapshot
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.market import JUMP, Observation, Window
from trader_cli.schemas.planner import Plan


def snapshot(desk: Desk, trace_id: str | None = None) -> Snapshot:
    """The book at the last close. Without a trace it belongs to the newest one that lacks a snapshot."""
    now = desk.clock.now()
    market = desk.market()
    last = desk.ledger.last_snapshot()
    plan = desk.ledger.newest_plan()
    seen = seen_by(desk, plan.observation_id if plan else None, plan.trace_id if plan else "", now)
    held = _held(desk, plan, seen)
    with desk.ledger.transaction() as tx:
        seen = seen if seen.id is not None else desk.ledger.log_observation(tx, seen)
        book = desk.ledger.book(market.base, market.quote)
        mark = _mark(seen.window, last, book)
        peak = last.peak if last else book.deposits
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
            peak=peak if seen.window.absurd else max(equity, peak),
            drift_base=None if held is None else sub(held.base, book.base),
            drift_quote=None if held is None else sub(held.quote, book.quote),
        )
        desk.ledger.snapshot_portfolio(tx, taken)
    return desk.ledger.last_snapshot() or taken


def _held(desk: Desk, plan: Decision[Plan] | None, seen: Observation) -> Balances | None:
    """What the account holds now: asked anew if an order came after the look, else as it was seen."""
    if plan is None or desk.ledger.ordered_since(seen.id):
        try:
            return desk.exchange.balances()
        except UpstreamError:
            return None
    if seen.base_balance is None or seen.quote_balance is None:
        return None
    return Balances(seen.base_balance, seen.quote_balance)


def _mark(window: Window, last: Snapshot | None, book: Book) -> Decimal:
    """The last close, if it can be believed: not absent, and not far from the last mark beside an absurd jump.

    Else the last mark; with none, what the position cost.
    """
    before = last.mark_price if last is not None and last.mark_price > ZERO else None
    price = window.price
    if price is not None and (before is None or not window.absurd or _near(price, before)):
        return price
    if before is not None:
        return before
    return ZERO if book.base <= ZERO else div(book.cost, book.base)


def _near(price: Decimal, before: Decimal) -> bool:
    return before <= mul(price, JUMP) and price <= mul(before, JUMP)


def _unfinished(desk: Desk, plan: Decision[Plan] | None) -> str | None:
    return None if plan is None or desk.ledger.has_snapshot(plan.trace_id) else plan.trace_id
