"""Experiments: every purchase is weighed once, and what models cost is neither lost nor counted twice."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.decimals import ZERO, add, div
from trader_cli.core.experiments import Piece, bought, charged, real, shrunk, sold, whole_lots
from trader_cli.core.lots import fold, withdrawn
from trader_cli.schemas.lot import ClosedLot, Lot
from trader_cli.schemas.memory import Experiment, Purchase
from trader_cli.schemas.order import Fill, Side

D = Decimal
LEAST = D("0.05")
"""What can be sold by itself, in base."""


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
            purchases, found = sold(purchases, before, closed, add(*(lot.qty for lot in lots)) < LEAST)
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
def test_a_purchase_weighs_one_when_it_is_closed_and_less_before(story: list[tuple[str, Decimal, Decimal]]) -> None:
    purchases, lots, pieces, _ = play(story)
    assert set(purchases) == {lot.client_order_id for lot in lots}
    for order in {piece.opened_by for piece in pieces}:
        weight = add(*(piece.share for piece in pieces if piece.opened_by == order))
        closed = order not in purchases or purchases[order].is_closed
        # a whole purchase that another one's sale left behind as dust weighs nothing
        assert weight == 0 or abs(weight - 1) < D("1e-9") if closed else 0 < weight < 1


def test_costs_are_shared_by_what_each_purchase_cost() -> None:
    lots = (Lot("a", 0, D(1), D(100)), Lot("b", 0, D(1), D(300)))
    purchases = bought(bought({}, "a", D(1), D("0.5")), "b", D(1), ZERO)
    after = charged(purchases, lots, D("0.04"))
    assert {order: one.model_cost for order, one in after.items()} == {"a": D("0.51"), "b": D("0.03")}


def test_dust_bears_nothing_and_nothing_is_lost_where_only_dust_is_held() -> None:
    purchases = {"a": Purchase(D(1), is_closed=True), "b": Purchase(D(1))}
    lots = (Lot("a", 0, D("0.01"), D(1)), Lot("b", 0, D("0.02"), D(2)))
    assert set(real(purchases, lots)) == {"b"}
    assert charged(purchases, lots, D(1))["b"].model_cost == D(1)
    assert charged(purchases, lots[:1], D(1)) == purchases


def test_a_sale_that_leaves_only_dust_closes_the_purchase_with_all_its_weight_and_its_models() -> None:
    purchases = bought({}, "b", D(1), D("0.3"))
    closed = [ClosedLot("b", "s", 5, 9, D("0.96"), D(96), D(97), D(1))]
    after, (piece,) = sold(purchases, (Lot("b", 5, D(1), D(100)),), closed, rest_is_dust=True)
    assert (piece.share, piece.qty, piece.model_cost) == (D(1), D("0.96"), D("0.3"))
    assert after["b"] == Purchase(D(1), ZERO, is_closed=True)
    dust = [ClosedLot("b", "s2", 5, 12, D("0.04"), D(4), D(5), D(1))]
    after, (piece,) = sold(after, (Lot("b", 5, D("0.04"), D(4)),), dust, rest_is_dust=True)
    assert (piece.share, piece.cost, piece.model_cost, after) == (ZERO, D(4), ZERO, {})


def test_what_left_by_another_way_makes_each_purchase_smaller_as_its_lots_are() -> None:
    lots = (Lot("a", 0, D(1), D(100)), Lot("b", 0, D(3), D(330)))
    purchases = {"a": Purchase(D(2), D("0.1")), "b": Purchase(D(3), D("0.2"))}
    rest = withdrawn(lots, D(1), D("107.5"))
    assert [(lot.client_order_id, lot.qty, lot.cost) for lot in rest] == [
        ("a", D("0.25"), D(25)),
        ("b", D("0.75"), D("82.5")),
    ]
    after = shrunk(purchases, lots, rest)
    assert after == {"a": Purchase(D("0.5"), D("0.1")), "b": Purchase(D("0.75"), D("0.2"))}
    assert shrunk(purchases, lots, ()) == {}


def test_several_fills_of_both_sides_are_one_outcome() -> None:
    purchases = bought(bought({}, "b", D("0.4"), D("0.01")), "b", D("0.6"), ZERO)
    lots = (Lot("b", 5, D("0.4"), D(40)), Lot("b", 6, D("0.6"), D(60)))
    closed = [
        ClosedLot("b", "s", 5, 9, D("0.4"), D(40), D(44), D(4)),
        ClosedLot("b", "s", 6, 9, D("0.1"), D(10), D(11), D(1)),
    ]
    after, (piece,) = sold(purchases, lots, closed, rest_is_dust=False)
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
    _, (piece,) = sold({}, (), [ClosedLot("s", "s", 9, 9, D(1), ZERO, D(50), D(50))], rest_is_dust=True)
    assert (piece.opened_by, piece.share, piece.cost, piece.model_cost) == ("s", D(1), ZERO, ZERO)


def part(opened_by: str, share: float, net: str, closed_at: int) -> Experiment:
    """An outcome that cost 100 for each whole share, of a purchase at moment 1."""
    qty, cost = D(str(share)), D(100) * D(str(share))
    gained = cost + D(net)
    return Experiment(
        "ma_trend", {}, "range-bound", None, 0.5, opened_by, f"s{closed_at}", 1, closed_at,
        share, qty, cost, gained, ZERO, D(net), float(D(net) / cost * 10_000) if cost else None,
    )  # fmt: skip


def test_a_purchase_sold_in_parts_is_one_trade_when_it_is_closed() -> None:
    sales = [part("a", 0.5, "-1", 5), part("b", 1.0, "3", 6), part("a", 0.5, "2", 7), part("c", 0.4, "9", 8)]
    first, second = whole_lots([*sales, part("b", 0.0, "5", 9)], {"c"})
    assert (first.opened_by, first.closed_by, first.net) == ("b", "s6", D(3)), "dust adds nothing"
    assert (second.opened_by, second.closed_by, second.opened_at, second.closed_at) == ("a", "s7", 1, 7)
    assert (second.share, second.qty, second.cost, second.net, second.net_bp) == (1.0, D(1), D(100), D(1), 100.0)
    assert second.won
