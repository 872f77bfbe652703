"""What would have come of doing otherwise: buying once and holding, or the same deals at times that chance chose.

All of it by `hindsight`'s rule: whole orders at the open of the next bar, half the spread, slippage and fee against
them, on the market's step; a deal below the least order is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import accumulate
from typing import Protocol

from trader_cli.core import accounting
from trader_cli.core.decimals import ZERO, add, mul, sub
from trader_cli.core.hindsight import bearable, filled, price_of
from trader_cli.core.limits import smallest_qty
from trader_cli.schemas.book import Book
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.order import Side

Terms = tuple[Market, Costs]

ALL = Decimal(10**18)
"""More than any book can bear of a deal."""


class Chance(Protocol):
    """A source of chance, such as `random.Random`."""

    def shuffle(self, x: list[int]) -> None:
        """Put a list into another order."""


@dataclass(frozen=True, slots=True)
class Play:
    """A deal to be made again at another time.

    Attributes:
        at: the number of the cycle it was made in.
        amount: of a BUY what it cost in quote, of a SELL the share of what was held, 0..1.
        leaves: something that can be sold is held after it.
    """

    at: int
    side: Side
    amount: Decimal
    leaves: bool


def is_position(base: Decimal, price: Decimal, market: Market) -> bool:
    """Whether so much base is more than dust: one order could sell it."""
    return base >= max(market.step, market.min_qty) and mul(base, price) >= market.min_notional


class Holder:
    """Buys with all there is, each time something comes in, and never sells but to pay out."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.book = Book()

    def pay(self, amount: Decimal, opening: Decimal | None, at: int) -> None:
        """Put `amount` of quote in (below zero: out), and buy at the next bar's `opening`, where there is one."""
        deposits, quote = add(self.book.deposits, amount), add(self.book.quote, amount)
        self.book = replace(self.book, deposits=deposits, quote=quote)
        if opening is None:
            return
        if quote > ZERO:
            self.book = dealt(self.book, Side.BUY, ALL, opening, self._terms, at)
        elif quote < ZERO and opening > ZERO:
            self.book = dealt(
                self.book, Side.SELL, add(sub(ZERO, quote) / opening, self._terms[0].step), opening, self._terms, at
            )

    def equity(self, mark: Decimal) -> Decimal:
        """What it is worth at a mark."""
        return accounting.equity(self.book, mark)


def dealt(book: Book, side: Side, qty: Decimal, opening: Decimal, terms: Terms, at: int) -> Book:
    """The book after a deal of at most `qty` base at a bar's opening; the same where it cannot bear the least order."""
    market, costs = terms
    price = price_of(opening, side, market, costs)
    borne = bearable(book, side, (qty, price), market)
    return filled(book, side, (borne, price), terms, at) if borne > ZERO else book


def flipped(
    plays: Sequence[Play],
    cycles: int,
    chance: Chance,
    opening_at: Callable[[int], Decimal | None],
    held: bool = False,
) -> list[tuple[Play, Decimal]]:
    """The same deals in the same order, with the pauses between them shuffled; each with the opening it is made at.

    The pauses while something is held change places among themselves, and so do the others: a coin is in the market
    for as long as the run was. A run has `cycles` cycles and begins with something `held` or not. A deal after the last
    bar is left out.
    """
    ends = [play.at for play in plays]
    pauses = [after - before for before, after in zip([0, *ends], [*ends, max(cycles - 1, ends[-1])], strict=True)]
    holds = [held, *(play.leaves for play in plays)]
    waits = {kind: [pause for pause, one in zip(pauses, holds, strict=True) if one is kind] for kind in (True, False)}
    for kind in (True, False):
        chance.shuffle(waits[kind])
    times = list(accumulate(waits[kind].pop() for kind in holds))[:-1]
    found = ((play, opening_at(at)) for play, at in zip(plays, times, strict=True))
    return [(play, opening) for play, opening in found if opening is not None and opening > ZERO]


def played(book: Book, deals: Sequence[tuple[Play, Decimal]], terms: Terms) -> Book:
    """The book after deals at their openings; a BUY that would be below the least order is the least one."""
    for play, opening in deals:
        if play.side is Side.BUY:
            price = price_of(opening, Side.BUY, *terms)
            qty = max(play.amount / price, smallest_qty(terms[0], price)) if price > ZERO else ZERO
        else:
            qty = mul(book.base, play.amount)
        book = dealt(book, play.side, qty, opening, terms, 0)
    return book
