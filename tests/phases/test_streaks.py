"""What stands in a row: losing sales, orders the exchange refused, orders of an hour; as the ledger tells the law."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.desks import Scene, desk
from tests.fakes import FIVE, NOW, fills, plan_words, proposal_words, refuses
from tests.ledgers import grow, rows
from tests.phases.test_audit import failed
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import History, TradingState
from trader_cli.tools.ledger import Ledger

D = Decimal
HOUR = 3_600_000


def seen(scene: Scene) -> History:
    """What a process that knows nothing yet reads, which must be what this one remembers."""
    remembered = scene.ledger.history(scene.clock.now())
    assert Ledger(scene.ledger.db, None, scene.clock.wall).history(scene.clock.now()) == remembered
    return remembered


def round_trip(scene: Scene, bought: str, sold: str) -> None:
    """Buy 0.001 at one price, sell what can be sold at another."""
    scene.exchange.price = D(bought)
    scene.traded(proposal_words("BUY", "0.001"))
    scene.exchange.price = D(sold)
    scene.traded(proposal_words("SELL", "0.00099"))


def test_sales_at_a_loss_stand_in_a_row_until_one_gains() -> None:
    scene = desk()
    assert seen(scene).losses == ()
    round_trip(scene, "50000", "50000")  # nothing but fees
    round_trip(scene, "50000", "49900")
    assert seen(scene).losses == (NOW + FIVE, NOW + 3 * FIVE)
    scene.traded(proposal_words("BUY", "0.001"))
    assert len(seen(scene).losses) == 2
    round_trip(scene, "49900", "51000")
    assert seen(scene).losses == ()
    round_trip(scene, "51000", "45000")
    assert len(seen(scene).losses) == 1
    assert scene.problems() == []


def test_after_so_many_losses_nothing_is_bought_until_they_are_sat_out_and_then_they_count_anew() -> None:
    scene = desk()
    scene.limit(max_losing_streak=2, max_rejected_streak=2, streak_cooldown_ms=HOUR)
    round_trip(scene, "50000", "49900")
    round_trip(scene, "49900", "49800")
    tired = scene.traded()
    assert tired.verdict.payload.violations == ("streak", "minimum")
    scene.clock.advance(HOUR)
    round_trip(scene, "49800", "49700")  # one loss more, and the first of a new streak
    assert scene.traded().execution.order is not None
    assert scene.problems() == []


def test_orders_that_the_exchange_refused_stand_in_a_row_until_it_takes_one() -> None:
    scene = desk()
    scene.limit(max_losing_streak=2, max_rejected_streak=2, streak_cooldown_ms=HOUR)
    scene.exchange.manners = [refuses(), refuses(), fills]
    scene.traded()
    scene.traded()
    assert seen(scene).refusals == (NOW, NOW + FIVE)
    assert scene.traded().verdict.payload.violations == ("streak", "minimum")
    scene.clock.advance(HOUR)
    assert scene.traded().execution.order is not None
    assert seen(scene).refusals == ()
    assert scene.problems() == []


def test_an_order_that_was_stopped_before_it_was_sent_is_no_refusal() -> None:
    scene = desk()
    scene.stop.when = lambda: (
        (TradingState.HALT, "fire") if scene.rows("orders") else (TradingState.RUN, None)
    )  # between the intent and its submission
    scene.traded()
    assert scene.column("SELECT state FROM order_events ORDER BY id") == ["INTENT", "REJECTED"]
    assert seen(scene).refusals == ()


def test_orders_of_the_last_hour_are_counted_across_midnight() -> None:
    scene = desk()
    scene.clock.advance(12 * HOUR - 2 * FIVE)
    for _ in range(3):
        scene.traded(proposal_words("BUY", "0.0005"))
    history = seen(scene)
    assert (history.orders_today, history.orders_last_hour) == (1, 3)
    scene.clock.advance(HOUR - 3 * FIVE)
    assert seen(scene).orders_last_hour == 2  # the first is an hour old
    scene.limit(max_orders_per_hour=2)
    assert scene.traded().verdict.payload.violations == ("orders_per_hour", "minimum")


def test_a_cycle_without_an_order_reads_nothing_more_for_it() -> None:
    scene = desk()
    round_trip(scene, "50000", "49900")
    scene.traded(proposal_words("HOLD", "0"))
    asked: list[str] = []
    scene.ledger.db.set_trace_callback(asked.append)
    scene.model.will_say(Agent.PLANNER, plan_words("OBSERVE"))
    cycle(scene.desk)
    scene.ledger.db.set_trace_callback(None)
    reads = [sql for sql in asked if sql.startswith("SELECT") and "verified" not in sql]
    for words in ("FROM trades", "'REJECTED'", "'EPOCH','STATE'", "FROM orders WHERE ts_utc"):
        assert [sql for sql in reads if words in sql] == [], words


@pytest.mark.untraced
def test_ledgers_on_which_every_limit_of_this_kind_bound_pass_every_check(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 300, streak_cooldown_secs=1800, max_losing_streak=1, max_orders_per_hour=3)
    sides = dict(rows(path, "SELECT side, count(*) FROM orders GROUP BY side"))
    assert 2 * sides["BUY"] < sides["SELL"] + 5  # one purchase an hour of the score's four, and both its sales
    assert failed(path) == {}


def test_a_cycle_in_which_the_law_slows_trading_down_says_so_and_how_to_go_on() -> None:
    scene = desk()
    scene.limit(max_drawdown_pct=D(1), deposit_cap=None)
    scene.traded(proposal_words("BUY", "0.01"))
    scene.exchange.price = D(45_000)
    came = scene.traded(proposal_words("HOLD", "0"))
    assert came.state is TradingState.REDUCE
    (words,) = came.changes
    assert words.startswith("trading is REDUCE now, only sales: drawdown: equity fell ")
    assert words.endswith('Start again: trader resume --reason "..."')
    assert scene.traded(proposal_words("HOLD", "0")).changes == ()
