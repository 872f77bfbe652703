"""The account behind a ledger: epochs, what is not ours, orders that were lost, given up or somebody else's."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.desks import Scene, desk
from tests.fakes import FIVE, breaks, fills, loses_the_answer, refuses, report
from trader_cli.core.errors import ConfigError
from trader_cli.phases.account import SCAN_MS, WATCH_MS, accept_balances, scan, scan_due
from trader_cli.phases.cycle import cycle
from trader_cli.phases.recover import recover
from trader_cli.phases.startup import startup
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Absent, Intent, OrderState, Report, Side, Sighting
from trader_cli.schemas.situation import TradingState

D = Decimal
KEY = "5f1c0a9e77d2b4c8"


def account(base: str = "0", quote: str = "1000") -> Scene:
    """A desk on an account with a key, looked at for the first time; its ledger has no paper money."""
    scene = desk(deposit=None)
    scene.exchange.key = KEY
    scene.exchange.held = Balances(D(base), D(quote))
    startup(scene.desk)
    return scene


def sighting(scene: Scene, client_order_id: str, exchange_order_id: str = "77", executed: str = "0.001") -> Sighting:
    return Sighting(
        client_order_id, exchange_order_id, Side.BUY, OrderState.FILLED, D("0.001"), D(executed), scene.clock.at
    )


def events(scene: Scene, kind: str) -> list[str]:
    return scene.column("SELECT data_json FROM events WHERE kind = ? ORDER BY id", kind)


# The first look.


def test_the_first_look_makes_the_quote_our_deposit_and_the_base_foreign() -> None:
    scene = account(base="0.5", quote="800")
    book = scene.ledger.book("BTC", "USDT")
    assert (book.deposits, book.quote, book.base) == (D(800), D(800), D(0))
    assert scene.ledger.foreign() == Balances(D("0.5"), D(0))
    assert (scene.ledger.epoch(), scene.ledger.account()) == (1, "a1")
    scene.traded()
    assert scene.ledger.book("BTC", "USDT").base == D("0.000999")
    assert scene.problems() == []


def test_base_that_was_there_before_is_never_sold() -> None:
    scene = account(base="0.5")
    scene.script(proposal='{"action":"SELL","qty":"0.1","policy_id":"ma_trend","hypothesis":"","confidence":1}')
    came = cycle(scene.desk)
    assert came.execution.order is None
    assert scene.exchange.submitted == []


def test_a_second_start_within_a_day_and_an_hour_asks_nothing_but_the_market() -> None:
    scene = account()
    scene.exchange.calls.clear()
    startup(scene.desk)
    assert scene.exchange.calls == {"connect": 1}
    assert len(events(scene, "PROOF")) == 1


def test_after_an_hour_the_orders_are_looked_through_again_and_after_a_day_the_key_is_proved_again() -> None:
    scene = account()
    scene.clock.advance(SCAN_MS)
    scene.exchange.calls.clear()
    startup(scene.desk)
    assert scene.exchange.calls == {"connect": 1, "orders": 1}
    scene.clock.advance(24 * SCAN_MS)
    scene.exchange.calls.clear()
    startup(scene.desk)
    assert scene.exchange.calls == {"connect": 1, "prove": 1, "orders": 1}


def test_a_clock_that_was_set_back_does_not_keep_a_scan_away() -> None:
    scene = account()
    scene.clock.advance(-SCAN_MS)
    assert scan_due(scene.desk)


def test_another_account_than_the_ledgers_is_refused_before_anything_is_traded() -> None:
    scene = account()
    scene.exchange.key, scene.exchange.evidence = "another", {"account": "b2", "trade": "yes", "withdraw": "no"}
    with pytest.raises(ConfigError, match="another account"):
        startup(scene.desk)
    scene.exchange.evidence = {"account": "a1", "trade": "yes", "withdraw": "no"}
    startup(scene.desk)  # a new key of the same account is welcome


def test_paper_has_no_account_to_look_at() -> None:
    scene = desk()
    scene.traded()
    assert (scene.ledger.epoch(), scene.ledger.foreign(), scene.rows("events")) == (None, None, 1)
    with pytest.raises(ConfigError, match="no account"):
        accept_balances(scene.desk, "why not")


# What is not as the book says.


@pytest.mark.parametrize(
    ("base", "quote", "words"),
    [
        ("0.00001", "1000", "holds 0.00001 BTC more"),
        ("0", "1000.05", "holds 0.05 USDT more"),
        ("0", "900", "holds 100 USDT less"),
    ],
)
def test_a_balance_that_differs_by_more_than_dust_is_answered_with_observe_until_somebody_accepts_it(
    base: str, quote: str, words: str
) -> None:
    scene = account()
    scene.exchange.held = Balances(D(base), D(quote))
    came = cycle(scene.desk)
    assert (came.plan.payload.mode, scene.exchange.submitted) == ("OBSERVE", [])
    assert words in str(came.plan.cause)
    assert scene.model.asked == []
    scene.clock.advance(FIVE)
    accept_balances(scene.desk, "I did that")
    came = scene.traded()
    assert came.execution.order is not None
    assert scene.problems() == []


@pytest.mark.parametrize(("base", "quote"), [("0.000009", "1000"), ("0", "1000.04"), ("0", "999.96")])
def test_dust_is_no_difference(base: str, quote: str) -> None:
    scene = account()
    scene.exchange.held = Balances(D(base), D(quote))
    assert scene.traded().execution.order is not None


def test_what_is_missing_leaves_the_book_at_its_cost_and_wins_or_loses_nothing() -> None:
    scene = account()
    scene.traded()
    before = scene.ledger.book("BTC", "USDT")
    scene.exchange.held = Balances(D("0.0003"), scene.exchange.held.quote - 10)
    accepted = accept_balances(scene.desk, "moved to cold storage")
    assert (accepted.foreign, accepted.withdrawn) == (Balances(D(0), D(0)), Balances(D("0.000699"), D(10)))
    book = scene.ledger.book("BTC", "USDT")
    assert (book.base, book.quote, book.realized) == (D("0.0003"), before.quote - 10, before.realized)
    released = before.cost - book.cost
    assert book.deposits == before.deposits - 10 - released
    scene.clock.advance(FIVE)
    scene.traded()
    assert scene.problems() == []


def test_money_that_was_taken_out_is_no_loss_and_no_fall_from_the_peak() -> None:
    scene = account()
    scene.limit(daily_loss=D(50), max_drawdown_pct=D(10), deposit_cap=None)
    scene.traded()
    scene.exchange.held = Balances(scene.exchange.held.base, scene.exchange.held.quote - 500)
    accept_balances(scene.desk, "rent")
    for _ in range(2):
        scene.clock.advance(FIVE)
        came = scene.traded()
        assert came.execution.order is not None
    assert scene.ledger.trading_state()[0] is TradingState.RUN
    last = scene.ledger.last_snapshot()
    assert last is not None
    assert last.peak < 501
    assert scene.problems() == []


def test_foreign_money_is_not_spent() -> None:
    scene = account(quote="60")
    scene.exchange.held = Balances(D(0), D(5060))
    accept_balances(scene.desk, "a friend's")
    scene.script(proposal='{"action":"BUY","qty":"0.1","policy_id":"ma_trend","hypothesis":"","confidence":1}')
    came = cycle(scene.desk)
    assert came.execution.order is not None
    assert came.execution.order.intent.reserved_quote <= 60


def test_a_sale_is_never_larger_than_what_the_account_was_seen_to_hold() -> None:
    scene = account()
    scene.traded()
    scene.script(proposal='{"action":"SELL","qty":"0.00099","policy_id":"ma_trend","hypothesis":"","confidence":1}')
    scene.exchange.held = Balances(scene.exchange.held.base - D("0.0000095"), scene.exchange.held.quote)  # dust less
    came = cycle(scene.desk)
    assert came.execution.order is not None
    assert came.execution.order.intent.qty == D("0.00098")


# Orders of others, and our own that were lost.


def test_an_order_of_somebody_else_is_noted_once_and_answered_with_observe() -> None:
    scene = account()
    scene.exchange.listed = [sighting(scene, "web_1", executed="0")]
    for _ in range(2):
        scene.clock.advance(SCAN_MS)
        came = cycle(scene.desk)
        assert came.plan.payload.mode == "OBSERVE"
        assert "order 77 on this account is not of this ledger" in str(came.plan.cause)
    assert len(events(scene, "EXTERNAL")) == 1
    accept_balances(scene.desk, "mine, by hand")
    scene.clock.advance(FIVE)
    assert scene.traded().execution.order is not None


def test_an_order_of_ours_that_the_ledger_lost_is_adopted_with_its_fills_and_an_alarm() -> None:
    scene = account()
    scene.exchange.listed = [sighting(scene, "t1-lost", "x9")]
    scene.exchange.found = lambda intent: report(intent, number=9)
    scene.exchange.held = Balances(D("0.000999"), D(950))
    scan(scene.desk)
    order = scene.ledger.order("t1-lost")
    assert order is not None
    assert (order.state, order.executed_qty, order.intent.origin) == (OrderState.FILLED, D("0.001"), "recovered")
    assert scene.column("SELECT qty FROM trades") == ["0.001"]
    assert "restored from a backup" in events(scene, "ERROR")[0]
    assert scene.ledger.book("BTC", "USDT").base == D("0.000999")
    assert scene.exchange.submitted == []
    scene.exchange.found = None
    scene.clock.advance(FIVE)
    scene.traded()
    assert scene.problems() == []


def test_an_order_that_was_refused_and_is_shown_as_executed_stops_trading() -> None:
    scene = account()
    scene.exchange.manners = [refuses(), fills]
    scene.traded()
    assert scene.ledger.open_orders() == ()
    scene.exchange.listed = [sighting(scene, "t1-1")]
    scene.clock.advance(SCAN_MS)
    came = cycle(scene.desk)
    assert came.plan.payload.mode == "OBSERVE"
    assert "order t1-1 was refused, and the exchange shows that it was executed" in str(came.plan.cause)


def given_up(scene: Scene) -> None:
    """An order that was sent, and that the exchange then does not know for good."""
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=True, evidence="nowhere")
    scene.script()
    came = cycle(scene.desk)
    assert came.execution.order is not None
    assert came.execution.order.state is OrderState.ABANDONED


def test_an_order_that_was_given_up_and_turns_up_days_later_is_booked_when_a_list_shows_it() -> None:
    scene = account()
    given_up(scene)
    scene.clock.advance(3 * WATCH_MS)
    scene.exchange.listed = [sighting(scene, "t1-1")]
    scene.exchange.found = lambda intent: report(intent, number=4)
    assert [order.state for order in startup(scene.desk)] == [OrderState.FILLED]
    assert scene.rows("trades") == 1
    assert scene.problems() == []


def test_an_order_that_was_given_up_and_is_open_after_all_blocks_new_ones_until_it_is_settled() -> None:
    scene = account()
    given_up(scene)
    scene.clock.advance(SCAN_MS)
    scene.exchange.found = lambda intent: replace(report(intent, D("0.0004")), state=OrderState.OPEN)
    came = cycle(scene.desk)
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.OPEN]
    assert (came.plan.payload.mode, scene.exchange.sends) == ("OBSERVE", {"t1-1": 1})
    assert scene.problems() == []
    scene.exchange.found = lambda intent: report(intent, number=4)
    assert [order.state for order in recover(scene.desk)] == [OrderState.FILLED]
    assert scene.problems() == []


def test_an_order_that_was_given_up_and_is_shown_as_refused_stays_given_up() -> None:
    scene = account()
    given_up(scene)
    scene.clock.advance(SCAN_MS)
    scene.exchange.found = lambda intent: Report(
        intent.client_order_id, None, intent.side, OrderState.REJECTED, D(0), code="-2010", message="no"
    )
    assert startup(scene.desk) == []
    assert scene.ledger.open_orders() == ()
    assert scene.problems() == []


@pytest.mark.parametrize("late", [0, WATCH_MS - SCAN_MS])
def test_an_order_that_was_given_up_and_turns_up_within_a_day_is_booked(late: int) -> None:
    scene = account()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=True, evidence="nowhere")
    scene.script()
    came = cycle(scene.desk)
    assert came.execution.order is not None
    assert came.execution.order.state is OrderState.ABANDONED
    scene.clock.advance(SCAN_MS + late)
    scene.exchange.found = lambda intent: report(intent, number=4)
    scan(scene.desk)
    order = scene.ledger.order("t1-1")
    assert order is not None
    assert (order.state, scene.rows("trades")) == (OrderState.FILLED, 1)
    assert scene.problems() == []


def test_what_was_given_up_stays_reserved_for_ten_minutes() -> None:
    scene = account()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=True, evidence="nowhere")
    scene.script()
    cycle(scene.desk)
    order = scene.ledger.order("t1-1")
    assert order is not None
    reserved = order.intent.reserved_quote
    assert scene.ledger.late_reserves(scene.clock.at - 600_000) == reserved
    scene.clock.advance(600_001)
    assert scene.ledger.late_reserves(scene.clock.at - 600_000) == 0


# A testnet that was wiped.


def test_a_wiped_testnet_begins_a_new_epoch_and_trades_on() -> None:
    scene = account()
    scene.exchange.may_be_wiped = True
    scene.traded()
    scene.exchange.truth.clear()
    scene.exchange.submitted.clear()  # it numbers orders and trades anew
    scene.exchange.held = Balances(D(0), D(500))
    came = scene.traded()
    assert came.execution.order is not None
    assert scene.column("SELECT json_extract(data_json, '$.number') FROM events WHERE kind = 'EPOCH'") == [1, 2]
    assert scene.column("SELECT trade_id FROM fills ORDER BY id") == ["x1-1", "x1-1"]
    assert scene.column("SELECT epoch FROM fills ORDER BY id") == [None, 2]
    assert scene.ledger.book("BTC", "USDT").deposits == D(500)
    assert scene.problems() == []


def test_a_real_account_is_never_taken_for_wiped() -> None:
    scene = account()
    scene.traded()
    scene.exchange.truth.clear()
    scene.exchange.held = Balances(D(0), D(500))
    came = cycle(scene.desk)
    assert (came.plan.payload.mode, scene.ledger.epoch()) == ("OBSERVE", 1)


def test_a_testnet_that_knows_our_last_order_was_not_wiped() -> None:
    scene = account()
    scene.exchange.may_be_wiped = True
    scene.traded()
    scene.exchange.held = Balances(D(0), D(500))
    came = cycle(scene.desk)
    assert (came.plan.payload.mode, scene.ledger.epoch()) == ("OBSERVE", 1)


def test_a_testnet_whose_first_order_may_still_turn_up_is_not_taken_for_wiped() -> None:
    scene = account()
    scene.exchange.may_be_wiped = True
    given_up(scene)
    scene.clock.advance(FIVE)
    scene.exchange.held = Balances(D("0.000999"), D(950))
    came = cycle(scene.desk)
    assert (came.plan.payload.mode, scene.ledger.epoch()) == ("OBSERVE", 1)


def test_a_cycle_that_begins_an_epoch_says_so() -> None:
    scene = account()
    scene.exchange.may_be_wiped = True
    scene.traded()
    scene.exchange.truth.clear()
    scene.exchange.submitted.clear()
    scene.exchange.held = Balances(D(0), D(500))
    (words,) = scene.traded().changes
    assert words.startswith("epoch 2 of the account began with 500 as deposit: ")


# Orders the exchange still holds.


def test_an_open_order_is_taken_back_while_trading_is_stopped() -> None:
    scene = account()
    scene.exchange.manners = [loses_the_answer(TimeoutError())]

    def found(intent: Intent) -> Report:
        said = report(intent, D("0.0004"))
        return said if scene.exchange.cancelled else replace(said, state=OrderState.OPEN)

    scene.exchange.found = found
    scene.script()
    came = cycle(scene.desk)
    assert came.execution.order is not None
    assert came.execution.order.state is OrderState.OPEN
    scene.stop.halt("enough")
    (order,) = recover(scene.desk)
    assert [one.client_order_id for one in scene.exchange.cancelled] == ["t1-1"]
    assert (order.state, order.executed_qty) == (OrderState.PARTIAL, D("0.0004"))
