"""recover: asking what became of an order, booking what is proved, and never sending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from tests.desks import BUY_COST, Scene, desk
from tests.fakes import Killed, breaks, fills, loses_the_answer, report, says
from trader_cli.core.errors import UpstreamError
from trader_cli.phases.cycle import cycle
from trader_cli.phases.execute import execute
from trader_cli.phases.recover import recover
from trader_cli.schemas.order import Absent, Intent, OrderState, Report, Side
from trader_cli.schemas.situation import TradingState

D = Decimal


def unasked(scene: Scene) -> None:
    """A cycle whose order cannot be looked up."""
    scene.exchange.down = {"find"}
    scene.traded()
    scene.exchange.down = set()
    scene.exchange.asked_about.clear()
    scene.exchange.calls.clear()


def unknown(scene: Scene) -> None:
    """An order whose answer was lost, and that nobody could ask about at once."""
    scene.exchange.manners = [breaks(TimeoutError()), fills]
    unasked(scene)


def intended(scene: Scene) -> None:
    """An intent whose process died while sending."""
    judged = scene.judged()
    scene.exchange.manners = [breaks(Killed()), fills]
    with pytest.raises(Killed):
        execute(scene.desk, *judged)


def opened(scene: Scene) -> None:
    """An order the exchange holds."""
    scene.exchange.manners = [
        says(lambda intent: Report(intent.client_order_id, "x1", intent.side, OrderState.OPEN, D(0))),
        fills,
    ]
    unasked(scene)


BEFORE = {OrderState.UNKNOWN: unknown, OrderState.INTENT: intended, OrderState.OPEN: opened}


@dataclass(frozen=True)
class Finding:
    """What the exchange shows, the state it proves, and what was executed by it."""

    shows: Callable[[Intent], object]
    state: OrderState
    executed: str = "0"


def refused(intent: Intent) -> Report:
    return Report(intent.client_order_id, None, intent.side, OrderState.REJECTED, D(0), code="-2010", message="no")


FINDINGS: dict[str, Finding] = {
    "filled": Finding(report, OrderState.FILLED, "0.001"),
    "partial": Finding(lambda intent: report(intent, D("0.0004")), OrderState.PARTIAL, "0.0004"),
    "rejected": Finding(refused, OrderState.REJECTED),
    "the-other-side": Finding(lambda intent: replace(report(intent), side=Side.SELL), OrderState.NEEDS_HUMAN),
    "more-than-was-sent": Finding(lambda intent: report(intent, D("0.002")), OrderState.NEEDS_HUMAN),
}


def absent(intent: Intent) -> Absent:
    return Absent(final=True, evidence="-2013 after the fence")


def not_yet(intent: Intent) -> Absent:
    return Absent(final=False, evidence="-2013 so far")


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDINGS)
@pytest.mark.parametrize("before", BEFORE)
def test_what_is_found_settles_the_order_and_is_booked(before: OrderState, finding: Finding) -> None:
    scene = desk()
    BEFORE[before](scene)
    scene.exchange.found = finding.shows
    (order,) = recover(scene.desk)
    assert (order.state, order.executed_qty) == (finding.state, D(finding.executed))
    assert scene.exchange.asked_about == ["t1-1"]
    assert scene.column("SELECT state FROM order_events ORDER BY id")[-1] == finding.state
    assert scene.column("SELECT qty FROM trades") == ([finding.executed] if D(finding.executed) else [])
    left = [one.intent.reserved_quote for one in scene.ledger.open_orders()]
    assert left == ([BUY_COST] if finding.state is OrderState.NEEDS_HUMAN else [])
    assert scene.exchange.sends == {"t1-1": 1}
    assert scene.problems() == []


@pytest.mark.parametrize("before", [OrderState.UNKNOWN, OrderState.INTENT])
def test_what_can_no_longer_come_to_be_is_abandoned_and_frees_its_reservation(before: OrderState) -> None:
    scene = desk()
    BEFORE[before](scene)
    scene.exchange.found = absent
    (order,) = recover(scene.desk)
    assert (order.state, order.evidence) == (OrderState.ABANDONED, {"absent": "-2013 after the fence"})
    assert (scene.ledger.open_orders(), scene.rows("trades")) == ((), 0)
    assert scene.problems() == []
    scene.script()
    after = cycle(scene.desk).execution.order
    assert after is not None
    assert (after.state, after.intent.client_order_id) == (OrderState.FILLED, "t1-2")


def test_an_order_that_was_held_and_is_now_said_never_to_have_been_needs_a_human() -> None:
    scene = desk()
    opened(scene)
    scene.exchange.found = absent
    (order,) = recover(scene.desk)
    assert order.state is OrderState.NEEDS_HUMAN
    assert scene.problems() == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OrderState.UNKNOWN, OrderState.UNKNOWN),
        (OrderState.INTENT, OrderState.UNKNOWN),
        (OrderState.OPEN, OrderState.OPEN),
    ],
)
@pytest.mark.parametrize(
    "shows",
    [
        not_yet,
        lambda intent: None,
        lambda intent: "<html>",
        lambda intent: replace(report(intent), fills=()),
        lambda intent: replace(report(intent), executed_qty=D("NaN")),
        lambda intent: report(replace(intent, client_order_id="t1-9")),
        lambda intent: replace(refused(intent), code=None),
    ],
    ids=["not-yet", "none", "html", "no-fills", "nan", "another-order", "no-code"],
)
def test_what_proves_nothing_leaves_the_order_as_unknown_as_it_was(
    before: OrderState, after: OrderState, shows: Callable[[Intent], object]
) -> None:
    scene = desk()
    BEFORE[before](scene)
    scene.exchange.found = shows
    (order,) = recover(scene.desk)
    assert order.state is after
    assert [one.intent.reserved_quote for one in scene.ledger.open_orders()] == [BUY_COST]
    assert (scene.rows("fills"), scene.rows("trades"), scene.exchange.sends) == (0, 0, {"t1-1": 1})
    assert scene.problems() == []


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(
    "shows", [*(one.shows for one in FINDINGS.values()), absent, not_yet], ids=[*FINDINGS, "absent", "not-yet"]
)
def test_recovering_twice_is_recovering_once(before: OrderState, shows: Callable[[Intent], object]) -> None:
    scene = desk()
    BEFORE[before](scene)
    scene.exchange.found = shows
    first = recover(scene.desk)
    counts, open_orders, head = scene.counts(), scene.ledger.open_orders(), scene.ledger.head
    again = recover(scene.desk)
    assert again == [order for order in first if order in open_orders]
    assert (scene.counts(), scene.ledger.open_orders(), scene.ledger.head) == (counts, open_orders, head)


def test_an_order_that_was_held_is_booked_when_it_is_found_filled() -> None:
    scene = desk()
    opened(scene)
    (order,) = recover(scene.desk)
    assert order.state is OrderState.FILLED
    assert scene.column("SELECT state FROM order_events ORDER BY id") == ["INTENT", "OPEN", "FILLED"]


def test_a_lost_answer_is_found_again_and_booked_as_if_it_had_arrived() -> None:
    lost, heard = desk(), desk()
    lost.exchange.manners = [loses_the_answer(ConnectionResetError())]
    unasked(lost)
    heard.traded()
    assert lost.ledger.book("BTC", "USDT") != heard.ledger.book("BTC", "USDT")
    recover(lost.desk)
    assert lost.ledger.book("BTC", "USDT") == heard.ledger.book("BTC", "USDT")
    trade = "SELECT side, qty, price, fee, fee_asset, order_id, status, trace_id FROM trades"
    assert lost.ledger.db.execute(trade).fetchall() == heard.ledger.db.execute(trade).fetchall()
    assert lost.problems() == []


def test_a_trade_id_that_another_order_has_already_needs_a_human_and_breaks_no_command() -> None:
    scene = desk()
    scene.traded()
    unknown(scene)
    scene.exchange.found = lambda intent: report(intent, number=1)
    assert [order.state for order in recover(scene.desk)] == [OrderState.NEEDS_HUMAN]
    assert scene.problems() == []


# Whom it asks.


def test_with_nothing_open_nobody_is_asked_even_while_the_exchange_is_down() -> None:
    scene = desk()
    scene.traded()
    scene.exchange.calls.clear()
    scene.exchange.down = {"all"}
    assert recover(scene.desk) == []
    assert scene.exchange.calls == {}


def test_an_exchange_that_cannot_be_asked_is_an_error_and_changes_nothing() -> None:
    scene = desk()
    unknown(scene)
    counts = scene.counts()
    scene.exchange.down = {"find"}
    with pytest.raises(UpstreamError):
        recover(scene.desk)
    assert scene.counts() == counts
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.UNKNOWN]


def test_an_order_that_needs_a_human_is_not_asked_about_again() -> None:
    scene = desk()
    unknown(scene)
    scene.exchange.found = FINDINGS["more-than-was-sent"].shows
    recover(scene.desk)
    scene.exchange.asked_about.clear()
    (order,) = recover(scene.desk)
    assert (order.state, scene.exchange.asked_about) == (OrderState.NEEDS_HUMAN, [])


def test_while_a_human_is_needed_nothing_is_traded() -> None:
    scene = desk()
    unknown(scene)
    scene.exchange.found = FINDINGS["the-other-side"].shows
    for _ in range(3):
        came = cycle(scene.desk)
        assert (came.plan.payload.mode, came.execution.order) == ("OBSERVE", None)
        assert [order.state for order in came.unsettled] == [OrderState.NEEDS_HUMAN]
    assert scene.exchange.sends == {"t1-1": 1}


# The stop sign.


def states(scene: Scene) -> list[tuple[Any, ...]]:
    return scene.ledger.db.execute(
        "SELECT json_extract(data_json, '$.from'), json_extract(data_json, '$.to'), json_extract(data_json, '$.reason')"
        " FROM events WHERE kind = 'STATE' ORDER BY id"
    ).fetchall()


def test_a_stop_sign_is_written_into_the_ledger_once_and_outlives_the_sign() -> None:
    scene = desk()
    scene.stop.halt("fire")
    recover(scene.desk)
    recover(scene.desk)
    assert states(scene) == [("RUN", "HALT", "fire")]
    scene.stop.said = (TradingState.RUN, None)
    recover(scene.desk)
    assert states(scene) == [("RUN", "HALT", "fire")]
    assert scene.desk.state() == (TradingState.HALT, "fire")


def test_only_a_stricter_sign_changes_the_state() -> None:
    scene = desk()
    for state in (TradingState.REDUCE, TradingState.HALT, TradingState.REDUCE, TradingState.RUN):
        scene.stop.said = (state, f"said {state.name}")
        recover(scene.desk)
    assert states(scene) == [("RUN", "REDUCE", "said REDUCE"), ("REDUCE", "HALT", "said HALT")]


def test_a_sign_without_a_reason_still_stops() -> None:
    scene = desk()
    scene.stop.said = (TradingState.HALT, None)
    recover(scene.desk)
    assert states(scene) == [("RUN", "HALT", "stop sign")]


def test_the_end_of_a_run_is_no_stop_and_is_not_written_down() -> None:
    scene = desk()
    scene.stop.ends = "SIGTERM"
    recover(scene.desk)
    assert scene.desk.state() == (TradingState.HALT, "SIGTERM")
    assert states(scene) == []


def test_a_stop_is_noted_also_while_the_exchange_is_down() -> None:
    scene = desk()
    unknown(scene)
    scene.stop.halt("fire")
    scene.exchange.down = {"all"}
    with pytest.raises(UpstreamError):
        recover(scene.desk)
    assert states(scene) == [("RUN", "HALT", "fire")]


@pytest.mark.parametrize(
    ("kept", "asked", "in_force"),
    [
        ((TradingState.RUN, None), (TradingState.RUN, None), TradingState.RUN),
        ((TradingState.RUN, None), (TradingState.REDUCE, "sign"), TradingState.REDUCE),
        ((TradingState.REDUCE, "kept"), (TradingState.RUN, None), TradingState.REDUCE),
        ((TradingState.HALT, "kept"), (TradingState.REDUCE, "sign"), TradingState.HALT),
        ((TradingState.REDUCE, "kept"), (TradingState.HALT, "sign"), TradingState.HALT),
    ],
)
def test_the_stricter_of_ledger_and_sign_is_in_force(
    kept: tuple[TradingState, str | None], asked: tuple[TradingState, str | None], in_force: TradingState
) -> None:
    scene = desk()
    scene.stop.said = kept
    recover(scene.desk)
    scene.stop.said = asked
    assert scene.desk.state()[0] is in_force
