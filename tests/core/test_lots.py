"""Lots: what must hold beside the book after any fills, examples by hand, and published round trips."""

from __future__ import annotations

import decimal
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.core import accounting, lots
from trader_cli.core.decimals import MONEY, ZERO, add, div, mul, percent, sub
from trader_cli.schemas.book import Book
from trader_cli.schemas.lot import ClosedLot, Lot
from trader_cli.schemas.order import Fill, Side

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "accounting"
published = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the published values are not on this machine")

BUY, SELL = Side.BUY, Side.SELL
OPENING = accounting.deposit(Book(), Decimal(10_000))
Fills = list[tuple[Side, Fill]]
Steps = list[tuple[Book, tuple[Lot, ...], tuple[ClosedLot, ...]]]


def fill(
    qty: str | Decimal, price: str | Decimal, fee: str | Decimal = ZERO, asset: str = "USDT", worth: Decimal = ZERO
) -> Fill:
    """One execution; `worth` is the fee's value in quote where the fee is in neither currency."""
    qty, price, fee = Decimal(qty), Decimal(price), Decimal(fee)
    fee_quote = {"USDT": fee, "BTC": mul(fee, price)}.get(asset, worth)
    return Fill("t", qty, price, mul(qty, price), fee, asset, fee_quote, 0)


def folded(fills: Iterable[tuple[Side, Fill]]) -> Steps:
    """Book, open lots and everything closed so far after each fill; fill i is of order `i` at time i."""
    steps: Steps = [(OPENING, (), ())]
    for at, (side, one) in enumerate(fills):
        book, held, closed = steps[-1]
        held, now = lots.fold(held, side, replace(one, at=at), str(at), "BTC", "USDT")
        steps.append((accounting.fold(book, side, one, "BTC", "USDT"), held, (*closed, *now)))
    return steps[1:]


def exactly(values: Iterable[Decimal]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0))


# Properties of any run of fills.


def run(places: tuple[int, int], steps: list[tuple[Side, int, int, int, str, str]]) -> Fills:
    """Fills from plain numbers: side, thousandths of the position sold (1000 flattens, more oversells), quantity
    and price in units of the grid, currency of the fee, its percent."""
    base, fills = ZERO, []
    for wish, part, units, ticks, asset, pct in steps:
        qty, price = Decimal(units).scaleb(-places[0]), Decimal(ticks).scaleb(-places[1])
        side = wish if base > ZERO or part > 1000 else BUY
        tame = side is SELL and part <= 1000
        currency = "USDT" if tame and asset == "BTC" else asset  # a fee in base could oversell
        if side is SELL and base > ZERO:
            share = div(mul(base, Decimal(part)), Decimal(1000), Decimal(1).scaleb(-places[0]))
            qty = base if part == 1000 else min(share, base) if tame else share
        if qty == ZERO:
            continue
        fee = MONEY.quantize(percent(qty if currency == "BTC" else mul(qty, price), Decimal(pct)), Decimal("1e-8"))
        fills.append((side, fill(qty, price, fee, currency, worth=mul(fee, Decimal("1.7")))))
        base = accounting.fold(Book(base=base), *fills[-1], "BTC", "USDT").base
    return fills


def steps(parts: st.SearchStrategy[int]) -> st.SearchStrategy[Fills]:
    grids = st.sampled_from([(5, 2), (8, 8), (0, 8), (3, 4)])
    currencies, fees = st.sampled_from(["USDT", "BTC", "BNB"]), st.sampled_from(["0", "0.1", "0.075", "1"])
    step = st.tuples(st.sampled_from(Side), parts, st.integers(1, 10**9), st.integers(1, 10**8), currencies, fees)
    return st.builds(run, grids, st.lists(step, min_size=1, max_size=10)).filter(bool)


runs = steps(st.integers(1, 1000) | st.just(1000))
"""Purchases and sales one after the other: partial ones, ones that flatten, fees in any currency."""

wild_runs = steps(st.integers(1, 2000) | st.just(1000))
"""The same with sales of more than is held, or of what was never held."""

marks = st.integers(0, 10**12).map(lambda n: Decimal(n).scaleb(-8))


@given(wild_runs)
@settings(max_examples=80)
def test_the_open_lots_hold_exactly_what_the_book_holds(fills: Fills) -> None:
    for book, held, _ in folded(fills):
        assert exactly(lot.qty for lot in held) == Fraction(book.base)


@given(runs)
@settings(max_examples=80)
def test_whenever_nothing_is_held_the_closed_profits_are_the_realized_profit_of_the_book(fills: Fills) -> None:
    held = folded(fills)[-1][0].base
    for book, open_lots, closed in folded([*fills, *([(SELL, fill(held, "3"))] if held else [])]):
        if book.base == ZERO:
            assert open_lots == ()
            assert exactly(one.profit for one in closed) == Fraction(book.realized)


@given(wild_runs)
@settings(max_examples=80)
def test_closed_profits_less_open_costs_are_those_of_the_book_at_every_step_even_oversold(fills: Fills) -> None:
    for book, held, closed in folded(fills):
        ours = exactly(one.profit for one in closed) - exactly(lot.cost for lot in held)
        assert ours == Fraction(book.realized) - Fraction(book.cost)


@given(wild_runs, marks)
@settings(max_examples=60)
def test_equity_is_deposits_and_closed_profits_and_what_the_open_lots_are_worth_beyond_their_cost(
    fills: Fills, mark: Decimal
) -> None:
    for book, held, closed in folded(fills):
        worth = accounting.value(add(*(lot.qty for lot in held)), mark)
        unrealized = Fraction(worth) - exactly(lot.cost for lot in held)
        equity = Fraction(book.deposits) + exactly(one.profit for one in closed) + unrealized
        assert equity == Fraction(accounting.equity(book, mark))


@given(wild_runs)
@settings(max_examples=80)
def test_the_pieces_of_a_sale_add_up_to_it_and_to_what_left_the_lots(fills: Fills) -> None:
    before: Steps = [(OPENING, (), ()), *folded(fills)]
    for order, (side, one) in enumerate(fills):
        (_, held, earlier), (_, after, closed) = before[order : order + 2]
        pieces = closed[len(earlier) :]
        if side is BUY:
            assert pieces == ()
            continue
        fee_base = one.fee if one.fee_asset == "BTC" else ZERO
        fee_paid = ZERO if one.fee_asset == "BTC" else one.fee_quote
        assert exactly(piece.qty for piece in pieces) == Fraction(one.qty) + Fraction(fee_base)
        assert exactly(piece.proceeds for piece in pieces) == Fraction(one.quote_qty) - Fraction(fee_paid)
        gone = exactly(lot.cost for lot in held) - exactly(lot.cost for lot in after)
        assert exactly(piece.cost for piece in pieces) == gone
        assert {(piece.closed_by, piece.closed_at) for piece in pieces} == {(str(order), order)}
        assert all(piece.profit == sub(piece.proceeds, piece.cost) for piece in pieces)


@given(runs)
@settings(max_examples=60)
def test_a_purchase_is_its_open_lot_and_the_pieces_closed_of_it(fills: Fills) -> None:
    _, held, closed = folded(fills)[-1]
    for order, (side, one) in enumerate(fills):
        if side is SELL:
            continue
        mine: list[Lot | ClosedLot] = [lot for lot in held if lot.client_order_id == str(order)]
        mine += [piece for piece in closed if piece.opened_by == str(order)]
        fee_base = one.fee if one.fee_asset == "BTC" else ZERO
        fee_paid = ZERO if one.fee_asset == "BTC" else one.fee_quote
        assert exactly(part.qty for part in mine) == Fraction(one.qty) - Fraction(fee_base)
        assert exactly(part.cost for part in mine) == Fraction(one.quote_qty) + Fraction(fee_paid)


@given(runs)
@settings(max_examples=60)
def test_the_oldest_lot_is_closed_first_and_only_the_oldest_open_one_is_broken(fills: Fills) -> None:
    _, held, closed = folded(fills)[-1]
    openers = [piece.opened_at for piece in closed] + [lot.opened_at for lot in held]
    assert openers == sorted(openers)
    assert all(piece.opened_at < piece.closed_at for piece in closed)
    pieces = {piece.opened_by for piece in closed}
    assert all(lot.client_order_id not in pieces for lot in held[1:])


@given(runs)
@settings(max_examples=60)
def test_no_lot_and_no_piece_holds_or_costs_less_than_nothing(fills: Fills) -> None:
    for _, held, closed in folded(fills):
        assert all(lot.qty > ZERO and lot.cost >= ZERO for lot in held)
        assert all(piece.qty > ZERO and piece.cost >= ZERO and piece.proceeds >= ZERO for piece in closed)


@given(runs)
@settings(max_examples=60)
def test_a_broken_lot_releases_cost_in_proportion_half_even_and_its_last_piece_the_rest(fills: Fills) -> None:
    held: tuple[Lot, ...] = ()
    for _, after, closed in folded(fills):
        for lot in held:
            for left in after:
                if left.client_order_id == lot.client_order_id and left.qty < lot.qty:
                    share = Fraction(lot.cost) * (Fraction(lot.qty) - Fraction(left.qty)) / Fraction(lot.qty)
                    rounded = Fraction(round(share * 10**12), 10**12)  # round() of a Fraction is half-even
                    assert Fraction(lot.cost) - Fraction(left.cost) == min(rounded, Fraction(lot.cost))
            if lot.client_order_id not in {left.client_order_id for left in after}:
                last = [piece for piece in closed if piece.opened_by == lot.client_order_id][-1]
                assert (last.qty, last.cost) == (lot.qty, lot.cost)
        held = after


@given(runs, st.integers(0, 3), st.lists(st.integers(1, 10**8), min_size=2, max_size=5), st.randoms())
@settings(max_examples=60)
def test_the_fills_of_one_sale_leave_the_same_lots_and_totals_in_any_order(
    fills: Fills, kept: int, ticks: list[int], chance: random.Random
) -> None:
    """Only how the cost of the broken lot is cut depends on the order: by half a quantum a fill at most."""
    parts = sum(range(1, len(ticks) + 1)) + kept  # fill i sells i + 1 of them
    buys = [(BUY, fill(one.qty * parts, one.price)) for _, one in fills]
    part = add(*(one.qty for _, one in fills))
    order = [(SELL, fill(part * (i + 1), Decimal(n).scaleb(-2), "0.01")) for i, n in enumerate(ticks)]
    (book, held, closed), (same, left, pieces) = (
        folded([*buys, *one])[-1] for one in (order, chance.sample(order, len(order)))
    )
    assert [(lot.client_order_id, lot.qty) for lot in left] == [(lot.client_order_id, lot.qty) for lot in held]
    assert (same.base, same.quote, bool(left)) == (book.base, book.quote, kept > 0)
    ours, theirs = exactly(lot.cost for lot in held), exactly(lot.cost for lot in left)
    assert abs(ours - theirs) <= len(order) * Fraction(1, 10**12)
    assert exactly(one.profit for one in pieces) - theirs == exactly(one.profit for one in closed) - ours


@given(runs)
@settings(max_examples=60)
def test_pieces_of_one_sale_share_its_proceeds_by_quantity(fills: Fills) -> None:
    *_, (_, _, closed) = folded(fills)
    for order, (side, one) in enumerate(fills):
        pieces = [piece for piece in closed if piece.closed_by == str(order)]
        if side is SELL:
            whole = exactly(piece.proceeds for piece in pieces)
            for piece in pieces:
                share = whole * Fraction(piece.qty) / Fraction(one.qty)
                assert abs(Fraction(piece.proceeds) - share) <= len(pieces) * Fraction(1, 10**12)


@given(wild_runs)
@settings(max_examples=40)
def test_a_hostile_decimal_context_of_the_thread_changes_no_lot(fills: Fills) -> None:
    expected = folded(fills)
    with localcontext(decimal.Context(prec=5, rounding=ROUND_UP, Emax=9, Emin=-9, traps=[])):
        assert str(folded(fills)) == str(expected)


# Known examples.


@given(runs, st.integers(0, 10**6), st.sampled_from([Decimal(1), Decimal("1e-9"), Decimal("1e-12")]))
def test_what_left_by_another_way_leaves_lots_that_are_the_book_and_none_below_nothing(
    fills: Fills, millionths: int, of: Decimal
) -> None:
    """However little is left: a rest of some 1e-12 is less than the digits of its shares."""
    book, held, _ = folded(fills)[-1]
    part = mul(mul(book.base, Decimal(millionths) / 10**6), of)
    left = accounting.withdraw(book, sub(book.base, part), ZERO)
    kept = lots.withdrawn(held, left.base, left.cost)
    assert exactly(lot.qty for lot in kept) == Fraction(left.base)
    assert all(lot.qty >= 0 and lot.cost >= 0 for lot in kept)
    if left.base:
        assert exactly(lot.cost for lot in kept) == Fraction(left.cost)
    assert [lot.opened_at for lot in kept] == sorted(lot.opened_at for lot in kept)
    for lot in kept:
        (was,) = [one for one in held if one.client_order_id == lot.client_order_id]
        assert lot.qty <= was.qty


def test_a_purchase_opens_a_lot_at_its_cost_with_the_fee() -> None:
    ((_, held, closed),) = folded([(BUY, fill("2", "100", "0.2"))])
    assert held == (Lot("0", 0, Decimal(2), Decimal("200.2")),)
    assert closed == ()


def test_a_fee_in_base_shrinks_the_lot_and_leaves_its_cost() -> None:
    ((_, held, _),) = folded([(BUY, fill("2", "100", "0.002", "BTC"))])
    assert held == (Lot("0", 0, Decimal("1.998"), Decimal(200)),)


def test_a_fee_in_a_third_asset_is_cost_of_the_lot_and_taken_off_the_proceeds() -> None:
    bnb = fill("2", "100", "0.001", "BNB", Decimal("0.6"))
    (_, held, _), (book, _, closed) = folded([(BUY, bnb), (SELL, bnb)])
    assert held == (Lot("0", 0, Decimal(2), Decimal("200.6")),)
    assert closed == (ClosedLot("0", "1", 0, 1, Decimal(2), Decimal("200.6"), Decimal("199.4"), Decimal("-1.2")),)
    assert book.realized == Decimal("-1.2")


def test_a_sale_closes_the_oldest_lot_first_and_breaks_the_next() -> None:
    """1 at 100 and 2 at 130, then 2 sold at 150 with a fee of 1: 299 over two coins."""
    *_, (book, held, closed) = folded([(BUY, fill("1", "100")), (BUY, fill("2", "130")), (SELL, fill("2", "150", "1"))])
    assert closed == (
        ClosedLot("0", "2", 0, 2, Decimal(1), Decimal(100), Decimal("149.5"), Decimal("49.5")),
        ClosedLot("1", "2", 1, 2, Decimal(1), Decimal(130), Decimal("149.5"), Decimal("19.5")),
    )
    assert held == (Lot("1", 1, Decimal(1), Decimal(130)),)
    assert book.realized == Decimal(59)  # at average cost 120 a coin: the two differ while something is held


def test_first_in_first_out_and_average_cost_differ_while_holding_and_agree_when_flat() -> None:
    buys = [(BUY, fill("1", "100")), (BUY, fill("2", "130"))]
    *_, (partly, _, closed), (flat, held, all_closed) = folded(
        [*buys, (SELL, fill("2", "150")), (SELL, fill("1", "90"))]
    )
    assert partly.realized == Decimal(60)
    assert add(*(one.profit for one in closed)) == Decimal(70)
    assert flat.realized == add(*(one.profit for one in all_closed)) == Decimal(30)
    assert held == ()


def test_thirds_of_a_lot_leave_no_remainder_behind() -> None:
    third = (SELL, fill("1", "0.333333333333"))
    *_, (book, held, closed) = folded([(BUY, fill("3", "0.333333333333", "0.000000000001")), *[third] * 3])
    assert [one.cost for one in closed] == [
        Decimal("0.333333333333"),
        Decimal("0.333333333334"),
        Decimal("0.333333333333"),
    ]
    assert add(*(one.cost for one in closed)) == Decimal(1)
    assert (held, book.realized) == ((), Decimal("-0.000000000001"))


def test_several_fills_of_one_order_are_lots_of_their_own() -> None:
    held, _ = lots.fold((), BUY, fill("1", "100"), "order", "BTC", "USDT")
    held, _ = lots.fold(held, BUY, fill("1", "101"), "order", "BTC", "USDT")
    assert [(lot.client_order_id, lot.cost) for lot in held] == [("order", Decimal(100)), ("order", Decimal(101))]


def test_a_fee_in_base_of_a_sale_leaves_the_lot_with_what_was_sold() -> None:
    *_, (book, held, closed) = folded([(BUY, fill("2", "100")), (SELL, fill("1", "120", "0.5", "BTC"))])
    assert held == (Lot("0", 0, Decimal("0.5"), Decimal(50)),)
    assert (closed[0].qty, closed[0].profit) == (Decimal("1.5"), Decimal(-30))
    assert book.realized == Decimal(-30)


def test_what_is_sold_beyond_what_is_held_cost_nothing_and_was_opened_by_the_sale() -> None:
    fills = [(BUY, fill("1", "100")), (SELL, fill("3", "120")), (BUY, fill("5", "110"))]
    _, (oversold, short, closed), (covered, held, _) = folded(fills)
    assert [(one.opened_by, one.qty, one.cost, one.profit) for one in closed] == [
        ("0", Decimal(1), Decimal(100), Decimal(20)),
        ("1", Decimal(2), ZERO, Decimal(240)),
    ]
    assert short == (Lot("1", 1, Decimal(-2), ZERO),)
    assert (oversold.base, oversold.realized) == (Decimal(-2), Decimal(260))
    assert held == (Lot("2", 2, Decimal(3), Decimal(550)),)
    assert (covered.base, covered.cost) == (Decimal(3), Decimal(550))


# Published values: where a position is flat, or profit and cost are taken together, FIFO is the same number.


def table(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text(), parse_float=Decimal)


def trades(rows: Sequence[Sequence[str]], rate: Decimal = ZERO) -> Fills:
    sizes = [(Side(side.upper()), Decimal(qty), Decimal(price)) for side, qty, price in rows]
    return [(side, fill(qty, price, qty * price * rate)) for side, qty, price in sizes]


@published
@pytest.mark.parametrize("row", range(6))
def test_freqtrade_publishes_the_profit_of_our_lot_of_one_purchase_and_one_sale(row: int) -> None:
    document = table("freqtrade_single_spot.json")
    position, wanted = document["position"], document["profit"][row]
    bought = trades([("BUY", position["amount"], position["open_rate"])], Decimal(position["fee_open"]))
    sold = trades([("SELL", position["amount"], wanted["close_rate"])], Decimal(wanted["fee_close"]))
    *_, (_, held, (closed,)) = folded([*bought, *sold])
    assert closed.cost == Decimal(document["open_value_fee_0.0025"])
    assert closed.profit == Decimal(wanted["profit"])
    digits = Decimal(1).scaleb(-len(wanted["ratio"].partition(".")[2]))
    assert div(closed.profit, closed.cost).quantize(digits, ROUND_DOWN) == Decimal(wanted["ratio"])
    assert held == ()


@published
@pytest.mark.parametrize("case", range(5))
def test_freqtrade_publishes_the_profit_of_all_our_lots_once_it_is_flat(case: int) -> None:
    document = table("freqtrade_dca_spot.json")["cases"][case]
    *_, (_, held, closed) = folded(trades([order for order, _ in document["orders"]], Decimal(document["fee"])))
    assert add(*(one.profit for one in closed)) == Decimal(document["end_profit"])
    assert held == ()


@published
@pytest.mark.parametrize("case", range(3))
def test_nautilus_publishes_the_profit_of_our_lots_closed_and_open_together(case: int) -> None:
    """Its realized has every commission off; with quantity x (mark - its mean) it is ours at the same mark."""
    document = table("nautilus_position.json")["cases"][case]
    steps = folded(trades(document["fills"], Decimal(document["fee_rate_derived"])))
    for (_, *sizes), (_, held, closed), wanted in zip(document["fills"], steps, document["after"], strict=True):
        if wanted is None:
            continue
        qty, mark = Decimal(wanted["qty"]), Decimal(wanted.get("mark", sizes[1]))
        unrealized = qty * (mark - Decimal(wanted.get("avg_open", sizes[1])))
        total = Decimal(wanted.get("total", Decimal(wanted["realized"]) + unrealized))
        ours = add(*(one.profit for one in closed)) + qty * mark - add(*(lot.cost for lot in held))
        assert add(*(lot.qty for lot in held)) == qty
        assert abs(ours - total) < Decimal("2e-8")  # its realized has 8 places


@published
def test_the_tax_office_allows_the_costs_of_our_lots_once_the_pool_is_empty() -> None:
    """First in first out releases 500 where the pool releases 42,000; both release 126,000 in the end."""
    events = table("hmrc_pool.json")["events"]
    rows = [(e, Decimal(e["qty"]), Decimal(e.get("cost", e.get("consideration", "0")))) for e in events]
    fills = [(BUY if e["op"] == "acquire" else SELL, fill(qty, money / qty)) for e, qty, money in rows]
    *_, (book, held, closed) = folded(fills)
    assert closed[0].cost == Decimal(500)
    assert add(*(one.cost for one in closed)) == sum(Decimal(e.get("allowable_cost", "0")) for e in events)
    assert add(*(one.profit for one in closed)) == book.realized
    assert held == ()


@published
def test_hummingbot_publishes_the_worth_of_our_closed_and_open_lots_even_oversold() -> None:
    """It sells 15 of 10 bought: what it held before counts at the current price, which is our short lot."""
    document = table("hummingbot_trade_pnl.json")
    *_, (_, held, closed) = folded(trades(document["trades"]))
    worth = accounting.value(add(*(lot.qty for lot in held)), Decimal(document["current_price"]))
    ours = add(*(one.profit for one in closed)) + worth - add(*(lot.cost for lot in held))
    assert ours == Decimal(document["trade_pnl"])
