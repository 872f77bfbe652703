"""flatten: what our book holds is sold by hand through the life of any order, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.desks import Scene, desk
from tests.fakes import FIVE, PRICE, bars, breaks, fills, fills_part, proposal_words, refuses, report, says
from trader_cli.phases.account import open_epoch
from trader_cli.phases.cycle import cycle
from trader_cli.phases.flatten import MOST_ROUNDS, flatten
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Absent, OrderState, Report, Side
from trader_cli.schemas.situation import TradingState

D = Decimal

BOUGHT = D("0.002") * D("0.999")
"""What a BUY of 0.002 leaves after its fee in base: not on the step, so that 0.000008 of it is dust."""


def holding(qty: str = "0.002") -> Scene:
    """A desk whose book holds what a BUY left, one bar later; the operator has stopped it."""
    scene = desk()
    came = scene.traded(proposal_words("BUY", qty))
    assert came.execution.order is not None
    assert came.execution.order.state is OrderState.FILLED
    scene.stop.halt("enough")
    return scene


def sources(scene: Scene) -> list[str]:
    """Who made the newest trace's decisions."""
    return scene.column(
        "SELECT agent || ' ' || source FROM decisions WHERE trace_id = "
        "(SELECT max(trace_id) FROM decisions) ORDER BY id"
    )


def test_everything_sellable_is_sold_by_three_decisions_of_the_operator() -> None:
    scene = holding()
    came = flatten(scene.desk, "enough")
    (order,) = came.orders
    assert (order.intent.side, order.intent.qty, order.intent.origin) == (Side.SELL, D("0.00199"), "operator")
    assert (came.before, came.after, came.dust) == (BOUGHT, D("0.000008"), True)
    assert (came.refused, came.upstream, came.unsettled) == (None, None, None)
    assert came.account_base == came.after
    assert sources(scene) == ["PLANNER operator", "TRADER operator", "JUDGE operator"]
    assert scene.column("SELECT payload_json ->> 'hypothesis' FROM decisions WHERE agent = 'TRADER'")[-1] == (
        "flatten: enough"
    )
    assert came.snapshot is not None
    assert came.snapshot.book.base == came.after
    assert scene.model.calls == {"PLANNER": 1, "TRADER": 1, "JUDGE": 1}, "only for the cycle before"
    assert scene.problems() == []


def test_a_flat_book_asks_and_sends_nothing() -> None:
    scene = desk()
    scene.stop.halt()
    before = scene.rows("decisions")
    came = flatten(scene.desk, "x")
    assert (came.before, came.after, len(came.rounds), came.dust) == (D(0), D(0), 0, False)
    assert scene.rows("decisions") == before
    assert "quote" not in scene.exchange.calls
    assert scene.ledger.trading_state()[0] is TradingState.HALT


def test_a_second_flatten_finds_only_dust_and_sends_nothing() -> None:
    scene = holding()
    flatten(scene.desk, "x")
    again = flatten(scene.desk, "x")
    assert (again.before, again.after, again.orders, again.dust) == (D("0.000008"), D("0.000008"), (), True)
    assert again.rounds == ()
    assert len(scene.exchange.submitted) == 2
    assert scene.problems() == []


def test_a_position_on_the_step_leaves_nothing() -> None:
    scene = holding()
    scene.exchange.rules = replace(scene.exchange.rules, step=D("0.000001"), min_qty=D("0.000001"))
    came = flatten(scene.desk, "x")
    assert (came.after, came.dust) == (D(0), False)


def test_base_that_is_not_ours_is_never_sold() -> None:
    scene = holding()
    scene.exchange.held = replace(scene.exchange.held, base=scene.exchange.held.base + 5)
    came = flatten(scene.desk, "x")
    assert [order.intent.qty for order in came.orders] == [D("0.00199")]
    assert came.account_base == D("5.000008")


def test_no_more_is_sold_than_the_account_has_of_it() -> None:
    scene = holding()
    scene.exchange.held = replace(scene.exchange.held, base=D("0.00100"))
    came = flatten(scene.desk, "x")
    assert [order.intent.qty for order in came.orders] == [D("0.001")]
    assert came.after == D("0.000998")
    assert "the account only 0 of it" in str(came.refused)


def test_what_is_missing_of_ours_is_not_made_up_from_what_is_not_ours() -> None:
    scene = desk()
    scene.exchange.key = "k"
    scene.exchange.held = Balances(D(5), D(1000))
    open_epoch(scene.desk)
    scene.traded(proposal_words("BUY", "0.002"))
    scene.stop.halt()
    scene.exchange.held = Balances(D("5.0005"), scene.exchange.held.quote)
    came = flatten(scene.desk, "x")
    assert [order.intent.qty for order in came.orders] == [D("0.0005")]
    assert (came.foreign_base, came.account_base) == (D(5), D(5))
    assert came.refused is not None


# --- more than one round


def test_an_order_larger_than_the_exchange_takes_becomes_several_with_a_proposal_each() -> None:
    scene = holding()
    scene.exchange.rules = replace(scene.exchange.rules, max_qty=D("0.00080"))
    came = flatten(scene.desk, "x")
    assert [order.intent.qty for order in came.orders] == [D("0.0008"), D("0.0008"), D("0.00039")]
    assert len({order.intent.proposal_id for order in came.orders}) == 3
    assert [one.verdict.payload.decision for one in came.rounds] == ["REVISE", "REVISE", "APPROVE"]
    assert set(scene.exchange.sends.values()) == {1}
    assert scene.problems() == []


def test_a_partial_fill_is_followed_by_another_round() -> None:
    scene = holding()
    scene.exchange.manners = [fills_part("0.5025125628140703517587939698492462"), fills]
    scene.exchange.manners[0] = lambda exchange, intent: exchange.execute(intent, D("0.001"))
    came = flatten(scene.desk, "x")
    assert [order.state for order in came.orders] == [OrderState.PARTIAL, OrderState.FILLED]
    assert came.dust
    assert scene.problems() == []


def test_rounds_end_and_what_is_left_is_said() -> None:
    scene = holding("0.006")
    scene.exchange.manners = [lambda exchange, intent: exchange.execute(intent, D("0.0001"))]
    came = flatten(scene.desk, "x")
    assert len(came.orders) == MOST_ROUNDS
    assert f"{MOST_ROUNDS} orders were not enough" in str(came.refused)
    assert came.sellable


def test_a_signal_ends_it_after_the_order_in_hand() -> None:
    scene = holding()
    scene.exchange.rules = replace(scene.exchange.rules, max_qty=D("0.00080"))
    scene.stop.ends = "SIGTERM"
    came = flatten(scene.desk, "x")
    assert len(came.orders) == 1
    assert "ended by SIGTERM after 1 orders" in str(came.refused)


# --- what it passes, and what it does not


def test_it_works_in_every_state_of_trading() -> None:
    for state in TradingState:
        scene = holding()
        scene.stop.said = (state, state.name)
        assert flatten(scene.desk, "x").dust, state


def test_it_works_over_an_old_hole_in_the_window() -> None:
    scene = holding()
    rows = list(bars(scene.clock.now()))
    scene.exchange.rows = [*rows[:100], *rows[103:]]
    came = flatten(scene.desk, "x")
    assert len(came.orders) == 1
    assert scene.problems() == []


def stale(scene: Scene) -> None:
    scene.exchange.rows = bars(scene.clock.now() - 10 * FIVE)


def absurd(scene: Scene) -> None:
    rows = bars(scene.clock.now())
    scene.exchange.rows = [*rows[:-1], rows[-1]._replace(open=3 * PRICE, close=3 * PRICE, high=3 * PRICE)]


@pytest.mark.parametrize("bad", [stale, absurd])
def test_data_that_cannot_be_believed_still_refuses(bad: Callable[[Scene], None]) -> None:
    scene = holding()
    bad(scene)
    came = flatten(scene.desk, "x")
    assert (came.orders, came.after) == ((), BOUGHT)
    assert "the law refused the sale: data: " in str(came.refused)
    assert "trader stop --flatten" in str(came.refused)
    assert scene.problems() == []


@pytest.mark.parametrize("down", ["candles", "balances", "quote", "all"])
def test_an_exchange_out_of_reach_is_told_and_nothing_is_sent(down: str) -> None:
    scene = holding()
    scene.exchange.down = {down}
    came = flatten(scene.desk, "x")
    assert "the fake exchange is down" in str(came.upstream)
    assert (came.before, came.after, came.orders) == (BOUGHT, BOUGHT, ())
    assert len(scene.exchange.submitted) == 1
    assert scene.problems() == []


def test_a_sale_that_the_exchange_refuses_ends_it() -> None:
    scene = holding()
    scene.exchange.manners = [refuses("-2010", "Account has insufficient balance for requested action.")]
    came = flatten(scene.desk, "x")
    assert [order.state for order in came.orders] == [OrderState.REJECTED]
    assert "the exchange refused the sale: -2010 Account has insufficient" in str(came.refused)
    assert scene.problems() == []


# --- orders that are not settled


def test_a_sale_whose_answer_is_lost_is_the_last_one() -> None:
    scene = holding()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    came = flatten(scene.desk, "x")
    assert came.unsettled is not None
    assert came.unsettled.state is OrderState.UNKNOWN
    again = flatten(scene.desk, "x")
    assert (again.rounds, again.unsettled is not None) == ((), True)
    assert len(scene.exchange.submitted) == 2
    assert scene.problems() == []


def test_an_older_order_that_is_unknown_keeps_everything_back_until_it_is_found() -> None:
    scene = desk()
    scene.exchange.manners = [breaks(TimeoutError()), fills]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    scene.traded()
    assert flatten(scene.desk, "x").unsettled is not None
    scene.exchange.found = report
    scene.exchange.held = Balances(D("0.000999"), D(950))
    scene.stop.halt()
    came = flatten(scene.desk, "x")
    assert [order.intent.side for order in came.orders] == [Side.SELL]
    assert came.before == D("0.000999")


@pytest.mark.parametrize("state", [TradingState.RUN, TradingState.HALT])
def test_an_order_that_is_open_is_taken_back_first(state: TradingState) -> None:
    scene = desk()
    opened = says(lambda intent: Report(intent.client_order_id, "x1", intent.side, OrderState.OPEN, D(0)))
    scene.exchange.manners = [opened, fills]

    def found(intent: object) -> object:
        cancelled = bool(scene.exchange.cancelled)
        one = scene.exchange.submitted[0]
        part = replace(report(one, D("0.0004")), exchange_order_id="x1")
        return part if cancelled else Report(one.client_order_id, "x1", one.side, OrderState.OPEN, D(0))

    scene.exchange.found = found
    scene.script()
    cycle(scene.desk)
    scene.exchange.held = Balances(D("0.0003996"), D(980))
    scene.stop.said = (state, "x")
    came = flatten(scene.desk, "x")
    assert len(scene.exchange.cancelled) == 1
    assert [order.intent.client_order_id for order in came.taken_back] == ["t1-1"]
    assert [order.intent.qty for order in came.orders] == [D("0.00039")]
    assert scene.problems() == []
