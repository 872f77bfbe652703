"""execute: the law once more, the intent written before the deed, one submission ever, and what it proves."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.core.test_orders import RUBBISH
from tests.desks import BUY_COST, Judged, Scene, desk
from tests.fakes import (
    FIVE,
    PRICE,
    FakeClock,
    Killed,
    breaks,
    fills,
    fills_part,
    loses_the_answer,
    proposal_words,
    refuses,
    report,
    says,
    verdict_words,
)
from trader_cli.core.errors import LedgerError, OrderUnknownError, UpstreamError
from trader_cli.phases.cycle import cycle
from trader_cli.phases.execute import ASK_AFTER_MS, approved_qty, execute
from trader_cli.phases.recover import note_stop, recover
from trader_cli.schemas.book import Balances
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.order import Absent, Intent, OrderState, Report, Side
from trader_cli.schemas.situation import TradingState
from trader_cli.schemas.trader import Proposal

D = Decimal


def carried_out(scene: Scene, judged: Judged) -> Any:
    return execute(scene.desk, *judged)


def reasons(scene: Scene) -> list[str]:
    """Why nothing was sent, as the ledger has it."""
    return scene.column("SELECT json_extract(data_json, '$.reason') FROM events WHERE kind = 'NOT_SENT' ORDER BY id")


def nothing_was_sent(scene: Scene) -> bool:
    return (scene.exchange.calls["submit"], scene.rows("orders"), scene.rows("trades")) == (0, 0, 0)


# The order.


def test_an_approved_order_is_sent_once_and_booked_as_it_was_filled() -> None:
    scene = desk()
    planned, proposed, verdict = judged = scene.judged()
    order = carried_out(scene, judged).order
    assert order.state is OrderState.FILLED
    assert (order.intent.proposal_id, order.intent.verdict_id) == (proposed.id, verdict.id)
    assert (order.intent.qty, order.intent.worst_price) == (D("0.001"), D("50262.5"))
    assert order.intent.reserved_quote == BUY_COST
    assert scene.exchange.submitted == [order.intent]
    trade = scene.ledger.db.execute(
        "SELECT side, qty, price, fee, fee_asset, order_id, idempotency_key, proposal_id, status, trace_id FROM trades"
    ).fetchone()
    assert trade == (
        "BUY", "0.001", "50000", "0.000001", "BTC", "x1", order.intent.client_order_id, proposed.id, "FILLED",
        planned.trace_id,
    )  # fmt: skip
    assert scene.column("SELECT state FROM order_events ORDER BY id") == ["INTENT", "FILLED"]
    assert scene.ledger.open_orders() == ()
    assert scene.problems() == []


def test_a_fee_in_base_makes_less_to_hold_and_a_fee_in_quote_less_to_get() -> None:
    scene = desk()
    scene.traded(proposal_words("BUY", "0.002"))
    book = scene.ledger.book("BTC", "USDT")
    assert (book.base, book.quote, book.cost, book.fees) == (D("0.001998"), D(900), D(100), D("0.1"))
    scene.traded(proposal_words("SELL", "0.00199"))
    book = scene.ledger.book("BTC", "USDT")
    assert (book.base, book.quote) == (D("0.000008"), D(900) + D("0.00199") * PRICE * D("0.999"))
    assert scene.exchange.held == Balances(book.base, book.quote)
    assert scene.problems() == []


def test_a_revised_quantity_is_what_is_sent() -> None:
    scene = desk()
    order = carried_out(scene, scene.judged(verdict=verdict_words("REVISE", "0.0005"))).order
    assert order.intent.qty == D("0.0005")
    assert scene.exchange.submitted[0].qty == D("0.0005")


def test_a_sell_is_sent_at_the_bid_and_reserves_nothing() -> None:
    scene = desk()
    scene.traded()
    scene.exchange.bid, scene.exchange.ask = D(49_900), D(50_100)
    order = carried_out(scene, scene.judged(proposal_words("SELL", "0.0009"))).order
    assert (order.state, order.intent.worst_price, order.intent.reserved_quote) == (OrderState.FILLED, D(49_900), D(0))


def test_the_client_order_id_comes_from_the_ledgers_next_link_and_head() -> None:
    scene = desk()
    judged = scene.judged()
    link, head = scene.ledger.next_link, scene.ledger.head
    named: list[tuple[int, str]] = []

    class Naming:
        """Ids that remember what they were given."""

        trace_id = scene.desk.ids.trace_id
        chance = scene.desk.ids.chance

        def client_order_id(self, n: int, head: str) -> str:
            named.append((n, head))
            return "t1-x"

    order = execute(replace(scene.desk, ids=Naming()), *judged).order
    assert order is not None
    assert (order.intent.client_order_id, named) == ("t1-x", [(link, head)])
    assert scene.one("SELECT link FROM orders") == link


# The intent comes first.


def test_the_intent_is_committed_before_the_order_is_sent(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str]] = []

    def look(what: str) -> None:
        if what == "submit":
            other = sqlite3.connect(f"file:{tmp_path}/agent.db?mode=ro", uri=True)
            seen.extend(
                other.execute(
                    "SELECT o.client_order_id, o.qty, e.state FROM orders AS o JOIN order_events AS e "
                    "USING (client_order_id) JOIN open_orders USING (client_order_id)"
                ).fetchall()
            )
            other.close()

    with desk(tmp_path / "agent.db") as scene:
        scene.exchange.watch = look
        order = carried_out(scene, scene.judged()).order
        assert seen == [(order.intent.client_order_id, "0.001", "INTENT")]
        assert scene.problems() == []


def test_no_transaction_is_open_while_an_exchange_or_a_model_is_asked() -> None:
    scene = desk()
    asked: list[tuple[str, bool]] = []
    scene.exchange.watch = scene.model.watch = lambda what: asked.append((what, scene.ledger.db.in_transaction))
    scene.traded()
    scene.clock.advance(FIVE)
    carried_out(scene, scene.judged(proposal_words("SELL", "0.0009")))
    kinds = {what for what, _ in asked}
    assert kinds >= {"market", "candles", "quote", "balances", "submit", "model PLANNER", "model TRADER", "model JUDGE"}
    assert [what for what, in_transaction in asked if in_transaction] == []


def test_while_one_asks_about_an_order_no_transaction_is_open() -> None:
    scene = desk()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.traded()
    asked: list[tuple[str, bool]] = []
    scene.exchange.watch = lambda what: asked.append((what, scene.ledger.db.in_transaction))
    scene.script()
    cycle(scene.desk)
    assert ("find", False) in asked
    assert [what for what, in_transaction in asked if in_transaction] == []


def test_a_process_that_dies_while_sending_leaves_the_intent_behind_and_never_sends_again() -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.manners = [loses_the_answer(Killed()), fills]
    with pytest.raises(Killed):
        carried_out(scene, judged)
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.INTENT]
    assert carried_out(scene, judged).already
    scene.script()
    cycle(scene.desk)
    assert scene.exchange.sends == {"t1-1": 1, "t1-2": 1}
    assert scene.column("SELECT state FROM order_events WHERE client_order_id = 't1-1'") == ["INTENT", "FILLED"]
    assert scene.problems() == []


# Once.


@pytest.mark.parametrize(
    "manner",
    [fills_part("1"), fills_part("0.5"), refuses(), breaks(TimeoutError()), loses_the_answer(TimeoutError())],
    ids=["filled", "partial", "refused", "broken", "answer-lost"],
)
def test_executing_twice_sends_once_however_the_first_time_ended(manner: Any) -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.manners = [manner]
    first = carried_out(scene, judged)
    before = scene.counts()
    again = carried_out(scene, judged)
    assert (first.already, again.already) == (False, True)
    assert again.order == first.order
    assert (scene.counts(), scene.exchange.calls["submit"]) == (before, 1)


def test_an_order_that_was_stopped_before_it_was_sent_is_not_sent_after_the_stop_is_lifted() -> None:
    scene = desk()
    judged = scene.judged()
    scene.stop.when = lambda: (TradingState.HALT if scene.ledger.open_orders() else TradingState.RUN, "now")
    carried_out(scene, judged)
    scene.stop.when = None
    assert carried_out(scene, judged).already
    assert scene.exchange.calls["submit"] == 0


def test_one_verdict_cannot_have_two_orders_even_by_hand() -> None:
    scene = desk()
    order = carried_out(scene, scene.judged()).order
    law = scene.ledger.decision(order.intent.verdict_id)[1].review
    assert law is not None
    with pytest.raises(LedgerError, match="refused a row"), scene.ledger.transaction() as tx:
        scene.ledger.reserve(tx, replace(order.intent, client_order_id="t1-other"), law, None, None)
    assert scene.rows("orders") == 1


# Nothing to send.


@pytest.mark.parametrize("proposal", [proposal_words("HOLD", "0"), proposal_words("HOLD", "0.5"), "no words"])
def test_hold_never_reaches_the_exchange_whatever_the_judge_says(proposal: str) -> None:
    scene = desk()
    done = carried_out(scene, scene.judged(proposal))
    assert (done.order, done.reason) == (None, "verdict REJECT on HOLD")
    assert nothing_was_sent(scene)
    assert scene.exchange.calls["quote"] == 0


def test_a_reject_never_reaches_the_exchange() -> None:
    scene = desk()
    done = carried_out(scene, scene.judged(verdict=verdict_words("REJECT")))
    assert (done.order, done.reason) == (None, "verdict REJECT on BUY: minimum")
    assert nothing_was_sent(scene)


@pytest.mark.parametrize(
    ("action", "verdict", "qty"),
    [
        ("BUY", Verdict("APPROVE"), "0.001"),
        ("BUY", Verdict("REVISE", D("0.0004")), "0.0004"),
        ("SELL", Verdict("REVISE", D("0.001")), "0.001"),
        ("HOLD", Verdict("APPROVE"), "0"),
        ("HOLD", Verdict("REVISE", D("0.001")), "0"),
        ("BUY", Verdict("REJECT"), "0"),
        ("BUY", Verdict("REJECT", D("0.001")), "0"),
        ("BUY", Verdict("REVISE"), "0"),
        ("BUY", Verdict("REVISE", D(0)), "0"),
        ("BUY", Verdict("REVISE", D("0.00100001")), "0"),
        ("BUY", Verdict("APPROVE", D("0.0005")), "0"),
        ("BUY", Verdict("APPROVE", D(999)), "0"),
    ],
)
def test_a_verdict_that_does_not_fit_its_proposal_approves_nothing(action: str, verdict: Verdict, qty: str) -> None:
    assert approved_qty(Proposal(action, D("0.001"), "cash", "", 1.0), verdict) == D(qty)


# The law again: everything that may have changed since.


def expired(scene: Scene) -> None:
    scene.clock.advance(120_001)


def risen(scene: Scene) -> None:
    scene.exchange.ask = D("50250.01")


def risen_by_a_third(scene: Scene) -> None:
    scene.exchange.price = D(65_000)


def fallen(scene: Scene) -> None:
    scene.exchange.ask = D("49749.99")


def without_a_price(scene: Scene) -> None:
    scene.exchange.ask = D("-1")


def withdrawn(scene: Scene) -> None:
    with scene.ledger.transaction() as tx:
        scene.ledger.log_event(tx, "DEPOSIT", {"amount": "-990", "reason": "rent"}, scene.clock.now())


def capped(scene: Scene) -> None:
    scene.limit(deposit_cap=D(50))


def halted(scene: Scene) -> None:
    scene.stop.halt("fire")


def halted_in_the_ledger(scene: Scene) -> None:
    scene.stop.halt("fire")
    note_stop(scene.desk)
    scene.stop.said = (TradingState.RUN, None)


def reduced(scene: Scene) -> None:
    scene.stop.said = (TradingState.REDUCE, "TRADING=reduce")


def another_order_is_unsettled(scene: Scene) -> None:
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    carried_out(scene, scene.judged())
    scene.exchange.calls.clear()
    scene.exchange.submitted.clear()


def the_market_changed(scene: Scene) -> None:
    scene.exchange.rules = replace(scene.exchange.rules, min_notional=D(51))


CHANGES: list[tuple[Callable[[Scene], None], str]] = [
    (expired, "verdict_age: 120 s, needs at most 120 s"),
    (risen, "drift: 50250.01, needs within 0.5 % of 50000"),
    (risen_by_a_third, "drift: 65000, needs"),
    (fallen, "drift: 49749.99, needs"),
    (without_a_price, "drift: -1, needs"),
    (withdrawn, "funds: 50.3127625, needs 10 free"),
    (capped, "deposit_cap: 0 used + 50.3127625 asked, needs 50"),
    (halted, "state: HALT, needs RUN"),
    (halted_in_the_ledger, "state: HALT, needs RUN"),
    (reduced, "state: REDUCE, needs RUN"),
    (another_order_is_unsettled, "single_order: t1-1, needs no unsettled order"),
    (the_market_changed, "minimum: "),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_what_changed_since_the_verdict_keeps_the_order_here_and_is_recorded(
    change: Callable[[Scene], None], reason: str
) -> None:
    scene = desk()
    judged = scene.judged()
    change(scene)
    orders = scene.rows("orders")
    done = carried_out(scene, judged)
    assert (done.order, done.already) == (None, False)
    assert done.reason is not None
    assert done.reason.startswith(reason)
    assert reasons(scene) == [done.reason]
    assert scene.one("SELECT trace_id FROM events WHERE kind = 'NOT_SENT'") == judged[2].trace_id
    assert (scene.exchange.calls["submit"], scene.rows("orders"), scene.rows("trades")) == (0, orders, 0)
    assert scene.problems() == []


def test_a_verdict_is_carried_out_up_to_its_last_millisecond() -> None:
    scene = desk()
    judged = scene.judged()
    scene.clock.advance(120_000)
    assert carried_out(scene, judged).order is not None


@pytest.mark.parametrize("ask", ["50250", "49750"])
def test_a_price_that_moved_within_the_tolerated_drift_is_no_obstacle(ask: str) -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.ask = D(ask)
    order = carried_out(scene, judged).order
    assert order is not None
    assert order.intent.worst_price == D("50262.5")


@pytest.mark.parametrize("cap", ["50.3127625", "17.77", "33"])
def test_what_a_cap_let_through_when_it_was_judged_it_lets_through_when_it_is_sent(cap: str) -> None:
    scene = desk()
    scene.limit(deposit_cap=D(cap))
    judged = scene.judged()
    assert judged[2].payload.decision in ("APPROVE", "REVISE")
    scene.exchange.ask = D(50_200)  # dearer than judged, within the tolerated drift
    order = carried_out(scene, judged).order
    assert order is not None
    assert order.intent.worst_price == D("50262.5")
    assert order.intent.reserved_quote <= D(cap)


def test_an_order_is_sent_whole_as_approved_or_not_at_all() -> None:
    scene = desk()
    judged = scene.judged()
    scene.limit(max_order=D(30))
    assert carried_out(scene, judged).order is None
    assert nothing_was_sent(scene)


def test_a_sell_is_not_kept_by_what_binds_only_a_buy() -> None:
    scene = desk()
    scene.traded()
    judged = scene.judged(proposal_words("SELL", "0.0009", confidence=0.0))
    scene.limit(deposit_cap=D(1), max_order=D(1), max_orders_per_day=0, cooldown_ms=10**9, max_drawdown_pct=D(0))
    scene.stop.said = (TradingState.REDUCE, "TRADING=reduce")
    order = carried_out(scene, judged).order
    assert order is not None
    assert order.state is OrderState.FILLED


def test_a_sell_that_the_position_no_longer_covers_is_not_sent() -> None:
    scene = desk()
    scene.traded()
    first, second = (scene.judged(proposal_words("SELL", "0.0009")) for _ in range(2))
    assert carried_out(scene, first).order is not None
    done = carried_out(scene, second)
    assert (done.order, done.reason) == (None, "position: 0.0009, needs held 0.000099")


def test_carried_out_a_bar_later_it_looks_at_the_market_anew() -> None:
    scene = desk()
    scene.limit(verdict_max_age_ms=10**9)
    judged = scene.judged()
    scene.clock.advance(FIVE)
    scene.exchange.rows = ()
    done = carried_out(scene, judged)
    assert (done.order, done.reason) == (None, "data: empty: had 0 bars and no sound one, needs 200, needs no defects")
    assert scene.rows("observations") == 2
    assert scene.problems() == []


def test_without_a_quote_nothing_is_sent_and_the_verdict_stays_as_it_was() -> None:
    scene = desk()
    judged = scene.judged()
    before = scene.counts()
    scene.exchange.down = {"quote"}
    with pytest.raises(UpstreamError):
        carried_out(scene, judged)
    assert (scene.counts(), scene.exchange.calls["submit"]) == (before, 0)
    scene.exchange.down = set()
    assert carried_out(scene, judged).order is not None


# A stop between the intent and the submission.


@pytest.mark.parametrize("state", [TradingState.HALT, TradingState.REDUCE])
def test_a_stop_that_appears_after_the_intent_keeps_a_buy_here_and_is_recorded(state: TradingState) -> None:
    scene = desk()
    judged = scene.judged()
    scene.stop.when = lambda: (state, "pulled") if scene.ledger.open_orders() else (TradingState.RUN, None)
    order = carried_out(scene, judged).order
    assert (order.state, order.evidence) == (OrderState.REJECTED, {"by": "not sent", "message": "stopped: pulled"})
    assert scene.exchange.calls["submit"] == 0
    assert scene.ledger.open_orders() == ()
    assert scene.column("SELECT state FROM order_events ORDER BY id") == ["INTENT", "REJECTED"]
    assert scene.problems() == []


def test_reduce_that_appears_after_the_intent_lets_a_sell_go() -> None:
    scene = desk()
    scene.traded()
    judged = scene.judged(proposal_words("SELL", "0.0009"))
    scene.stop.when = lambda: (TradingState.REDUCE if scene.ledger.open_orders() else TradingState.RUN, "pulled")
    assert carried_out(scene, judged).order.state is OrderState.FILLED


def test_halt_that_appears_after_the_intent_keeps_a_sell_too() -> None:
    scene = desk()
    scene.traded()
    judged = scene.judged(proposal_words("SELL", "0.0009"))
    scene.stop.when = lambda: (TradingState.HALT if scene.ledger.open_orders() else TradingState.RUN, "pulled")
    assert carried_out(scene, judged).order.state is OrderState.REJECTED
    assert scene.exchange.calls["submit"] == 1


def test_a_run_that_is_about_to_end_sends_nothing_more_and_halts_nobody_after_it() -> None:
    scene = desk()
    first, second = scene.judged(), scene.judged()
    scene.stop.ends = "SIGTERM"
    assert carried_out(scene, first).reason == "state: HALT, needs RUN"
    scene.stop.ends = None
    scene.exchange.watch = lambda what: setattr(scene.stop, "ends", "SIGTERM") if what == "quote" else None
    assert carried_out(scene, second).order is None
    assert (scene.exchange.calls["submit"], scene.ledger.trading_state()) == (0, (TradingState.RUN, None))


# What the answer proves.


def test_a_partial_fill_is_booked_by_what_was_executed() -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.manners = [fills_part("0.4")]
    order = carried_out(scene, judged).order
    assert (order.state, order.executed_qty) == (OrderState.PARTIAL, D("0.0004"))
    assert scene.ledger.db.execute("SELECT qty, status FROM trades").fetchone() == ("0.0004", "PARTIALLY_FILLED")
    book = scene.ledger.book("BTC", "USDT")
    assert (book.base, book.quote) == (D("0.0003996"), D(980))
    assert scene.ledger.open_orders() == ()
    assert scene.problems() == []


def test_a_refusal_is_booked_with_its_code_and_frees_what_was_reserved() -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.manners = [refuses("-2010", "insufficient balance")]
    order = carried_out(scene, judged).order
    assert order.state is OrderState.REJECTED
    assert order.evidence == {"by": "answer", "code": "-2010", "message": "insufficient balance"}
    assert (scene.rows("trades"), scene.rows("fills"), scene.ledger.open_orders()) == (0, 0, ())
    assert scene.ledger.book("BTC", "USDT").quote == D(1000)
    assert scene.problems() == []


def held(intent: Intent) -> Report:
    return Report(intent.client_order_id, "x1", intent.side, OrderState.OPEN, D(0))


def test_an_order_the_exchange_holds_stays_open_and_reserved() -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.manners = [says(held)]
    scene.exchange.found = held
    assert carried_out(scene, judged).order.state is OrderState.OPEN
    assert [order.intent.reserved_quote for order in scene.ledger.open_orders()] == [BUY_COST]
    assert scene.rows("trades") == 0
    assert scene.problems() == []


def test_what_cannot_be_written_down_is_an_order_nobody_knows_about_and_is_never_sent_again() -> None:
    scene = desk()
    scene.traded()
    scene.ledger.db.execute("CREATE TRIGGER full BEFORE INSERT ON trades BEGIN SELECT RAISE(ABORT, 'full'); END")
    judged = scene.judged()
    with pytest.raises(OrderUnknownError, match=r"order t1-2 was sent and what came of it could not be written"):
        carried_out(scene, judged)
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.INTENT]
    assert carried_out(scene, judged).already
    assert scene.exchange.sends == {"t1-1": 1, "t1-2": 1}
    assert scene.problems() == []


ERRORS: list[Exception] = [
    TimeoutError("read timed out"),
    ConnectionResetError("reset by peer"),
    UpstreamError("503"),
    LedgerError("disk full at the exchange's"),
    ValueError("could not convert string to float"),
    KeyError("orderId"),
    TypeError("NoneType"),
    RecursionError(),
    MemoryError(),
    AssertionError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    Exception("\ud800 \0 \x1b[2J"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_the_submission_raises_the_order_is_unknown_and_is_not_sent_again(error: Exception) -> None:
    scene = desk()
    scene.exchange.manners = [breaks(error)]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    first = scene.traded().execution.order
    assert first is not None
    assert first.state is OrderState.UNKNOWN
    assert (first.evidence["error"] or "").startswith(type(error).__name__)
    again = cycle(scene.desk)
    assert (again.plan.payload.mode, again.plan.cause) == ("OBSERVE", "order t1-1 is not settled")
    assert [order.intent.client_order_id for order in again.unsettled] == ["t1-1"]
    assert (again.execution.order, scene.exchange.sends) == (None, {"t1-1": 1})
    assert scene.model.calls["PLANNER"] == 1
    assert scene.problems() == []


ODD_REPORTS: dict[str, Callable[[Any], object]] = {
    "another-order": lambda intent: report(replace(intent, client_order_id="t1-9")),
    "the-other-side": lambda intent: replace(report(intent), side=Side.SELL),
    "too-much": lambda intent: report(intent, intent.qty * 2),
    "filled-but-not-all": lambda intent: replace(report(intent, intent.qty / 2), state=OrderState.FILLED),
    "without-fills": lambda intent: replace(report(intent), fills=()),
    "without-an-order-id": lambda intent: replace(report(intent), exchange_order_id=None),
    "refused-without-a-code": lambda intent: Report(
        intent.client_order_id, None, intent.side, OrderState.REJECTED, D(0)
    ),
    "refused-and-executed": lambda intent: replace(report(intent), state=OrderState.REJECTED, code="-2010"),
    "nothing": lambda intent: RUBBISH["nothing"],
    "a-text": lambda intent: RUBBISH["a-text"],
    "a-quantity-as-float": lambda intent: RUBBISH["a-quantity-as-float"],
    "a-fill-that-is-none": lambda intent: RUBBISH["a-fill-that-is-none"],
    "a-time-no-calendar-has": lambda intent: RUBBISH["a-time-no-calendar-has"],
}


@pytest.mark.parametrize("rubbish", ODD_REPORTS.values(), ids=ODD_REPORTS)
def test_whatever_the_submission_returns_what_is_no_proof_is_unknown_and_books_nothing(
    rubbish: Callable[[Any], object],
) -> None:
    scene = desk()
    scene.exchange.manners = [says(rubbish)]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    order = scene.traded().execution.order
    assert order is not None
    assert (order.state, "doubt" in order.evidence) == (OrderState.UNKNOWN, True)
    assert (scene.rows("fills"), scene.rows("trades")) == (0, 0)
    again = cycle(scene.desk)
    assert (again.plan.payload.mode, again.execution.order) == ("OBSERVE", None)
    scene.exchange.found = None
    assert [order.state for order in recover(scene.desk)] == [OrderState.FILLED]
    assert (scene.exchange.sends, scene.rows("trades")) == ({"t1-1": 1}, 1)
    assert scene.problems() == []


# What became of an order whose answer proved nothing is asked soon, a few times, and never sent again.


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_an_order_whose_answer_was_lost_is_found_within_the_same_command(looks: int) -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.manners = [loses_the_answer(TimeoutError())]
    scene.exchange.found = lambda intent: (
        Absent(final=False, evidence="not yet")
        if len(scene.exchange.asked_about) < looks
        else scene.exchange.truth[intent.client_order_id]
    )
    assert carried_out(scene, judged).order.state is OrderState.FILLED
    assert len(scene.exchange.asked_about) == len(scene.clock.pauses) == looks
    assert scene.column("SELECT state FROM order_events ORDER BY id") == ["INTENT", "UNKNOWN", "FILLED"]
    assert (scene.exchange.sends, scene.rows("trades")) == ({"t1-1": 1}, 1)
    assert scene.problems() == []


def test_an_order_that_does_not_show_soon_stays_unknown() -> None:
    scene = desk()
    judged = scene.judged()
    scene.exchange.manners = [loses_the_answer(TimeoutError())]
    scene.exchange.down = {"find"}
    assert carried_out(scene, judged).order.state is OrderState.UNKNOWN
    assert scene.clock.pauses == list(ASK_AFTER_MS)
    assert scene.exchange.sends == {"t1-1": 1}


def test_a_signal_ends_the_asking_and_the_order_stays_unknown() -> None:
    scene = desk(clock=FakeClock(signal_after=-1))
    judged = scene.judged()
    scene.exchange.manners = [loses_the_answer(TimeoutError())]
    assert carried_out(scene, judged).order.state is OrderState.UNKNOWN
    assert scene.exchange.asked_about == []


def test_a_trade_that_another_order_has_already_needs_a_human() -> None:
    scene = desk()
    scene.traded()
    scene.exchange.manners = [says(lambda intent: report(intent, number=1))]
    came = carried_out(scene, scene.judged()).order
    assert came is not None
    assert came.state is OrderState.NEEDS_HUMAN
    assert came.evidence == {"contradiction": "the exchange shows trade x1-1, which another order has already"}
    assert scene.rows("trades") == 1
    assert scene.problems() == []
