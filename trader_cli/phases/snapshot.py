"""snapshot: mark the book to the market and write it down, with what the exchange holds beyond it.

Where it shows that a limit of the account is reached, the law's change of the trading state is in the same commit.
"""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core import accounting
from trader_cli.core.brakes import Kept, brake
from trader_cli.core.decimals import ZERO, div, mul, sub
from trader_cli.core.errors import UpstreamError
from trader_cli.core.limits import sellable
from trader_cli.phases.desk import Desk, seen_by
from trader_cli.schemas.book import Balances, Book, Snapshot
from trader_cli.schemas.decision import LAW, Decision
from trader_cli.schemas.market import JUMP, Market, Observation, Window
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.situation import History
from trader_cli.tools.store import Transaction


def snapshot(desk: Desk, trace_id: str | None = None) -> Snapshot:
    """The book at the last close. Without a trace it belongs to the newest one that lacks a snapshot."""
    now = desk.clock.now()
    market = desk.market()
    last = desk.ledger.last_snapshot()
    plan = desk.ledger.newest_plan()
    seen = seen_by(desk, plan.observation_id if plan else None, plan.trace_id if plan else "", now)
    ends = trace_id or _unfinished(desk, plan)
    held = _held(desk, seen, by_itself=ends is None)
    with desk.ledger.transaction() as tx:
        seen = seen if seen.id is not None else desk.ledger.log_observation(tx, seen)
        book = desk.ledger.book(market.base, market.quote)
        mark = _mark(seen.window, last, book)
        before = desk.ledger.history(now)
        peak = book.deposits if before.peak_equity is None else before.peak_equity
        equity = accounting.equity(book, mark)
        taken = Snapshot(
            id=None,
            trace_id=ends,
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
        if _believed(seen.window):
            _brake(desk, tx, market, before, taken)
    return desk.ledger.last_snapshot() or taken


def _believed(window: Window) -> bool:
    """Whether a window's last price may stop trading by what it makes the account worth."""
    return window.price is not None and not window.absurd and window.unavailable is None


def _brake(desk: Desk, tx: Transaction, market: Market, before: History, taken: Snapshot) -> None:
    """The law's own change of the trading state, where the account that the snapshot shows demands one."""
    flat = not desk.ledger.open_orders() and not sellable(market, taken.mark_price, taken.book.base, margin=ZERO)
    kept = Kept(*desk.ledger.trading_state(), desk.ledger.braked())
    for step in brake(kept, desk.limits, before, taken, flat):
        content = {"from": step.start.name, "to": step.to.name, "reason": step.reason, "by": LAW}
        desk.ledger.log_event(tx, "STATE", content, taken.at, taken.trace_id)


def _held(desk: Desk, seen: Observation, by_itself: bool) -> Balances | None:
    """What of the account is ours. After an order one that ends no trace asks anew; else the next look tells."""
    if not desk.ledger.ordered_since(seen.id):
        if seen.base_balance is None or seen.quote_balance is None:
            return None
        held = Balances(seen.base_balance, seen.quote_balance)
    elif by_itself:
        try:
            held = desk.exchange.balances()
        except UpstreamError:
            return None
    else:
        return None
    foreign = desk.ledger.foreign() or Balances(ZERO, ZERO)
    return Balances(sub(held.base, foreign.base), sub(held.quote, foreign.quote))


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
