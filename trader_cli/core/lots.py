"""Lots, first in first out, folded from the fills beside the book at average cost.

Fees count as in `accounting`. A sale closes the oldest lots first; released cost = cost x sold / held of the
lot, and proceeds are shared by quantity, both half-even to 1e-12 with the remainder in the last piece.
Identities, exact at every step: the quantities add up to `book.base`, and closed profits - open costs =
book.realized - book.cost, so that the profits are the book's whenever the position is flat.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from trader_cli.core.decimals import ZERO, add, div, mul, sub
from trader_cli.schemas.lot import ClosedLot, Lot
from trader_cli.schemas.order import Fill, Side


def fold(
    lots: tuple[Lot, ...], side: Side, fill: Fill, client_order_id: str, base: str, quote: str
) -> tuple[tuple[Lot, ...], tuple[ClosedLot, ...]]:
    """The open lots after one fill, oldest first, and what the fill closed. Raises nothing, as the book's fold.

    More sold than held closes everything, then a piece that cost nothing and was opened by the sale itself, and
    leaves one lot below zero; the next purchase is set against it with all its cost, as in the book.
    """
    fee_base = fill.fee if fill.fee_asset == base else ZERO
    fee_paid = {base: ZERO, quote: fill.fee}.get(fill.fee_asset, fill.fee_quote)
    if side is Side.BUY:
        held, cost = sub(fill.qty, fee_base), add(fill.quote_qty, fee_paid)
        return _bought(lots, Lot(client_order_id, fill.at, held, cost)), ()
    return _sold(lots, client_order_id, fill.at, add(fill.qty, fee_base), sub(fill.quote_qty, fee_paid))


def withdrawn(lots: tuple[Lot, ...], base: Decimal, cost: Decimal) -> tuple[Lot, ...]:
    """The lots after base has left by another way than a sale, so that the book holds `base` at `cost`.

    Nobody knows which of them it was: each gives in proportion, and the newest takes the remainder.
    """
    held, paid = add(*(lot.qty for lot in lots)), add(*(lot.cost for lot in lots))
    if not lots or base <= ZERO or held <= ZERO:
        return (replace(lots[0], qty=base, cost=cost),) if lots and base else ()
    kept = []
    for lot in lots:
        one = replace(lot, qty=_share(base, lot.qty, held), cost=_share(cost, lot.cost, paid))
        base, cost = sub(base, one.qty), sub(cost, one.cost)
        held, paid = sub(held, lot.qty), sub(paid, lot.cost)
        if one.qty or one.cost:
            kept.append(one)
    return tuple(kept)


def _bought(lots: tuple[Lot, ...], lot: Lot) -> tuple[Lot, ...]:
    if not lots or lots[0].qty >= ZERO:
        return (*lots, lot)
    (short,) = lots
    return (replace(lot, qty=add(lot.qty, short.qty), cost=add(lot.cost, short.cost)),)


def _sold(
    lots: tuple[Lot, ...], seller: str, at: int, gone: Decimal, proceeds: Decimal
) -> tuple[tuple[Lot, ...], tuple[ClosedLot, ...]]:
    """`gone` and `proceeds` run down to what the lots so far have not taken."""
    kept, closed = [], []
    for lot in lots:
        part = min(max(lot.qty, ZERO), gone)
        cost, received = _share(lot.cost, part, lot.qty), _share(proceeds, part, gone)
        gone, proceeds = sub(gone, part), sub(proceeds, received)
        if part < lot.qty:
            kept.append(replace(lot, qty=sub(lot.qty, part), cost=sub(lot.cost, cost)))
        if part or cost or received:
            profit = sub(received, cost)
            closed.append(ClosedLot(lot.client_order_id, seller, lot.opened_at, at, part, cost, received, profit))
    if gone or proceeds:
        closed.append(ClosedLot(seller, seller, at, at, gone, ZERO, proceeds, proceeds))
    short = sub(add(*(min(lot.qty, ZERO) for lot in lots)), gone)
    return ((Lot(seller, at, short, ZERO),) if short else tuple(kept)), tuple(closed)


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`amount` x `part` / `whole`; never more than all of it, however it rounds."""
    if part >= whole:
        return amount
    share = div(mul(amount, part), whole)
    return min(share, amount) if amount > ZERO else max(share, amount)
