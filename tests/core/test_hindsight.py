"""Hindsight: one rule for all, half the spread and the slippage against it, and never more than a book bears."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core import accounting
from trader_cli.core.decimals import floor_to, mul
from trader_cli.core.hindsight import bearable, filled, price_of
from trader_cli.schemas.book import Book
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.order import Side

D = Decimal
MARKET = Market("BTC/USDT", "BTC", "USDT", D("0.00001"), D("0.01"), D("0.00001"), D(100), D(5), D("0.1"))
COSTS = Costs(D("0.1"), D(1), D(2))
RICH = Book(deposits=D(1000), quote=D(1000))


def test_a_price_lies_half_the_spread_and_the_slippage_against_the_order() -> None:
    assert price_of(D(100_000), Side.BUY, MARKET, COSTS) == D("100025.00")
    assert price_of(D(100_000), Side.SELL, MARKET, COSTS) == D("99975.00")


def test_a_price_is_rounded_against_the_order_to_the_tick() -> None:
    assert price_of(D("33333.33"), Side.BUY, MARKET, COSTS) == D("33341.67")
    assert price_of(D("33333.33"), Side.SELL, MARKET, COSTS) == D("33324.99")


@pytest.mark.parametrize(
    ("side", "asked", "borne"),
    [
        (Side.BUY, "0.005", "0.005"),
        (Side.BUY, "9", "0.01"),
        (Side.BUY, "0.00004", "0"),
        (Side.SELL, "0.5", "0.00123"),
        (Side.SELL, "0.0007", "0.0007"),
        (Side.SELL, "0.00001", "0"),
    ],
)
def test_a_book_bears_what_it_can_pay_or_holds_and_no_less_than_the_least_order(
    side: Side, asked: str, borne: str
) -> None:
    book = Book(deposits=D(1000), quote=D(1000), base=D("0.001234"))
    assert bearable(book, side, (D(asked), D(100_000)), MARKET) == D(borne)


@pytest.mark.parametrize(("cap", "borne"), [("5000", "0.01"), ("700", "0.004"), ("300.5", "0"), ("100", "0")])
def test_a_buy_is_kept_within_the_deposit_cap_with_what_is_in_the_market_already(cap: str, borne: str) -> None:
    book = filled(Book(deposits=D(1300), quote=D(1300)), Side.BUY, (D("0.003"), D(100_000)), (MARKET, COSTS), 0)
    assert bearable(book, Side.BUY, (D(9), D(100_000)), MARKET, D(cap)) == D(borne)
    assert bearable(book, Side.SELL, (D("0.002"), D(100_000)), MARKET, D(cap)) == D("0.002")


def test_a_round_trip_at_one_price_costs_the_fees_and_nothing_else() -> None:
    held = filled(RICH, Side.BUY, (D("0.005"), D(100_000)), (MARKET, COSTS), 0)
    assert (held.quote, held.base) == (D(500), D("0.004995"))
    sold = filled(held, Side.SELL, (D("0.00499"), D(100_000)), (MARKET, COSTS), 1)
    assert sold.quote == D("998.501")
    assert sold.fees == D("0.999")


@given(
    st.lists(
        st.tuples(st.sampled_from(Side), st.decimals("0", "9", places=5), st.decimals("100", "90000", places=2)),
        max_size=12,
    )
)
def test_no_order_ever_overdraws_a_book(orders: list[tuple[Side, Decimal, Decimal]]) -> None:
    book = RICH
    for side, asked, opening in orders:
        price = price_of(opening, side, MARKET, COSTS)
        qty = bearable(book, side, (asked, price), MARKET)
        assert qty <= asked
        assert qty == floor_to(qty, MARKET.step)
        if qty:
            book = filled(book, side, (qty, price), (MARKET, COSTS), 0)
        assert book.quote >= 0
        assert book.base >= 0
        worth = accounting.equity(book, opening)
        assert worth == book.deposits + book.realized + accounting.unrealized(book, opening)
        assert mul(qty, price) >= MARKET.min_notional or not qty
