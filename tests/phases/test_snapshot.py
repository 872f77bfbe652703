"""snapshot: the book marked to the last close, its identity, its peak, and what the exchange holds beyond it."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.desks import Scene, desk
from tests.fakes import FIVE, NOW, bars, breaks, fills, fills_part, loses_the_answer, plan_words, proposal_words
from trader_cli.core.decimals import add, div
from trader_cli.core.errors import UpstreamError
from trader_cli.phases.cycle import cycle
from trader_cli.phases.execute import execute
from trader_cli.phases.plan import plan
from trader_cli.phases.recover import set_state
from trader_cli.phases.snapshot import snapshot
from trader_cli.schemas.book import Balances, Book
from trader_cli.schemas.order import Absent, OrderState
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import TradingState

PRICES = ("open", "high", "low", "close")

D = Decimal


def observing(scene: Scene) -> None:
    """A plan that looked, so that there is a price."""
    scene.model.will_say(Agent.PLANNER, plan_words("OBSERVE"))
    plan(scene.desk, scene.desk.new_trace())


def test_a_fresh_book_is_its_deposit() -> None:
    scene = desk(deposit=D(750))
    observing(scene)
    taken = snapshot(scene.desk)
    assert taken.book == Book(deposits=D(750), quote=D(750))
    assert (taken.equity, taken.peak, taken.unrealized, taken.mark_price) == (D(750), D(750), D(0), D(50_000))
    assert (taken.drift_base, taken.drift_quote, taken.symbol, taken.at) == (D(0), D(0), "BTC/USDT", NOW)
    assert scene.ledger.last_snapshot() == taken
    assert scene.problems() == []


def test_it_marks_to_what_its_trace_saw_and_not_to_a_later_price() -> None:
    scene = desk()
    scene.traded()
    observing(scene)
    scene.exchange.price = D(60_000)
    taken = snapshot(scene.desk)
    assert taken.mark_price == D(50_002)
    assert taken.unrealized == D("0.000999") * D(50_002) - D(50)


def test_it_belongs_to_its_trace_and_without_one_to_the_newest_that_lacks_it() -> None:
    scene = desk()
    first = scene.traded()
    observing(scene)
    newest = scene.ledger.newest_plan()
    assert newest is not None
    assert first.trace_id == "1".zfill(32)
    assert snapshot(scene.desk).trace_id == newest.trace_id
    assert snapshot(scene.desk).trace_id is None
    assert scene.column("SELECT trace_id FROM portfolio ORDER BY id") == [first.trace_id, newest.trace_id, None]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["BUY", "BUY", "SELL"]),
            st.integers(12, 400),
            st.integers(4_900_000, 5_100_000),
            st.sampled_from(["1", "1", "0.35"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_equity_is_deposits_and_realized_and_unrealized_after_whatever_was_traded(
    steps: list[tuple[str, int, int, str]],
) -> None:
    scene = desk()
    peak = D(1000)
    for action, qty, cents, share in steps:
        scene.exchange.price = D(cents) / 100
        scene.exchange.manners = [fills_part(share)]
        taken = scene.traded(proposal_words(action, str(D(qty) / 100_000))).snapshot
        assert taken is not None
        peak = max(peak, taken.equity)
        assert taken.equity == add(taken.book.deposits, taken.book.realized, taken.unrealized)
        assert taken.equity == add(taken.book.quote, taken.book.base * taken.mark_price)
        assert taken.peak == peak
        assert (taken.drift_base, taken.drift_quote) in {(D(0), D(0)), (None, None)}
        assert taken.book.base >= 0
        assert taken.book.quote >= 0
    scene.exchange.price = D(50_000)
    idle = scene.traded(proposal_words("HOLD", "0")).snapshot  # the next look at the account finds all of it there
    assert idle is not None
    assert (idle.drift_base, idle.drift_quote) == (D(0), D(0))
    assert scene.problems() == []


def test_the_peak_is_kept_when_equity_falls() -> None:
    scene = desk()
    scene.traded(proposal_words("BUY", "0.005"))
    scene.exchange.price = D(60_000)
    high = scene.traded(proposal_words("HOLD", "0")).snapshot
    scene.exchange.price = D(55_000)
    low = scene.traded(proposal_words("HOLD", "0")).snapshot
    assert high is not None
    assert low is not None
    assert high.peak == high.equity > low.equity
    assert low.peak == high.peak


def test_what_the_exchange_holds_beyond_our_book_is_drift_and_not_ours() -> None:
    scene = desk()
    scene.exchange.held = Balances(D("1.5"), D(900))
    observing(scene)
    taken = snapshot(scene.desk)
    assert (taken.drift_base, taken.drift_quote) == (D("1.5"), D(-100))
    assert (taken.book.base, taken.equity) == (D(0), D(1000))


def test_an_order_whose_fate_is_unknown_is_not_in_the_book() -> None:
    scene = desk()
    scene.exchange.manners = [breaks(TimeoutError())]
    taken = scene.traded().snapshot
    assert taken is not None
    assert (taken.book.base, taken.book.quote) == (D(0), D(1000))


def test_a_position_that_no_price_was_ever_seen_for_is_marked_at_what_it_cost() -> None:
    scene = desk()
    execute(scene.desk, *scene.judged())
    scene.clock.advance(FIVE)
    scene.exchange.rows = ()
    taken = snapshot(scene.desk)
    assert taken.mark_price == div(taken.book.cost, taken.book.base)
    assert abs(taken.unrealized) < D("1e-9")
    assert scene.problems() == []


def test_without_a_position_there_is_nothing_to_mark() -> None:
    scene = desk()
    scene.exchange.rows = ()
    taken = cycle(scene.desk).snapshot
    assert taken is not None
    assert (taken.mark_price, taken.equity, taken.unrealized) == (D(0), D(1000), D(0))
    assert scene.problems() == []


def test_without_a_new_price_the_mark_before_stays() -> None:
    scene = desk()
    scene.traded()
    scene.exchange.rows = ()
    taken = cycle(scene.desk).snapshot
    assert taken is not None
    assert taken.mark_price == D(50_000)


def test_a_misprint_in_the_newest_bar_is_not_marked_to() -> None:
    scene = desk()
    scene.traded()
    good = bars(scene.clock.at)
    scene.exchange.rows = [*good[:-1], good[-1]._replace(low=D("0.01"), close=D("0.01"))]
    taken = cycle(scene.desk).snapshot
    assert taken is not None
    assert taken.mark_price == D(50_000)


def test_without_the_accounts_balances_there_is_a_snapshot_that_knows_of_no_drift() -> None:
    scene = desk()
    scene.exchange.down = {"balances"}
    taken = cycle(scene.desk).snapshot
    assert taken is not None
    assert (taken.drift_base, taken.drift_quote, taken.equity) == (None, None, D(1000))
    assert scene.ledger.last_snapshot() == taken
    assert scene.problems() == []


def test_after_an_order_the_account_is_not_asked_again_and_the_drift_is_open_until_the_next_look() -> None:
    scene = desk()
    taken = scene.traded().snapshot
    assert taken is not None
    assert (taken.drift_base, taken.drift_quote, taken.book.base) == (None, None, D("0.000999"))
    assert scene.exchange.calls["balances"] == 1


def test_while_the_market_is_down_its_last_rules_serve_and_without_any_nothing_is_written() -> None:
    scene = desk()
    scene.exchange.down = {"market"}
    with pytest.raises(UpstreamError):
        snapshot(scene.desk)
    assert scene.rows("portfolio") == 0
    scene.exchange.down = set()
    observing(scene)
    scene.exchange.down = {"market"}
    assert snapshot(scene.desk).book == scene.ledger.book("BTC", "USDT")


def test_a_snapshot_asks_no_model_and_sends_nothing() -> None:
    scene = desk()
    observing(scene)
    asked = len(scene.model.asked)
    snapshot(scene.desk)
    assert (len(scene.model.asked), scene.exchange.calls["submit"]) == (asked, 0)


def test_the_next_books_begin_from_the_snapshot_and_from_what_came_after_it() -> None:
    scene = desk()
    scene.traded(proposal_words("BUY", "0.002"))
    whole = scene.ledger.fold_since(Book(), 0, "BTC", "USDT")
    assert scene.ledger.book("BTC", "USDT") == whole
    with scene.ledger.transaction() as tx:
        scene.ledger.log_event(tx, "DEPOSIT", {"amount": "250", "reason": "more"}, scene.clock.now() + FIVE)
    book = scene.ledger.book("BTC", "USDT")
    assert book == replace(whole, deposits=D(1250), quote=whole.quote + 250)


@pytest.mark.parametrize("factor", ["100", "0.01"])
def test_a_misprint_of_several_bars_neither_marks_the_book_nor_raises_the_peak(factor: str) -> None:
    scene = desk()
    scene.traded()
    good = bars(scene.clock.at)
    wrong = [bar._replace(**{name: getattr(bar, name) * D(factor) for name in PRICES}) for bar in good[-3:]]
    scene.exchange.rows = [*good[:-3], *wrong]
    taken = cycle(scene.desk).snapshot
    assert taken is not None
    assert (taken.mark_price, taken.peak) == (D(50_000), D(1000))
    scene.clock.advance(FIVE)
    scene.exchange.rows = None
    after = scene.traded(proposal_words("HOLD", "0")).snapshot
    assert after is not None
    assert after.peak == D(1000)
    assert scene.problems() == []


# The law's own brakes.

STATES = "SELECT data_json FROM events WHERE kind = 'STATE' ORDER BY id"


def held_through_a_fall(price: str, **limits: object) -> Scene:
    """A desk that bought 0.002 at 50,000 and then looked at another price."""
    scene = desk()
    scene.limit(**limits)
    scene.traded(proposal_words("BUY", "0.002"))
    scene.exchange.price = D(price)
    scene.traded(proposal_words("HOLD", "0"))
    return scene


def told(scene: Scene) -> list[tuple[str, str, str | None]]:
    """Every change of the state: from, to, by whom."""
    said = [json.loads(one) for one in scene.column(STATES)]
    return [(one["from"], one["to"], one.get("by")) for one in said]


def resume(scene: Scene) -> None:
    """As `trader resume` does."""
    kept, _ = scene.ledger.trading_state()
    with scene.ledger.transaction() as tx:
        set_state(scene.desk, tx, kept, TradingState.RUN, "looked at it")


def test_a_days_loss_reduces_in_the_commit_that_shows_it_and_halts_once_all_is_sold() -> None:
    scene = held_through_a_fall("44900", daily_loss=D(10))
    assert told(scene) == [("RUN", "REDUCE", "law")]
    link = scene.one("SELECT link FROM events WHERE kind = 'STATE'")
    assert link == scene.one("SELECT max(link) FROM portfolio")
    assert "daily_loss" in str(scene.ledger.trading_state()[1])
    sold = scene.traded(proposal_words("SELL", "0.00199"))
    assert sold.execution.order is not None
    assert sold.execution.order.state is OrderState.FILLED
    assert told(scene) == [("RUN", "REDUCE", "law"), ("REDUCE", "HALT", "law")]
    asked = len(scene.model.asked)
    cycle(scene.desk)
    assert len(scene.model.asked) == asked
    assert scene.problems() == []


def test_a_loss_below_the_limit_changes_nothing() -> None:
    assert told(held_through_a_fall("45000", daily_loss=D(10))) == []


def test_a_fall_from_the_peak_reduces_although_the_day_gained() -> None:
    scene = held_through_a_fall("60000", max_drawdown_pct=D(1))
    assert told(scene) == []
    scene.exchange.price = D(54_000)
    scene.traded(proposal_words("HOLD", "0"))
    assert told(scene) == [("RUN", "REDUCE", "law")]
    assert "drawdown" in str(scene.ledger.trading_state()[1])


def test_what_the_law_stopped_stays_stopped_when_the_price_comes_back() -> None:
    scene = held_through_a_fall("44900", daily_loss=D(10))
    scene.exchange.price = D(70_000)
    done = scene.traded()
    assert done.execution.order is None
    assert done.verdict.payload.decision == "REJECT"
    assert scene.ledger.trading_state()[0] is TradingState.REDUCE


def test_after_a_resume_peak_and_the_days_loss_count_from_the_equity_at_it() -> None:
    scene = held_through_a_fall("44900", daily_loss=D(10), max_drawdown_pct=D("1.05"))
    before = scene.ledger.last_snapshot()
    assert before is not None
    resume(scene)
    history = scene.ledger.history(scene.clock.now())
    assert (history.day_equity, history.peak_equity) == (before.equity, before.equity)
    after = scene.traded(proposal_words("BUY", "0.001")).snapshot
    assert after is not None
    assert after.peak == max(before.equity, after.equity)
    assert [to for _, to, _ in told(scene)] == ["REDUCE", "RUN"]
    scene.exchange.price = D(40_000)
    scene.traded(proposal_words("HOLD", "0"))
    assert [to for _, to, _ in told(scene)] == ["REDUCE", "RUN", "REDUCE"]
    assert scene.problems() == []


def test_a_resume_counts_for_its_own_day_and_its_peak_for_good() -> None:
    scene = held_through_a_fall("44900", daily_loss=D(10))
    resume(scene)
    scene.exchange.price = D(47_000)
    last = scene.traded(proposal_words("HOLD", "0")).snapshot
    assert last is not None
    tomorrow = scene.ledger.history(scene.clock.now() + 86_400_000)
    assert (tomorrow.day_equity, tomorrow.peak_equity) == (last.equity, last.peak)


def test_a_price_that_is_not_believed_or_not_there_stops_nothing() -> None:
    scene = desk()
    scene.limit(daily_loss=D(1))
    scene.traded(proposal_words("BUY", "0.002"))
    good = bars(scene.clock.at)
    scene.exchange.rows = [*good[:-1], good[-1]._replace(low=D("0.01"), close=D("0.01"))]
    cycle(scene.desk)
    scene.exchange.rows, scene.exchange.down = None, {"candles"}
    scene.clock.advance(FIVE)
    cycle(scene.desk)
    assert told(scene) == []


def test_an_order_that_is_not_settled_keeps_the_law_from_halting_for_it_may_have_bought() -> None:
    scene = desk()
    scene.traded(proposal_words("BUY", "0.001"))
    scene.traded(proposal_words("SELL", "0.00099"))
    scene.exchange.manners = [loses_the_answer(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not seen yet")
    scene.traded(proposal_words("BUY", "0.001"))
    scene.limit(daily_loss=D("0.01"))
    scene.traded(proposal_words("HOLD", "0"))
    assert [to for _, to, _ in told(scene)] == ["REDUCE"]
    scene.exchange.found, scene.exchange.manners = None, [fills]
    scene.traded(proposal_words("SELL", "0.00099"))  # says the HOLD that no trader was asked for while it was out
    assert [to for _, to, _ in told(scene)] == ["REDUCE"]
    scene.traded()
    assert [to for _, to, _ in told(scene)] == ["REDUCE", "HALT"]


@pytest.mark.parametrize("state", [TradingState.REDUCE, TradingState.HALT])
def test_what_a_person_reduced_or_stopped_the_law_leaves_as_it_is(state: TradingState) -> None:
    scene = desk()
    scene.limit(daily_loss=D(1))
    with scene.ledger.transaction() as tx:
        set_state(scene.desk, tx, TradingState.RUN, state, "my own reasons")
    scene.model.will_say(Agent.PLANNER, plan_words("OBSERVE"))
    cycle(scene.desk)
    assert told(scene) == [("RUN", state.name, None)]
