"""Experiments: every purchase is weighed once, and what models cost is neither lost nor counted twice."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.decimals import ZERO, add, div
from trader_cli.core.experiments import Piece, Purchase, bought, charged, real, sold
from trader_cli.core.lots import fold
from trader_cli.schemas.lot import ClosedLot, Lot
from trader_cli.schemas.order import Fill, Side

D = Decimal


def fill(number: int, qty: Decimal, price: Decimal) -> Fill:
    return Fill(f"f{number}", qty, price, qty * price, ZERO, "USDT", ZERO, number * 1000)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, Decimal, Decimal]]:
    """Purchases, sales of a share of what is held, and costs of models, in any order."""
    steps = draw(st.lists(st.sampled_from(["buy", "sell", "cost"]), min_size=1, max_size=25))
    return [
        (
            step,
            D(draw(st.integers(1, 100))) / 100,
            D(draw(st.integers(1, 500))) / (1000 if step == "cost" else 1),
        )
        for step in steps
    ]


def play(
    story: list[tuple[str, Decimal, Decimal]],
) -> tuple[dict[str, Purchase], tuple[Lot, ...], list[Piece], Decimal]:
    """The story's end: purchases, lots, outcomes, and the costs that fell while something was held."""
    purchases: dict[str, Purchase] = {}
    lots: tuple[Lot, ...] = ()
    pieces: list[Piece] = []
    spent = ZERO
    for number, (step, share, amount) in enumerate(story, 1):
        held = add(*(lot.qty for lot in lots))
        if step == "cost":
            spent += amount if real(purchases, lots) else ZERO
            purchases = charged(purchases, lots, amount)
        elif step == "buy":
            lots, _ = fold(lots, Side.BUY, fill(number, share, amount), f"b{number}", "BTC", "USDT")
            purchases = bought(purchases, f"b{number}", share, ZERO)
        elif held > ZERO:
            before = lots
            qty = held if share == 1 else (held * share).quantize(D("1e-8"))
            lots, closed = fold(lots, Side.SELL, fill(number, qty, amount), f"s{number}", "BTC", "USDT")
            purchases, found = sold(purchases, before, closed)
            pieces += found
    return purchases, lots, pieces, spent


@given(stories())
def test_what_models_cost_is_taken_over_once_and_kept_until_then(story: list[tuple[str, Decimal, Decimal]]) -> None:
    purchases, _, pieces, spent = play(story)
    taken = add(*(piece.model_cost for piece in pieces))
    waiting = add(*(one.model_cost for one in purchases.values()))
    assert add(taken, waiting) == spent
    assert all(piece.model_cost >= ZERO for piece in pieces)


@given(stories())
def test_the_shares_of_a_purchase_add_up_to_one_when_it_is_gone(story: list[tuple[str, Decimal, Decimal]]) -> None:
    purchases, lots, pieces, _ = play(story)
    left = {lot.client_order_id for lot in lots}
    assert set(purchases) == left
    for order in {piece.opened_by for piece in pieces} - left:
        assert abs(add(*(piece.share for piece in pieces if piece.opened_by == order)) - 1) < D("1e-9")
    for order in left & {piece.opened_by for piece in pieces}:
        assert add(*(piece.share for piece in pieces if piece.opened_by == order)) < 1


def test_costs_are_shared_by_what_each_purchase_cost() -> None:
    lots = (Lot("a", 0, D(1), D(100)), Lot("b", 0, D(1), D(300)))
    purchases = bought(bought({}, "a", D(1), D("0.5")), "b", D(1), ZERO)
    after = charged(purchases, lots, D("0.04"))
    assert {order: one.model_cost for order, one in after.items()} == {"a": D("0.51"), "b": D("0.03")}


def test_dust_bears_nothing_and_nothing_is_lost_where_only_dust_is_held() -> None:
    purchases = bought(bought({}, "a", D(1), ZERO), "b", D(1), ZERO)
    lots = (Lot("a", 0, D("0.01"), D(1)), Lot("b", 0, D("0.02"), D(2)))
    assert set(real(purchases, lots)) == {"b"}
    assert charged(purchases, lots, D(1))["b"].model_cost == D(1)
    assert charged(purchases, lots[:1], D(1)) == purchases


def test_several_fills_of_both_sides_are_one_outcome() -> None:
    purchases = bought(bought({}, "b", D("0.4"), D("0.01")), "b", D("0.6"), ZERO)
    lots = (Lot("b", 5, D("0.4"), D(40)), Lot("b", 6, D("0.6"), D(60)))
    closed = [
        ClosedLot("b", "s", 5, 9, D("0.4"), D(40), D(44), D(4)),
        ClosedLot("b", "s", 6, 9, D("0.1"), D(10), D(11), D(1)),
    ]
    after, (piece,) = sold(purchases, lots, closed)
    assert (piece.share, piece.qty, piece.cost, piece.proceeds, piece.opened_at) == (
        D("0.5"),
        D("0.5"),
        D(50),
        D(55),
        5,
    )
    assert piece.model_cost == D("0.005")
    assert after["b"] == Purchase(D(1), D("0.005"))
    assert div(piece.proceeds, piece.cost) == D("1.1")


def test_a_sale_of_what_nobody_bought_is_an_outcome_without_a_cost() -> None:
    _, (piece,) = sold({}, (), [ClosedLot("s", "s", 9, 9, D(1), ZERO, D(50), D(50))])
    assert (piece.opened_by, piece.share, piece.cost, piece.model_cost) == ("s", D(1), ZERO, ZERO)
