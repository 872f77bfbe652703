"""Where we stand: the book (ours, from our fills) and balances (what an exchange says)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Book:
    """Our position at average cost. All in quote but `base`.

    Attributes:
        deposits: what was put in (paper balance, opening balance of an epoch).
        quote: cash.
        base: what we hold, in base.
        cost: what the base we hold has cost, fees of buying included.
        realized: profit of sales after all fees.
        fees: every fee so far, valued in quote at its fill (already inside cost and realized).
    """

    deposits: Decimal = ZERO
    quote: Decimal = ZERO
    base: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Balances:
    """Free amounts an exchange reports."""

    base: Decimal
    quote: Decimal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The book marked to a price.

    `peak` is the highest equity so far; `drift_*` is exchange less book, None when that could not be asked.
    """

    id: int | None
    trace_id: str | None
    at: int
    symbol: str
    book: Book
    mark_price: Decimal
    unrealized: Decimal
    equity: Decimal
    peak: Decimal
    drift_base: Decimal | None
    drift_quote: Decimal | None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What an operator accepted as the account's state.

    Attributes:
        foreign: what the account holds beyond our book, and which is never traded.
        withdrawn: what our book held and the account no longer does; it left the book at its cost.
        epoch: the number of the epoch that began, where the account was wiped.
    """

    foreign: Balances
    withdrawn: Balances
    epoch: int | None = None
