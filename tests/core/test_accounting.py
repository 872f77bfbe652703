"""The book: what must hold after any fills, and what exchanges, bots and a tax office publish for known ones."""

from __future__ import annotations

import decimal
import itertools
import json
import math
import random
from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.core import accounting
from trader_cli.core.decimals import MONEY, QUANTUM, ZERO, add, div, mul, percent, sub
from trader_cli.schemas.book import Book
from trader_cli.schemas.order import Fill, Side

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "accounting"
published = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the published values are not on this machine")


def fill(qty: Decimal, price: Decimal, fee: Decimal = ZERO, asset: str = "USDT", worth: Decimal | None = None) -> Fill:
    """One execution; `worth` is the fee's value in quote where the fee is in neither currency."""
    fee_quote = worth if worth is not None else mul(fee, price) if asset == "BTC" else fee
    return Fill("t", qty, price, mul(qty, price), fee, asset, fee_quote, 0)


def folded(book: Book, fills: Iterable[tuple[Side, Fill]]) -> list[Book]:
    """The book after each fill."""
    books = []
    for side, one in fills:
        book = accounting.fold(book, side, one, "BTC", "USDT")
        books.append(book)
    return books


# Properties of any run of fills.


def scaled(low: int, high: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda n: Decimal(n).scaleb(-places))


Fills = list[tuple[Side, Fill]]

grids = st.sampled_from([(5, 2), (8, 8), (0, 8), (3, 4)])
"""Places of quantity and price: BTC/USDT, the finest there is, whole coins at dust prices, something between."""


def run(grid: tuple[int, int], steps: list[tuple[Side, int, int, int, str, str]]) -> Fills:
    """Fills from plain numbers: side, thousandths sold (1000 flattens), quantity and price in grid units, fee."""
    book, fills = Book(), []
    for wish, part, units, ticks, currency, pct in steps:
        price = Decimal(ticks).scaleb(-grid[1])
        side = wish if book.base > ZERO else Side.BUY
        asset = "USDT" if side is Side.SELL and currency == "BTC" else currency
        qty = Decimal(units).scaleb(-grid[0])
        if side is Side.SELL:
            share = div(mul(book.base, Decimal(part)), Decimal(1000), Decimal(1).scaleb(-grid[0]))
            qty = book.base if part == 1000 else min(share, book.base)
        if qty == ZERO:
            continue
        of = qty if asset == "BTC" else mul(qty, price)
        fee = min(MONEY.quantize(percent(of, Decimal(pct)), Decimal("1e-8")), of)
        if asset == "BNB":
            fills.append((side, fill(qty, price, div(fee, Decimal(600)), "BNB", worth=fee)))
        else:
            fills.append((side, fill(qty, price, fee, asset)))
        book = accounting.fold(book, *fills[-1], "BTC", "USDT")
    return fills


runs = st.builds(
    run,
    grids,
    st.lists(
        st.tuples(
            st.sampled_from(Side),
            st.integers(1, 1000) | st.just(1000),
            st.integers(1, 10**9),
            st.integers(1, 10**8),
            st.sampled_from(["USDT", "BTC", "BNB"]),
            st.sampled_from(["0", "0.1", "0.075", "1"]),
        ),
        min_size=1,
        max_size=8,
    ),
)
"""Purchases and sales one after the other: partial ones, ones that flatten, fees in any currency."""

marks = scaled(0, 10**12, 8)
OPENING = accounting.deposit(Book(), Decimal(10_000))


def exact(value: Decimal) -> Fraction:
    return Fraction(value)


@given(runs, marks)
@settings(max_examples=60)
def test_cash_and_position_are_exactly_deposits_realized_and_unrealized(fills: Fills, mark: Decimal) -> None:
    for book in folded(OPENING, fills):
        ours = exact(book.quote) + exact(accounting.value(book.base, mark))
        assert ours == exact(accounting.equity(book, mark))
        assert ours == exact(book.deposits) + exact(book.realized) + exact(accounting.unrealized(book, mark))


@given(runs)
def test_cost_and_position_are_never_negative_and_nothing_held_has_cost_nothing(fills: Fills) -> None:
    for book in folded(OPENING, fills):
        assert book.base >= ZERO
        assert book.cost >= ZERO
        if book.base == ZERO:
            assert book.cost == ZERO


def test_a_sale_of_nearly_all_cannot_release_more_than_the_cost() -> None:
    held = Book(base=Decimal(10), cost=Decimal("0.0000001000009"))
    after = accounting.fold(held, Side.SELL, fill(Decimal("9.99999"), Decimal("0.00000001")), "BTC", "USDT")
    assert after.base == Decimal("0.00001")
    assert after.cost >= ZERO


@given(runs)
@settings(max_examples=60)
def test_a_sale_releases_cost_in_proportion_half_even_and_the_last_one_all_that_is_left(
    fills: Fills,
) -> None:
    book = OPENING
    for side, one in fills:
        after = accounting.fold(book, side, one, "BTC", "USDT")
        if side is Side.SELL:
            released = exact(book.cost) - exact(after.cost)
            share = exact(book.cost) * exact(one.qty) / exact(book.base)
            rounded = Fraction(round(share * 10**12), 10**12)  # round() of a Fraction is half-even
            assert released == (exact(book.cost) if one.qty == book.base else min(rounded, exact(book.cost)))
            if one.qty == book.base:
                assert (after.base, after.cost) == (ZERO, ZERO)
        book = after


@given(runs)
@settings(max_examples=60)
def test_the_parts_of_the_book_are_the_sums_of_the_fills(fills: Fills) -> None:
    *_, book = folded(OPENING, fills)
    quote, base, deposits, fees = exact(OPENING.quote), Fraction(0), exact(OPENING.deposits), Fraction(0)
    for side, one in fills:
        sign = 1 if side is Side.BUY else -1
        base += sign * exact(one.qty) - (exact(one.fee) if one.fee_asset == "BTC" else 0)
        quote -= sign * exact(one.quote_qty) + (exact(one.fee) if one.fee_asset == "USDT" else 0)
        deposits += exact(one.fee_quote) if one.fee_asset == "BNB" else 0
        fees += exact(one.fee_quote)
    assert [exact(part) for part in (book.quote, book.base, book.deposits, book.fees)] == [quote, base, deposits, fees]


@given(runs, marks)
@settings(max_examples=40)
def test_when_nothing_is_held_the_profit_is_the_cash_beyond_the_deposits_whatever_the_price(
    fills: Fills, mark: Decimal
) -> None:
    *_, book = folded(OPENING, fills)
    if book.base:
        (book,) = folded(book, [(Side.SELL, fill(book.base, Decimal(3)))])
    assert exact(book.realized) == exact(book.quote) - exact(book.deposits)
    assert accounting.unrealized(book, mark) == ZERO


@given(runs, st.integers(1, 9))
@settings(max_examples=40)
def test_a_fill_split_in_two_at_one_price_comes_to_the_same_book(fills: Fills, tenths: int) -> None:
    side, last = fills[-1]
    part = Decimal(tenths) / 10
    pieces = [
        fill(
            mul(last.qty, share),
            last.price,
            mul(last.fee, share),
            last.fee_asset,
            mul(last.fee_quote, share) if last.fee_asset == "BNB" else None,
        )
        for share in (part, 1 - part)
    ]
    before = folded(OPENING, fills[:-1])[-1] if fills[1:] else OPENING
    (whole,) = folded(before, [(side, last)])
    *_, split = folded(before, [(side, one) for one in pieces])
    assert (split.quote, split.base, split.deposits) == (whole.quote, whole.base, whole.deposits)
    assert abs(split.cost - whole.cost) <= QUANTUM
    assert abs(split.realized - whole.realized) <= QUANTUM


@given(runs, marks)
@settings(max_examples=40)
def test_a_hostile_decimal_context_of_the_thread_changes_no_balance(fills: Fills, mark: Decimal) -> None:
    *_, expected = folded(OPENING, fills)
    worth, equity = accounting.unrealized(expected, mark), accounting.equity(expected, mark)
    with localcontext(decimal.Context(prec=5, rounding=ROUND_UP, Emax=9, Emin=-9, traps=[])):
        *_, found = folded(OPENING, fills)
        assert str(found) == str(expected)
        assert str(accounting.unrealized(found, mark)) == str(worth)
        assert str(accounting.equity(found, mark)) == str(equity)


@given(st.lists(scaled(-(10**10), 10**10, 2), max_size=6))
@settings(max_examples=40)
def test_deposits_and_withdrawals_make_no_profit(amounts: list[Decimal]) -> None:
    book = Book()
    for amount in amounts:
        book = accounting.deposit(book, amount)
    assert book.deposits == book.quote == add(*amounts)
    assert (book.realized, book.cost, book.base, book.fees) == (ZERO,) * 4
    assert accounting.net_cash_in(book) == ZERO


@given(runs, st.lists(scaled(-(10**10), 10**10, 2), min_size=1, max_size=8), marks)
@settings(max_examples=60)
def test_money_put_in_or_taken_out_between_fills_moves_only_cash_and_deposits_and_keeps_the_identity(
    fills: Fills, amounts: list[Decimal], mark: Decimal
) -> None:
    book = Book()
    for (side, one), amount in zip(fills, itertools.cycle(amounts), strict=False):
        before, book = book, accounting.deposit(book, amount)
        assert replace(book, deposits=before.deposits, quote=before.quote) == before
        assert exact(book.deposits) - exact(before.deposits) == exact(book.quote) - exact(before.quote) == exact(amount)
        for after in (book, book := accounting.fold(book, side, one, "BTC", "USDT")):
            made = exact(after.realized) + exact(accounting.unrealized(after, mark))
            assert exact(accounting.equity(after, mark)) == exact(after.deposits) + made


@given(runs, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_fills_of_a_purchase_come_to_the_same_book_in_any_order(fills: Fills, chance: random.Random) -> None:
    order = [(Side.BUY, one) for _, one in fills]
    shuffled = chance.sample(order, len(order))
    assert folded(OPENING, shuffled)[-1] == folded(OPENING, order)[-1]


slices = st.lists(
    st.tuples(st.integers(1, 1000), scaled(1, 10**8, 2), st.sampled_from(["USDT", "BNB"])), min_size=2, max_size=5
)
"""Fills of one sale: weight of the quantity, price, currency of its fee of a tenth of a percent."""


@given(scaled(10**6, 10**12, 8), scaled(0, 10**20, 12), slices, st.integers(0, 1000), st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_the_fills_of_a_sale_come_to_the_same_totals_in_any_order_and_when_flat_to_the_same_book(
    base: Decimal, cost: Decimal, sizes: list[tuple[int, Decimal, str]], kept: int, chance: random.Random
) -> None:
    """Only how the cost is cut depends on the order: by half a quantum a fill at most, and by nothing once flat."""
    whole, order = sum(weight for weight, _, _ in sizes) + kept, []
    for weight, price, asset in sizes:
        qty = div(mul(base, Decimal(weight)), Decimal(whole), Decimal("1e-8"))
        fee = percent(mul(qty, price), Decimal("0.1"))
        order.append((Side.SELL, fill(qty, price, fee, asset, worth=fee)))
    rest = sub(base, add(*(one.qty for _, one in order)))
    if not kept:
        order[-1] = (Side.SELL, fill(add(order[-1][1].qty, rest), Decimal(7)))
    before = accounting.deposit(Book(base=base, cost=cost), Decimal(5))
    *_, first = folded(before, order)
    *_, other = folded(before, chance.sample(order, len(order)))
    if not kept:
        assert (first.base, first.cost, other) == (ZERO, ZERO, first)
    assert replace(other, cost=first.cost, realized=first.realized) == first
    assert exact(other.realized) - exact(other.cost) == exact(first.realized) - exact(first.cost)
    assert abs(exact(other.cost) - exact(first.cost)) <= len(order) * exact(QUANTUM)


# Known examples.


def test_a_fee_in_quote_is_cost_when_buying_and_less_proceeds_when_selling() -> None:
    (bought,) = folded(OPENING, [(Side.BUY, fill(Decimal(2), Decimal(100), Decimal("0.2")))])
    assert bought == Book(Decimal(10_000), Decimal("9799.8"), Decimal(2), Decimal("200.2"), ZERO, Decimal("0.2"))
    (sold,) = folded(bought, [(Side.SELL, fill(Decimal(1), Decimal(110), Decimal("0.11")))])
    assert sold.realized == Decimal("9.79")  # 110 - 0.11 - 100.1
    assert (sold.quote, sold.base, sold.cost) == (Decimal("9909.69"), Decimal(1), Decimal("100.1"))
    assert accounting.net_cash_in(sold) == Decimal("90.31")


def test_a_fee_in_base_shrinks_what_is_held_and_leaves_the_cost() -> None:
    (book,) = folded(OPENING, [(Side.BUY, fill(Decimal(2), Decimal(100), Decimal("0.002"), "BTC"))])
    assert book == Book(Decimal(10_000), Decimal(9_800), Decimal("1.998"), Decimal(200), ZERO, Decimal("0.2"))


def test_a_fee_in_a_third_asset_counts_as_money_put_in_and_spent() -> None:
    (bought,) = folded(OPENING, [(Side.BUY, fill(Decimal(2), Decimal(100), Decimal("0.001"), "BNB", Decimal("0.6")))])
    assert bought == Book(Decimal("10000.6"), Decimal(9_800), Decimal(2), Decimal("200.6"), ZERO, Decimal("0.6"))
    (sold,) = folded(bought, [(Side.SELL, fill(Decimal(2), Decimal(100), Decimal("0.001"), "BNB", Decimal("0.6")))])
    assert sold.realized == Decimal("-1.2")
    assert (sold.quote, sold.deposits, sold.fees) == (Decimal(10_000), Decimal("10001.2"), Decimal("1.2"))


def test_a_fee_in_base_of_a_sale_leaves_the_position_with_what_was_sold() -> None:
    held = Book(base=Decimal(2), cost=Decimal(200))
    (book,) = folded(held, [(Side.SELL, fill(Decimal(1), Decimal(120), Decimal("0.5"), "BTC"))])
    assert (book.base, book.cost, book.quote) == (Decimal("0.5"), Decimal(50), Decimal(120))
    assert book.realized == Decimal(-30)


# Published values.


def table(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text(), parse_float=Decimal)


def cut(value: Decimal, text: str) -> Decimal:
    """`value` to the digits of `text`, the rest cut off: so are the ratios freqtrade publishes."""
    return value.quantize(Decimal(1).scaleb(-len(text.partition(".")[2])), ROUND_DOWN)


@published
@pytest.mark.parametrize("row", range(6))
def test_freqtrade_publishes_our_profit_of_one_purchase_and_one_sale(row: int) -> None:
    """freqtrade charges both fees in quote, on top of the stake and off the proceeds: so do we."""
    document = table("freqtrade_single_spot.json")
    position, wanted = document["position"], document["profit"][row]
    qty, opened, closed = Decimal(position["amount"]), Decimal(position["open_rate"]), Decimal(wanted["close_rate"])
    buy_fee = qty * opened * Decimal(position["fee_open"])
    sell_fee = qty * closed * Decimal(wanted["fee_close"])
    bought, sold = folded(Book(), [(Side.BUY, fill(qty, opened, buy_fee)), (Side.SELL, fill(qty, closed, sell_fee))])
    assert bought.cost == Decimal(document["open_value_fee_0.0025"])
    assert sold.realized == Decimal(wanted["profit"])
    assert cut(div(sold.realized, bought.cost), wanted["ratio"]) == Decimal(wanted["ratio"])
    assert (sold.base, sold.cost) == (ZERO, ZERO)


@published
def test_freqtrade_publishes_our_value_of_a_purchase_and_our_proceeds_of_a_sale() -> None:
    document = table("freqtrade_single_spot.json")
    qty, opened = Decimal(document["position"]["amount"]), Decimal(document["position"]["open_rate"])
    for rate in ("0.0025", "0.003"):
        (book,) = folded(Book(), [(Side.BUY, fill(qty, opened, qty * opened * Decimal(rate)))])
        assert book.cost == Decimal(document[f"open_value_fee_{rate}"])
    for wanted in document["close_value"]:
        price = Decimal(wanted["close_rate"])
        held = Book(base=qty, cost=Decimal(60))
        (book,) = folded(held, [(Side.SELL, fill(qty, price, qty * price * Decimal(wanted["fee"])))])
        assert book.quote == Decimal(wanted["value"])


@published
@pytest.mark.parametrize("case", range(5))
def test_freqtrade_publishes_our_profit_after_each_of_many_purchases_and_sales(case: int) -> None:
    """freqtrade keeps the mean price without fees and charges amount x mean x (1 + fee) at each exit.

    With one fee rate for all purchases that is our pooled cost with fees inside, so every realized number
    and the total agree; its open_rate is our cost per unit without the fee, its stake our cost without it. Its
    ratio is that of the last exit. Its last row keeps amount and stake from before the exit, because it closes
    a trade in a call of its own; we are flat there.
    """
    document = table("freqtrade_dca_spot.json")["cases"][case]
    rate, book, staked, ratio = Decimal(document["fee"]), Book(), ZERO, ZERO
    for position, ((side, *sizes), wanted) in enumerate(document["orders"]):
        amount, open_rate, stake, total, of_this, relative = wanted
        qty, price = map(Decimal, sizes)
        before = book
        book = accounting.fold(book, Side(side.upper()), fill(qty, price, qty * price * rate), "BTC", "USDT")
        staked += qty * price * (1 + rate) if side == "buy" else ZERO
        assert book.realized == Decimal(total)
        if side == "sell":
            assert book.realized - before.realized == Decimal(of_this)
            ratio = div(book.realized, staked)
        if relative is not None:
            assert cut(ratio, relative) == Decimal(relative)
        held = book if position < len(document["orders"]) - 1 else before
        assert held.base == Decimal(amount)
        assert held.cost == held.base * Decimal(open_rate) * (1 + rate) == Decimal(stake) * (1 + rate)
    assert (book.base, book.cost) == (ZERO, ZERO)
    assert book.realized == Decimal(document["end_profit"])


@published
@pytest.mark.parametrize("case", range(3))
def test_nautilus_publishes_our_profit_once_its_entry_fees_are_put_where_we_keep_them(case: int) -> None:
    """nautilus takes every commission out of realized at once; ours of a purchase stays in the cost until the sale.

    So its realized is ours less the entry fees that are still in the cost, which are the cost beyond
    quantity x its mean price; realized and unrealized together are the same number in both.
    """
    document = table("nautilus_position.json")["cases"][case]
    rate, book = Decimal(document["fee_rate_derived"]), Book()
    for (side, *sizes), wanted in zip(document["fills"], document["after"], strict=True):
        qty, price = map(Decimal, sizes)
        book = accounting.fold(book, Side(side), fill(qty, price, qty * price * rate), "BTC", "USDT")
        if wanted is None:
            continue
        assert book.base == Decimal(wanted["qty"])
        mean = Decimal(wanted.get("avg_open", price))
        fees_held = book.cost - book.base * mean
        assert (book.realized - fees_held).quantize(Decimal("1e-8")) == Decimal(wanted["realized"])
        if "total" in wanted:
            mark = Decimal(wanted["mark"])
            assert book.realized + accounting.unrealized(book, mark) == Decimal(wanted["total"])
            assert accounting.unrealized(book, mark) + fees_held == Decimal(wanted["unrealized"])
            assert book.fees == Decimal(wanted["commissions"])


@published
@pytest.mark.parametrize("case", range(2))
def test_nautilus_publishes_our_cost_of_a_unit_before_fees_to_the_precision_of_its_doubles(case: int) -> None:
    """It publishes 9999.413793103447 where 289,983 / 29 ends in 448. After a sale our cost is rounded to 1e-12."""
    document = table("nautilus_position.json")["cases"][case]
    free = [(Side(side), fill(Decimal(qty), Decimal(price))) for side, qty, price in document["fills"]]
    for book, wanted in zip(folded(Book(), free), document["after"], strict=True):
        if wanted is not None:
            ours = exact(book.cost) / exact(book.base)
            within = Fraction(math.ulp(float(wanted["avg_open"]))) + exact(QUANTUM) / exact(book.base)
            assert abs(ours - exact(Decimal(wanted["avg_open"]))) <= within


@published
def test_hummingbot_publishes_our_profit_of_a_book_that_holds_its_starting_balances_at_the_current_price() -> None:
    """It has no cost: profit is what the balances are worth now less what the first ones would be worth now.

    So neither our released cost nor our realized profit has a figure there; with the first balances as the deposit,
    the coins at the current price, realized and unrealized together are its profit.
    """
    document = table("hummingbot_trade_pnl.json")
    mark, now = Decimal(document["current_price"]), document["current_balances"]
    fills = [(Side(side), fill(Decimal(qty), Decimal(price))) for side, qty, price in document["trades"]]
    *_, moved = folded(Book(), fills)
    quote, base = Decimal(now["quote"]) - moved.quote, Decimal(now["base"]) - moved.base
    start = Book(deposits=quote + base * mark, quote=quote, base=base, cost=base * mark)
    *_, book = folded(start, fills)
    assert (book.base, book.quote) == (Decimal(now["base"]), Decimal(now["quote"]))
    assert book.realized + accounting.unrealized(book, mark) == Decimal(document["trade_pnl"])
    assert accounting.equity(book, mark) - book.deposits == Decimal(document["trade_pnl"])


@published
def test_the_tax_office_publishes_our_pool_of_costs() -> None:
    """A section 104 pool is average cost with the costs pooled: each allowable cost is our released cost."""
    book = Book()
    for event in table("hmrc_pool.json")["events"]:
        qty = Decimal(event["qty"])
        if event["op"] == "acquire":
            book = accounting.fold(book, Side.BUY, fill(qty, Decimal(event["cost"]) / qty), "BTC", "USDT")
        else:
            assert accounting.released_cost(book, qty) == Decimal(event["allowable_cost"])
            before, price = book, Decimal(event.get("consideration", 0)) / qty
            book = accounting.fold(book, Side.SELL, fill(qty, price), "BTC", "USDT")
            if "gain" in event:
                assert book.realized - before.realized == Decimal(event["gain"])
        assert (book.base, book.cost) == (Decimal(event["pool_qty"]), Decimal(event["pool_cost"]))


@published
def test_the_tax_office_rounds_its_second_pool_as_we_do_and_its_third_to_whole_pounds() -> None:
    """Its third example gives 63 for an exact 62.5, and leaves 937: whole pounds for the taxpayer. We keep the half."""
    document = table("hmrc_pool.json")
    second, third = document["second_example"], document["rounding_example"]
    pool = Book(base=Decimal(second["pool_before"][0]), cost=Decimal(second["pool_before"][1]))
    (after,) = folded(pool, [(Side.SELL, fill(Decimal(second["dispose_from_pool"]), ZERO))])
    assert pool.cost - after.cost == Decimal(second["allowable_cost"])
    assert [after.base, after.cost] == [Decimal(one) for one in second["pool_after"]]

    pool = Book(base=Decimal(third["pool_before"][0]), cost=Decimal(third["pool_before"][1]))
    (after,) = folded(pool, [(Side.SELL, fill(Decimal(third["dispose_from_pool"]), ZERO))])
    released, (qty, cost) = pool.cost - after.cost, map(Decimal, third["pool_after_published"])
    assert released == Decimal(third["exact"])
    assert released.to_integral_value(ROUND_UP) == Decimal(third["allowable_cost_published"])
    assert (after.base, after.cost.to_integral_value(ROUND_DOWN)) == (qty, cost)


# What leaves an account by another way than a sale.


@given(st.data())
def test_what_is_withdrawn_wins_and_loses_nothing_whatever_the_price(data: st.DataObject) -> None:
    held, cost = data.draw(scaled(1, 10**9, 8)), data.draw(scaled(0, 10**9, 8))
    deposits, quote = data.draw(scaled(0, 10**9, 8)), data.draw(scaled(0, 10**9, 8))
    realized = sub(add(quote, cost), deposits)
    book = Book(deposits, quote, held, cost, realized)
    base, taken = data.draw(st.sampled_from([ZERO, held, held / 3])), data.draw(st.sampled_from([ZERO, quote]))
    base = base.quantize(QUANTUM, rounding=ROUND_DOWN)
    after, mark = accounting.withdraw(book, base, taken), data.draw(scaled(1, 10**9, 4))
    worth = add(accounting.equity(after, mark), accounting.value(base, mark), taken)
    assert abs(worth - accounting.equity(book, mark)) <= 2 * QUANTUM  # two roundings of a value instead of one
    total = add(after.deposits, after.realized, accounting.unrealized(after, mark))
    assert accounting.equity(after, mark) == total
    assert (after.realized, after.fees) == (book.realized, book.fees)
    assert (after.base, after.quote) == (sub(held, base), sub(quote, taken))
    if after.base == ZERO:
        assert after.cost == ZERO


def test_an_epoch_begins_with_its_quote_and_nothing_else() -> None:
    assert accounting.opening(Decimal("812.5")) == Book(Decimal("812.5"), Decimal("812.5"))
