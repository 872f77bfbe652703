"""From lots to experiments: what one sale made of one purchase, and which part of the models' cost it bears.

A purchase's fills are one experiment, and so are a sale's. What the models cost while something is held is shared among
the purchases by what they cost, dust aside; the cycle that bought from nothing bears its own. Idle cycles belong to
nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from trader_cli.core.decimals import ZERO, add, div, mul, sub
from trader_cli.schemas.lot import ClosedLot, Lot
from trader_cli.schemas.memory import DUST_SHARE


@dataclass(frozen=True, slots=True)
class Purchase:
    """What was bought by one order, and the models' cost (USD) that its sales have not taken over yet."""

    qty: Decimal
    model_cost: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Piece:
    """What one sale closed of one purchase: `share` of its quantity. All money in quote but the models' cost."""

    opened_by: str
    closed_by: str
    opened_at: int
    closed_at: int
    share: Decimal
    qty: Decimal
    cost: Decimal
    proceeds: Decimal
    model_cost: Decimal


Purchases = Mapping[str, Purchase]


def bought(purchases: Purchases, order: str, qty: Decimal, model_cost: Decimal) -> dict[str, Purchase]:
    """The purchases with `qty` more base bought by an order; `model_cost` is of its own cycle."""
    known = purchases.get(order, Purchase(ZERO))
    return {**purchases, order: Purchase(add(known.qty, qty), add(known.model_cost, model_cost))}


def charged(purchases: Purchases, lots: Iterable[Lot], amount: Decimal) -> dict[str, Purchase]:
    """The purchases with what models cost shared among those still held; unchanged where nothing but dust is."""
    costs = {order: cost for order, (_, cost) in real(purchases, lots).items()}
    left, whole, after = amount, add(*costs.values()), dict(purchases)
    for number, (order, cost) in enumerate(costs.items(), 1):
        part = left if number == len(costs) else div(mul(amount, cost), whole) if whole else ZERO
        left = sub(left, part)
        after[order] = replace(after[order], model_cost=add(after[order].model_cost, part))
    return after


def real(purchases: Purchases, lots: Iterable[Lot]) -> dict[str, tuple[Decimal, Decimal]]:
    """What is held of each purchase and what that cost, but for dust; oldest first."""
    held = _held(lots)
    return {
        order: (qty, cost)
        for order, (qty, cost) in held.items()
        if order in purchases and qty > mul(purchases[order].qty, DUST_SHARE)
    }


def sold(
    purchases: Purchases, lots: Iterable[Lot], closed: Iterable[ClosedLot]
) -> tuple[dict[str, Purchase], tuple[Piece, ...]]:
    """What one sale closed, a piece for each purchase, oldest first; `lots` are those from before it."""
    held, after = _held(lots), dict(purchases)
    pieces = []
    for order, parts in _by_purchase(closed).items():
        qty = add(*(part.qty for part in parts))
        left = held.get(order, (ZERO, ZERO))[0]
        known = after.pop(order, Purchase(qty))
        paid = known.model_cost if qty >= left else div(mul(known.model_cost, qty), left)
        if qty < left:
            after[order] = replace(known, model_cost=sub(known.model_cost, paid))
        pieces.append(_piece(parts, known.qty, qty, paid))
    return after, tuple(pieces)


def _piece(parts: list[ClosedLot], whole: Decimal, qty: Decimal, model_cost: Decimal) -> Piece:
    return Piece(
        opened_by=parts[0].opened_by,
        closed_by=parts[0].closed_by,
        opened_at=min(part.opened_at for part in parts),
        closed_at=max(part.closed_at for part in parts),
        share=min(div(qty, whole), Decimal(1)) if whole > ZERO else ZERO,
        qty=qty,
        cost=add(*(part.cost for part in parts)),
        proceeds=add(*(part.proceeds for part in parts)),
        model_cost=model_cost,
    )


def _held(lots: Iterable[Lot]) -> dict[str, tuple[Decimal, Decimal]]:
    held: dict[str, tuple[Decimal, Decimal]] = {}
    for lot in lots:
        qty, cost = held.get(lot.client_order_id, (ZERO, ZERO))
        held[lot.client_order_id] = add(qty, lot.qty), add(cost, lot.cost)
    return held


def _by_purchase(closed: Iterable[ClosedLot]) -> dict[str, list[ClosedLot]]:
    found: dict[str, list[ClosedLot]] = {}
    for part in closed:
        found.setdefault(part.opened_by, []).append(part)
    return found
