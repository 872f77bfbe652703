"""Lots: what a purchase brought in, and what a sale made of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Lot:
    """What is left of what one BUY fill brought in.

    Attributes:
        client_order_id: the order that bought it.
        opened_at: time of the fill, ms UTC.
        qty: base still held of it. Below zero for the one lot of an oversold book, which its sale opened.
        cost: what `qty` has cost in quote, fees of buying included.
    """

    client_order_id: str
    opened_at: int
    qty: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class ClosedLot:
    """What one SELL fill closed of one lot.

    Attributes:
        opened_by, closed_by: client_order_id of the purchase and of the sale; the same one where more was sold
            than held.
        opened_at, closed_at: times of the two fills, ms UTC.
        qty: base sold, a fee in base included.
        cost: what it had cost in quote, fees of buying included.
        proceeds: what it brought in quote, fees of selling taken off.
        profit: proceeds - cost.
    """

    opened_by: str
    closed_by: str
    opened_at: int
    closed_at: int
    qty: Decimal
    cost: Decimal
    proceeds: Decimal
    profit: Decimal
