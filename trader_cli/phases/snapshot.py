"""snapshot: mark the book to the market and write it down, with what the exchange holds beyond it.

In the same commit: what sales taught since the last one, and where a limit of the account is reached, the law's change
of the trading state.
"""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core import accounting
from trader_cli.core.brakes import Kept, brake
from trader_cli.core.decimals import ZERO, div, mul, sub
from trader_cli.core.errors import UpstreamError
from trader_cli.core.limits import sellable
from trader_cli.core.moments import Moment
from trader_cli.phases.desk import Desk, seen_by
from trader_cli.schemas.book import Balances, Book, Snapshot
from trader_cli.schemas.decision import LAW, Decision
from trader_cli.schemas.market import JUMP, Market, Observation, Window
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.situation import Limits
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.logs import on_trace
from trader_cli.tools.memory import write_experiments


def snapshot(desk: Desk, trace_id: str | None = None) -> Snapshot:
    """The book at the last close. Without a trace it belongs to the newest one that lacks a snapshot."""
    on_trace(trace_id)
    now = desk.clock.now()
    market = desk.market()
    plan = desk.ledger.newest_plan()
    seen = seen_by(desk, plan.observation_id if plan else None, plan.trace_id if plan else "", now)
    ends = trace_id or _unfinished(desk, plan)
    held = _held(desk, seen, by_itself=ends is None)
    with desk.ledger.transaction() as tx:
        seen = seen if seen.id is not None else desk.ledger.log_observation(tx, seen)
        taken = marked(desk.ledger, seen, now, market, (ends, held))
        turns = braking(desk.ledger, seen, market, desk.limits, taken)
        desk.ledger.snapshot_portfolio(tx, taken, desk.ledger.log_terms(tx, market, desk.costs, desk.limits))
        write_experiments(desk.ledger, tx)
        for turn in turns:
            desk.ledger.log_event(tx, "STATE", turn, now, ends)
    return desk.ledger.last_snapshot() or taken


def marked(
    ledger: Ledger, seen: Observation, now: Moment, market: Market, ending: tuple[str | None, Balances | None]
) -> Snapshot:
    """The book as it stands, marked to what was seen; `ending` is the trace it ends and what of the account is ours."""
    ends, held = ending
    book = ledger.book(market.base, market.quote)
    mark = _mark(seen.window, ledger.last_snapshot(), book)
    before = ledger.history(now).peak_equity
    peak = book.deposits if before is None else before
    equity = accounting.equity(book, mark)
    return Snapshot(
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


def braking(
    ledger: Ledger, seen: Observation, market: Market, limits: Limits, taken: Snapshot
) -> tuple[dict[str, str], ...]:
    """The law's own changes of the trading state, where the account that the snapshot shows demands them."""
    if not _believed(seen.window):
        return ()
    flat = not ledger.open_orders() and not sellable(market, taken.mark_price, taken.book.base, margin=ZERO)
    kept = Kept(*ledger.trading_state(), ledger.braked())
    steps = brake(kept, limits, ledger.history(taken.at), taken, flat)
    return tuple({"from": step.start.name, "to": step.to.name, "reason": step.reason, "by": LAW} for step in steps)


def _believed(window: Window) -> bool:
    """Whether a window's last price may stop trading by what it makes the account worth."""
    return window.price is not None and not window.absurd and window.unavailable is None


def _held(desk: Desk, seen: Observation, by_itself: bool) -> Balances | None:
    """What of the account is ours. After an order one that ends no trace asks anew; else the next look tells."""
    if not by_itself or not desk.ledger.ordered_since(seen.id):
        return ours(desk.ledger, seen)
    try:
        return _without_foreign(desk.ledger, desk.exchange.balances())
    except UpstreamError:
        return None


def ours(ledger: Ledger, seen: Observation) -> Balances | None:
    """What of the account that was seen is ours; None where it was not seen, or an order came after that."""
    if seen.base_balance is None or seen.quote_balance is None or ledger.ordered_since(seen.id):
        return None
    return _without_foreign(ledger, Balances(seen.base_balance, seen.quote_balance))


def _without_foreign(ledger: Ledger, held: Balances) -> Balances:
    foreign = ledger.foreign() or Balances(ZERO, ZERO)
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
