"""The book at average cost, folded from fills.

The fee of a BUY is part of the cost (a fee in base shrinks what is held), the fee of a SELL
comes out of the proceeds; profit is realized at the sale. Released cost = cost x sold / held,
half-even to 1e-12, and the sale that flattens the position takes the remainder. A fee in a
third asset counts, at its value when it was paid, as money put in and spent.

Identity, exact at every step: quote + base x mark = deposits + realized + unrealized.
"""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core.decimals import MONEY, QUANTUM, ZERO, add, div, mul, sub
from trader_cli.schemas.book import Book
from trader_cli.schemas.order import Fill, Side


def deposit(book: Book, amount: Decimal) -> Book:
    """Money put in (positive) or taken out (negative), in quote."""
    return Book(add(book.deposits, amount), add(book.quote, amount), book.base, book.cost, book.realized, book.fees)


def withdraw(book: Book, base: Decimal, quote: Decimal) -> Book:
    """The book without base or quote that has left the account by another way than a sale.

    Base leaves at what it cost, which counts as money taken out: nothing is won or lost by it.
    """
    released = released_cost(book, base)
    return Book(
        sub(book.deposits, add(released, quote)),
        sub(book.quote, quote),
        sub(book.base, base),
        sub(book.cost, released),
        book.realized,
        book.fees,
    )


def opening(quote: Decimal) -> Book:
    """A book that begins with an account's quote; what base the account holds is not ours."""
    return deposit(Book(), quote)


def fold(book: Book, side: Side, fill: Fill, base: str, quote: str) -> Book:
    """The book after one fill. `base` and `quote` name the symbol's currencies."""
    fee_base = fill.fee if fill.fee_asset == base else ZERO
    fee_quote = fill.fee if fill.fee_asset == quote else ZERO
    fee_other = ZERO if fill.fee_asset in (base, quote) else fill.fee_quote
    fees = add(book.fees, fill.fee_quote)
    deposits = add(book.deposits, fee_other)
    if side is Side.BUY:
        paid = add(fill.quote_qty, fee_quote)
        held = sub(add(book.base, fill.qty), fee_base)
        return Book(deposits, sub(book.quote, paid), held, add(book.cost, paid, fee_other), book.realized, fees)
    gone = add(fill.qty, fee_base)
    received = sub(fill.quote_qty, fee_quote)
    released = released_cost(book, gone)
    profit = sub(sub(received, fee_other), released)
    return Book(
        deposits,
        add(book.quote, received),
        sub(book.base, gone),
        sub(book.cost, released),
        add(book.realized, profit),
        fees,
    )


def released_cost(book: Book, sold: Decimal) -> Decimal:
    """The part of the cost that leaves with `sold` base."""
    if sold >= book.base:
        return book.cost
    return min(div(mul(book.cost, sold), book.base), book.cost)  # rounding up must not release more than all


def value(base: Decimal, mark: Decimal) -> Decimal:
    """What `base` is worth at `mark`, half-even to 1e-12."""
    return MONEY.quantize(mul(base, mark), QUANTUM)


def unrealized(book: Book, mark: Decimal) -> Decimal:
    """What the position is worth at `mark` beyond its cost, before any fee of selling."""
    return sub(value(book.base, mark), book.cost)


def equity(book: Book, mark: Decimal) -> Decimal:
    """Cash and position at `mark`."""
    return add(book.quote, value(book.base, mark))


def net_cash_in(book: Book) -> Decimal:
    """Deposited money that is not cash now: what trading has put into the market and not taken out again."""
    return sub(book.deposits, book.quote)


def average_price(quote_qty: Decimal, qty: Decimal) -> Decimal:
    """Volume-weighted price of some fills, half-even to 1e-12."""
    return div(quote_qty, qty)
