"""From lots to experiments: what one sale made of one purchase, and which part of the models' cost it bears.

A purchase's fills are one experiment, and so are a sale's. What the models cost while something is held is shared among
the purchases by what they cost; the cycle that bought from nothing bears its own. Idle cycles belong to nobody. A rest
that is too little to be sold by itself is dust: the sale that left it closes the purchase.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from trader_cli.core.decimals import ZERO, add, div, mul, sub
from trader_cli.schemas.lot import ClosedLot, Lot
from trader_cli.schemas.memory import Experiment, Purchase


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


def bought(
    purchases: Purchases, order: str, qty: Decimal, model_cost: Decimal, covers: bool = False
) -> dict[str, Purchase]:
    """The purchases with `qty` more base bought by an order; `model_cost` is of its own cycle.

    One that `covers` what was sold beyond what was held bears that sale's loss or gain: it is no experiment.
    """
    known = purchases.get(order, Purchase(ZERO))
    return {**purchases, order: Purchase(add(known.qty, qty), add(known.model_cost, model_cost), covers=covers)}


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
    return {
        order: held
        for order, held in _held(lots).items()
        if held[0] > ZERO and order in purchases and not purchases[order].is_closed
    }


def sold(
    purchases: Purchases, lots: Iterable[Lot], closed: Iterable[ClosedLot], rest_is_dust: bool
) -> tuple[dict[str, Purchase], tuple[Piece, ...]]:
    """What one sale closed, a piece for each purchase, oldest first; `lots` are those from before it.

    With `rest_is_dust` what it left can be sold by no order alone, and every purchase is closed.
    """
    held, after = _held(lots), dict(purchases)
    pieces = []
    for order, parts in _by_purchase(closed).items():
        qty = add(*(part.qty for part in parts))
        left = held.get(order, (ZERO, ZERO))[0]
        known = after.pop(order, Purchase(qty))
        ends = qty >= left or rest_is_dust
        paid = known.model_cost if ends else div(mul(known.model_cost, qty), left)
        weighed = ZERO if known.is_closed or known.covers else max(left, qty) if ends else qty
        if qty < left:
            after[order] = replace(known, model_cost=sub(known.model_cost, paid))
        pieces.append(_piece(parts, _share_of(weighed, known.qty), qty, paid))
    return (closed_all(after) if rest_is_dust else after), tuple(pieces)


def closed_all(purchases: Purchases) -> dict[str, Purchase]:
    """The purchases where what is left of all of them together can be sold by no order."""
    return {order: replace(one, is_closed=True) for order, one in purchases.items()}


def shrunk(purchases: Purchases, before: Iterable[Lot], lots: Iterable[Lot]) -> dict[str, Purchase]:
    """The purchases after base has left by another way than a sale: each smaller as its lots are."""
    was = _held(before)
    after = {}
    for order, (qty, _) in _held(lots).items():
        known, old = purchases.get(order, Purchase(qty)), was.get(order, (ZERO, ZERO))[0]
        after[order] = replace(known, qty=div(mul(known.qty, qty), old)) if old > ZERO else known
    return after


def whole_lots(outcomes: Iterable[Experiment], held: Collection[str]) -> list[Experiment]:
    """One outcome for each purchase that is not `held` any more, of all its sales together, in the order they ended."""
    found: dict[str, list[Experiment]] = {}
    for one in outcomes:
        if not one.is_dust:
            found.setdefault(one.opened_by, []).append(one)
    closed = (parts for order, parts in found.items() if order not in held)
    return sorted(map(_together, closed), key=lambda one: one.closed_at)


def _together(parts: list[Experiment]) -> Experiment:
    last, cost, net = parts[-1], add(*(part.cost for part in parts)), add(*(part.net for part in parts))
    return replace(
        last,
        opened_at=parts[0].opened_at,
        share=min(1.0, sum(part.share for part in parts)),
        qty=add(*(part.qty for part in parts)),
        cost=cost,
        proceeds=add(*(part.proceeds for part in parts)),
        model_cost_usd=add(*(part.model_cost_usd for part in parts)),
        net=net,
        net_bp=return_bp(net, cost),
    )


def return_bp(net: Decimal, cost: Decimal) -> float | None:
    """A return in basis points of what it cost; None where that was nothing."""
    return float(div(mul(net, Decimal(10_000)), cost, Decimal("0.000001"))) if cost > ZERO else None


def _share_of(qty: Decimal, whole: Decimal) -> Decimal:
    return min(div(qty, whole), Decimal(1)) if whole > ZERO else ZERO


def _piece(parts: list[ClosedLot], share: Decimal, qty: Decimal, model_cost: Decimal) -> Piece:
    return Piece(
        opened_by=parts[0].opened_by,
        closed_by=parts[0].closed_by,
        opened_at=min(part.opened_at for part in parts),
        closed_at=max(part.closed_at for part in parts),
        share=share,
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
