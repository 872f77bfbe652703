"""Whose profit it was: round trips, policies, models, and whether stated confidence was worth what it said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from trader_cli.core.calibration import LEVEL, calibration, wilson
from trader_cli.core.decimals import ZERO, add, dec, div, mul, sub
from trader_cli.core.experiments import whole_lots
from trader_cli.core.moments import iso
from trader_cli.core.student import quantile
from trader_cli.schemas.book import Book
from trader_cli.schemas.lot import Lot
from trader_cli.schemas.memory import Experiment
from trader_cli.schemas.order import Side
from trader_cli.schemas.performance import Calibrated, ModelShare, PolicyShare, Ratio, Trips
from trader_cli.tools.accounts import FILL, changed, lotted
from trader_cli.tools.exports import Span, policy_of
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import all_learnt, still_held


def ended_trips(ledger: Ledger, span: Span) -> list[Experiment]:
    """The round trips that ended in a span, as memory holds them."""
    held = {one.opened_by for one in still_held(ledger)}
    lots = whole_lots((one.experiment for one in all_learnt(ledger)), held)
    return [one for one in lots if span.holds(iso(one.closed_at))]


def trips(lots: Sequence[Experiment]) -> Trips:
    """What round trips came to."""
    n, won = len(lots), sum(one.won for one in lots)
    if not n:
        return Trips()
    gains, losses = add(*(one.net for one in lots if one.won)), add(*(one.net for one in lots if not one.won))
    factor = float(gains) / -float(losses) if losses < ZERO else None
    edges = [one.net_bp for one in lots if one.net_bp is not None]
    rate = Ratio(n, won / n, *wilson(won, n))
    return Trips(n, won, rate, factor, div(add(gains, losses), Decimal(n)), _mean(edges))


def _mean(values: Sequence[float]) -> Ratio:
    """A mean with its interval by Student's t; from two values on."""
    n = len(values)
    if n < 2:
        return Ratio(n, values[0] if values else None)
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    reach = quantile(0.5 + LEVEL / 2, n - 1) * deviation / math.sqrt(n)
    return Ratio(n, mean, mean - reach, mean + reach)


def calibrated(lots: Sequence[Experiment]) -> Calibrated:
    """How the confidence of what was bought stood up."""
    found = calibration((one.confidence, one.won) for one in lots if one.confidence is not None)
    return Calibrated(found.n, found.brier, tuple((b.low, b.high, b.n, b.said, b.right) for b in found.bins))


@dataclass
class _Share:
    """A policy's sums while the fills pass."""

    purchases: set[str] = field(default_factory=set)
    ended: int = 0
    won: int = 0
    profit: Decimal = ZERO
    open_profit: Decimal = ZERO
    fees: Decimal = ZERO


def policy_shares(ledger: Ledger, span: Span, last: int, lots: Sequence[Experiment]) -> tuple[PolicyShare, ...]:
    """Each policy's part of the profit, the best first; from a ledger's beginning on the parts add up to it exactly.

    First in, first out: profit and position are of the policy that bought, a fee of the one that the order is for.
    `last` is the id of the span's last snapshot: what is held then is marked as it is. `lots` are its round trips.
    """
    ended = ledger.db.execute("SELECT link, mark_price FROM portfolio WHERE id = ?", (last,)).fetchone()
    if ended is None:
        return ()
    base, quote = (ledger.identity().get("symbol") or "/").split("/")
    book, held = Book(), tuple[Lot, ...]()
    owners: dict[str, str | None] = {}
    shares: dict[str | None, _Share] = {}
    for change in ledger.changes():
        if change.link > ended[0]:
            break
        was, book = book, changed(book, change, base, quote)
        held, closed = lotted(held, change, book, base, quote)
        if change.kind == FILL and change.fill is not None:
            policy = owners.setdefault(change.order, policy_of(ledger, change.order))
            share = shares.setdefault(policy, _Share())
            if span.holds(iso(change.fill.at)):
                share.fees = add(share.fees, sub(book.fees, was.fees))
                if change.side is Side.BUY:
                    share.purchases.add(change.order)
        for lot in closed:
            if span.holds(iso(lot.closed_at)):
                share = shares.setdefault(owners.get(lot.opened_by), _Share())
                share.profit = add(share.profit, lot.profit)
        kept = {lot.client_order_id for lot in held}
        owners = {order: owner for order, owner in owners.items() if order in kept}
    mark = dec(ended[1])
    for left in held:
        share = shares.setdefault(owners.get(left.client_order_id), _Share())
        worth = mul(left.qty, mark)
        share.open_profit = add(share.open_profit, sub(worth, left.cost))
    for trip in lots:
        share = shares.setdefault(trip.policy_id, _Share())
        share.ended += 1
        share.won += trip.won
    made = (
        PolicyShare(name, len(s.purchases), s.ended, s.won, s.profit, s.open_profit, s.fees)
        for name, s in shares.items()
        if s != _Share()
    )
    return tuple(sorted(made, key=lambda one: (-add(one.profit, one.open_profit), one.policy or "")))


def model_shares(ledger: Ledger, span: Span) -> tuple[ModelShare, ...]:
    """What each model was asked and cost, the dearest first; their costs add up to what models cost."""
    fallbacks: dict[str, int] = {}
    for at, model in ledger.db.execute(
        "SELECT d.ts_utc, c.model FROM decisions AS d JOIN model_calls AS c ON c.id = d.model_call_id "
        "WHERE d.source = 'fallback'"
    ):
        if span.holds(at):
            fallbacks[model] = fallbacks.get(model, 0) + 1
    spent: dict[str, Decimal] = {}
    for at, model, cost in ledger.db.execute("SELECT ts_utc, model, cost_usd FROM model_calls WHERE cost_usd <> '0'"):
        if span.holds(at):
            spent[model] = add(spent.get(model, ZERO), dec(cost))
    asked = ledger.db.execute(
        "SELECT model, count(*), sum(status <> 'ok'), sum(coalesce(input_tokens, 0)), "
        "sum(coalesce(output_tokens, 0)) FROM model_calls "
        "WHERE (?1 IS NULL OR ts_utc >= ?1) AND (?2 IS NULL OR ts_utc < ?2) GROUP BY model",
        [None if at is None else iso(at) for at in (span.since, span.until)],
    )
    found = (
        ModelShare(model, calls, failed, fallbacks.get(model, 0), read, written, spent.get(model, ZERO))
        for model, calls, failed, read, written in asked
    )
    return tuple(sorted(found, key=lambda one: (-one.cost, one.model)))
