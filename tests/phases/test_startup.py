"""The startup sequence: what it asks, in which order, what it remembers for a day, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.desks import Scene, desk
from tests.fakes import FIVE, breaks, report
from trader_cli.core.errors import ConfigError, UpstreamError
from trader_cli.phases.cycle import cycle
from trader_cli.phases.startup import PROOF_MS, shutdown, startup
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Intent, OrderState, Report


def account() -> Scene:
    """A desk on an account that was never looked at, with one model behind a server."""
    scene = desk(deposit=None)
    scene.exchange.key = "5f1c0a9e77d2b4c8"
    scene.exchange.held = Balances(Decimal(0), Decimal(1000))
    return scene


def with_model(scene: Scene, error: Exception | None = None) -> list[str]:
    """Give the minds a model that can be proved; returns the list of proofs that were asked for."""
    asked: list[str] = []

    def prove() -> dict[str, str]:
        asked.append("gpt-5")
        if error is not None:
            raise error
        return {"host": "api.example", "listed": "yes"}

    scene.desk = replace(scene.desk, minds=replace(scene.desk.minds, proofs=(("gpt-5", prove),)))
    return asked


def test_it_asks_for_the_market_the_account_the_balance_and_the_orders_in_this_order_and_writes_each_proof_down() -> (
    None
):
    scene = account()
    seen: list[str] = []
    scene.exchange.watch = seen.append
    asked = with_model(scene)
    startup(scene.desk)
    assert [one for one in seen if one != "market"] == ["connect", "prove", "balances", "orders"]
    assert asked == ["gpt-5"]
    proofs = scene.column("SELECT data_json FROM events WHERE kind = 'PROOF' ORDER BY id")
    assert '"what":"key","of":"5f1c0a9e77d2b4c8"' in proofs[0]
    assert '"what":"model","of":"gpt-5","host":"api.example"' in proofs[1]
    assert scene.column("SELECT kind FROM events ORDER BY id") == ["PROOF", "PROOF", "EPOCH", "SCAN"]


def test_a_model_is_proved_once_a_day_and_a_server_that_cannot_be_asked_keeps_nobody_from_trading() -> None:
    scene = account()
    asked = with_model(scene, UpstreamError("no answer"))
    startup(scene.desk)
    asked.clear()
    again = with_model(scene)
    for late in (0, PROOF_MS - 1):
        scene.clock.advance(late)
        startup(scene.desk)
    assert again == ["gpt-5"]
    scene.clock.advance(PROOF_MS)
    startup(scene.desk)
    assert again == ["gpt-5"] * 2


def test_a_model_that_is_not_there_is_a_matter_of_settings_before_anything_is_traded() -> None:
    scene = account()
    with_model(scene, ConfigError("no such model"))
    with pytest.raises(ConfigError, match="no such model"):
        cycle(scene.desk)
    assert (scene.exchange.submitted, scene.model.asked) == ([], [])


def test_a_key_that_may_do_too_much_is_refused_and_never_proved() -> None:
    scene = account()
    scene.exchange.refuses_key = ConfigError("it may withdraw")
    with pytest.raises(ConfigError, match="it may withdraw"):
        cycle(scene.desk)
    assert scene.column("SELECT kind FROM events") == []


@pytest.mark.parametrize("down", ["connect", "prove", "balances", "orders"])
def test_whatever_is_out_of_reach_at_the_first_start_nothing_is_traded_and_the_next_start_goes_on(down: str) -> None:
    scene = account()
    scene.exchange.down = {down}
    with pytest.raises(UpstreamError):
        startup(scene.desk)
    scene.exchange.down = set()
    scene.clock.advance(FIVE)
    assert scene.traded().execution.order is not None
    assert scene.column("SELECT count(*) FROM events WHERE kind = 'EPOCH'") == [1]
    assert scene.problems() == []


@pytest.mark.parametrize("down", ["connect", "orders"])
def test_with_a_part_of_the_exchange_down_a_later_cycle_observes_and_says_what_is_missing(down: str) -> None:
    scene = account()
    scene.traded()
    scene.clock.advance(3_600_000)
    scene.exchange.down = {down}
    came = cycle(scene.desk)
    assert came.upstream == f"{down}: the fake exchange is down"
    assert (came.execution.order, came.snapshot is None) == (None, False)
    assert (came.plan.payload.mode, came.plan.cause) == ("OBSERVE", f"unavailable: {down}: the fake exchange is down")
    assert scene.problems() == []


def test_an_unsettled_order_is_asked_about_once_it_is_known_whose_account_answers() -> None:
    scene = account()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.down = {"find"}
    scene.traded()
    scene.exchange.down = set()
    scene.exchange.key, scene.exchange.evidence = "another", {"account": "b2", "trade": "yes", "withdraw": "no"}
    with pytest.raises(ConfigError, match="another account"):
        startup(scene.desk)
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.UNKNOWN]
    scene.exchange.evidence = {"account": "a1", "trade": "yes", "withdraw": "no"}
    seen: list[str] = []
    scene.exchange.watch = seen.append
    startup(scene.desk)
    assert [one for one in seen if one != "market"][:3] == ["connect", "prove", "find"]
    assert scene.column("SELECT state FROM order_events ORDER BY id")[-1] == OrderState.ABANDONED


def test_on_paper_nothing_is_proved_and_nothing_is_asked_but_the_market() -> None:
    scene = desk()
    asked = with_model(scene)
    startup(scene.desk)
    assert (asked, scene.exchange.calls) == ([], {"connect": 1})


# The end of a run.


def open_order(scene: Scene) -> None:
    """An order that the exchange holds until it is cancelled; then it has executed a part."""

    def found(intent: Intent) -> Report:
        said = report(intent, Decimal("0.0004"))
        return said if scene.exchange.cancelled else replace(said, state=OrderState.OPEN)

    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = found
    scene.traded()
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.OPEN]


def test_a_run_that_a_signal_ends_takes_its_open_orders_back_and_marks_the_book() -> None:
    scene = account()
    open_order(scene)
    snapshots = scene.rows("portfolio")
    scene.stop.ends = "SIGTERM"
    shutdown(scene.desk)
    assert [one.client_order_id for one in scene.exchange.cancelled] == ["t1-1"]
    assert scene.ledger.open_orders() == ()
    assert scene.column("SELECT qty FROM trades") == ["0.0004"]
    assert scene.rows("portfolio") == snapshots + 1
    assert scene.problems() == []


def test_a_run_that_ends_by_itself_leaves_its_orders_alone_and_one_without_any_asks_nobody() -> None:
    scene = account()
    open_order(scene)
    shutdown(scene.desk)
    assert scene.exchange.cancelled == []
    quiet = account()
    quiet.traded()
    quiet.stop.ends = "SIGINT"
    quiet.exchange.calls.clear()
    shutdown(quiet.desk)
    assert quiet.exchange.calls == {}


def test_an_exchange_that_is_down_at_the_end_holds_nobody_up() -> None:
    scene = account()
    open_order(scene)
    scene.stop.ends = "SIGTERM"
    scene.exchange.down = {"all"}
    shutdown(scene.desk)
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.OPEN]
