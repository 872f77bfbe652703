"""core.baselines: holding buys once with all there is; a coin makes the same deals at other times, and only that."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.baselines import Holder, Play, flipped, played
from trader_cli.schemas.book import Book
from trader_cli.schemas.market import Costs
from trader_cli.schemas.order import Side
from trader_cli.tools.exchanges.paper_rules import rules

D = Decimal
MARKET = rules("BTC/USDT", D("0.1"))
TERMS = MARKET, Costs(D("0.1"), D(0), D(0))


def test_holding_buys_with_all_and_pays_the_fee_in_what_it_buys() -> None:
    holder = Holder(TERMS)
    holder.pay(D(1000), D(50_000), 0)
    assert holder.book.quote == 0
    assert holder.book.base == D("0.02") * D("0.999")
    assert holder.equity(D(60_000)) == D("0.01998") * 60_000


def test_what_comes_in_later_is_invested_and_what_goes_out_is_sold_for() -> None:
    holder = Holder(TERMS)
    holder.pay(D(1000), D(50_000), 0)
    before = holder.book.base
    holder.pay(D(500), D(50_000), 1)
    assert holder.book.base == before + D("0.01") * D("0.999")
    holder.pay(D(-300), D(50_000), 2)
    assert D(0) <= holder.book.quote < D(2)
    assert holder.book.deposits == D(1200)


def test_without_a_bar_to_buy_at_the_money_waits() -> None:
    holder = Holder(TERMS)
    holder.pay(D(1000), None, 0)
    assert (holder.book.quote, holder.book.base) == (D(1000), D(0))


DUST = D("0.9993")
PLAYS = (
    Play(3, Side.BUY, D(100), True),
    Play(9, Side.SELL, DUST, False),
    Play(20, Side.BUY, D(200), True),
    Play(21, Side.SELL, DUST, False),
)
"""A fee in base leaves dust behind every sale."""


@given(st.integers(0, 1000))
def test_a_coin_makes_the_same_deals_in_the_same_order_within_the_run(seed: int) -> None:
    asked: list[int] = []

    def opening_at(place: int) -> Decimal:
        asked.append(place)
        return D(50_000)

    found = flipped(PLAYS, 40, Random(seed), opening_at)
    assert [play for play, _ in found] == list(PLAYS)
    assert asked == sorted(asked)
    assert all(0 <= place < 40 for place in asked)


def test_the_pauses_are_shuffled_and_equal_chance_gives_equal_times() -> None:
    def times(seed: int) -> list[int]:
        asked: list[int] = []

        def opening_at(place: int) -> Decimal:
            asked.append(place)
            return D(1)

        flipped(PLAYS, 40, Random(seed), opening_at)
        return asked

    assert times(1) == times(1)
    assert len({tuple(times(seed)) for seed in range(20)}) > 5


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=12), st.integers(0, 1000))
def test_a_coin_is_in_the_market_for_as_long_as_the_run_was(trips: list[tuple[int, int]], seed: int) -> None:
    at, plays = 0, list[Play]()
    for flat, held in trips:
        plays += [Play(at + flat, Side.BUY, D(100), True), Play(at + flat + held, Side.SELL, DUST, False)]
        at += flat + held
    asked: list[int] = []

    def opening_at(place: int) -> Decimal:
        asked.append(place)
        return D(1)

    flipped(plays, at + 5, Random(seed), opening_at)
    held = sum(sold - bought for bought, sold in zip(asked[::2], asked[1::2], strict=True))
    assert held == sum(held for _, held in trips)


def test_a_coin_that_begins_with_a_position_may_sell_it_first() -> None:
    plays = [Play(7, Side.SELL, DUST, False), Play(9, Side.BUY, D(50), True)]
    asked: list[int] = []

    def opening_at(place: int) -> Decimal:
        asked.append(place)
        return D(1)

    flipped(plays, 30, Random(1), opening_at, held=True)
    assert asked[0] in (7, 20), "held for as long as one of the run's two times in the market"


def test_a_small_purchase_at_a_higher_price_is_the_least_order_and_not_left_out() -> None:
    start = Book(quote=D(1000), deposits=D(1000))
    deals = [(Play(1, Side.BUY, D("5.01"), True), D(99_000)), (Play(2, Side.SELL, DUST, False), D(99_000))]
    for opening in (D(30_000), D(61_111), D(99_999)):
        bought = played(start, [(deals[0][0], opening)], TERMS)
        assert bought.base > 0
        assert D(5) <= start.quote - bought.quote < D(8)


def test_at_one_price_every_coin_loses_exactly_the_costs() -> None:
    start = Book(quote=D(1000), deposits=D(1000))
    book = played(start, [(play, D(50_000)) for play in PLAYS], TERMS)
    assert book.base < MARKET.step
    assert D("0.5") < start.quote - book.quote < D("1.5")


def test_a_deal_after_the_last_bar_is_left_out() -> None:
    assert flipped(PLAYS, 40, Random(1), lambda place: None) == []
