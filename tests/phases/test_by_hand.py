"""by hand: the way out of an order that no answer settles, which never overrules an execution that is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.desks import Scene, desk
from tests.fakes import breaks, fills, report, says
from trader_cli.core.errors import DiffersError, NotFoundError, TraderError, UpstreamError, UsageError
from trader_cli.phases.by_hand import order_named, settle_filled, settle_not_placed
from trader_cli.phases.cycle import cycle
from trader_cli.phases.recover import recover
from trader_cli.schemas.order import Absent, Intent, Order, OrderState, Report, Side

D = Decimal


def not_yet(intent: Intent) -> Absent:
    return Absent(final=False, evidence="-2013 so far")


def gone(intent: Intent) -> Absent:
    return Absent(final=True, evidence="-2013 after the fence")


def is_open(intent: Intent) -> Report:
    return Report(intent.client_order_id, "x1", intent.side, OrderState.OPEN, D(0))


def refused(intent: Intent) -> Report:
    return Report(intent.client_order_id, None, intent.side, OrderState.REJECTED, D(0), code="-2010", message="no")


def other_side(intent: Intent) -> Report:
    return replace(report(intent), side=Side.SELL)


def too_much(intent: Intent) -> Report:
    return report(intent, D("0.002"))


def out_of_reach(intent: Intent) -> object:
    raise UpstreamError("down")


def unknown(scene: Scene) -> Order:
    scene.exchange.manners = [breaks(TimeoutError()), fills]
    scene.exchange.found = not_yet
    scene.traded()
    return scene.ledger.open_orders()[0]


def opened(scene: Scene) -> Order:
    scene.exchange.manners = [says(is_open), fills]
    scene.exchange.found = is_open
    scene.traded()
    return scene.ledger.open_orders()[0]


def human(scene: Scene) -> Order:
    unknown(scene)
    scene.exchange.found = other_side
    (order,) = recover(scene.desk)
    assert order.state is OrderState.NEEDS_HUMAN
    return order


BEFORE: dict[str, Callable[[Scene], Order]] = {"unknown": unknown, "open": opened, "human": human}


def problems_but(scene: Scene, word: str) -> list[str]:
    return [one for one in scene.problems() if word not in one]


# --- filled


@pytest.mark.parametrize("before", BEFORE)
def test_what_the_exchange_shows_is_booked_with_the_reason(before: str) -> None:
    scene = desk()
    order = BEFORE[before](scene)
    scene.exchange.found = report
    done = settle_filled(scene.desk, order, "asked support")
    assert (done.state, done.executed_qty) == (OrderState.FILLED, D("0.001"))
    assert (done.evidence["by"], done.evidence["reason"]) == ("operator", "asked support")
    assert scene.ledger.open_orders() == ()
    assert scene.problems() == []
    scene.exchange.found = None
    scene.script()
    assert cycle(scene.desk).execution.order is not None, "trading goes on"


def test_more_than_was_sent_is_booked_as_it_is_shown() -> None:
    scene = desk()
    order = unknown(scene)
    scene.exchange.found = too_much
    (order,) = recover(scene.desk)
    assert order.state is OrderState.NEEDS_HUMAN
    done = settle_filled(scene.desk, order, "it is so")
    assert (done.state, done.executed_qty) == (OrderState.FILLED, D("0.002"))
    assert scene.ledger.book("BTC", "USDT").base == D("0.001998")
    assert scene.column("SELECT qty FROM trades") == ["0.002"]


@pytest.mark.parametrize(
    ("shows", "words"),
    [
        (not_yet, "nothing (so far"),
        (gone, "nothing (for good"),
        (refused, "a BUY that is REJECTED"),
        (is_open, "there is nothing to book"),
        (lambda intent: replace(report(intent, D("0.0004")), state=OrderState.OPEN), "may still be filled"),
        (lambda intent: replace(report(intent), fills=()), "fills add up to 0"),
        (other_side, "which was a BUY"),
        (lambda intent: None, "a NoneType"),
        (lambda intent: replace(report(intent), executed_qty=D("NaN")), "no sound report"),
    ],
)
def test_what_is_no_execution_is_not_booked_and_said(shows: Callable[[Intent], object], words: str) -> None:
    scene = desk()
    order = unknown(scene)
    scene.exchange.found = shows
    with pytest.raises(DiffersError) as caught:
        settle_filled(scene.desk, order, "x")
    assert words in caught.value.message
    assert caught.value.hint
    assert (scene.rows("trades"), len(scene.ledger.open_orders())) == (0, 1)


def test_an_exchange_out_of_reach_books_nothing() -> None:
    scene = desk()
    order = unknown(scene)
    scene.exchange.found = out_of_reach
    with pytest.raises(UpstreamError):
        settle_filled(scene.desk, order, "x")
    assert len(scene.ledger.open_orders()) == 1


# --- not placed


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("shows", [gone, refused])
def test_an_order_that_is_not_there_is_given_up_with_the_reason(before: str, shows: Callable[[Intent], object]) -> None:
    scene = desk()
    order = BEFORE[before](scene)
    scene.exchange.found = shows
    done = settle_not_placed(scene.desk, order, "asked support", force=False)
    assert done.state is OrderState.ABANDONED
    assert (done.evidence["by"], done.evidence["reason"]) == ("operator", "asked support")
    assert (scene.ledger.open_orders(), scene.rows("trades")) == ((), 0)
    assert scene.problems() == []


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("shows", [report, too_much, is_open, lambda intent: report(intent, D("0.0004"))])
def test_what_is_shown_as_placed_cannot_be_given_up(shows: Callable[[Intent], object], force: bool) -> None:
    scene = desk()
    order = unknown(scene)
    scene.exchange.found = shows
    with pytest.raises(DiffersError):
        settle_not_placed(scene.desk, order, "x", force)
    assert len(scene.ledger.open_orders()) == 1


@pytest.mark.parametrize(
    ("shows", "error"), [(not_yet, DiffersError), (lambda intent: None, DiffersError), (out_of_reach, UpstreamError)]
)
@pytest.mark.parametrize("before", BEFORE)
def test_what_cannot_be_verified_needs_force_and_is_recorded_so(
    before: str, shows: Callable[[Intent], object], error: type[TraderError]
) -> None:
    scene = desk()
    order = BEFORE[before](scene)
    scene.exchange.found = shows
    with pytest.raises(error) as caught:
        settle_not_placed(scene.desk, order, "x", force=False)
    assert "--force" in str(caught.value.hint)
    done = settle_not_placed(scene.desk, order, "x", force=True)
    assert done.state is OrderState.ABANDONED
    assert str(done.evidence["shown"]).startswith("not verified: ")
    assert scene.problems() == []


def test_an_order_of_the_other_side_is_not_ours_and_may_be_given_up_by_force() -> None:
    scene = desk()
    order = human(scene)
    with pytest.raises(DiffersError):
        settle_not_placed(scene.desk, order, "x", force=False)
    assert settle_not_placed(scene.desk, order, "x", force=True).state is OrderState.ABANDONED


# --- names


def test_an_order_is_named_whole_or_by_its_beginning() -> None:
    scene = desk()
    order = unknown(scene)
    assert order_named(scene.desk, "t1-1") == order
    with pytest.raises(UsageError):
        order_named(scene.desk, "t1-")
    with pytest.raises(NotFoundError) as caught:
        order_named(scene.desk, "t1-999")
    assert "unsettled: t1-1" in caught.value.message
