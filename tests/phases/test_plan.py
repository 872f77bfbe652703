"""plan: what is looked at, when no model is asked, and what is written down of what it said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.desks import Scene, desk
from tests.fakes import FIVE, HOSTILE, NOW, Hostile, bars, breaks, plan_words
from trader_cli.core.moments import iso
from trader_cli.phases import recover as recovering
from trader_cli.phases.plan import plan
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.order import Absent, OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent, Answer
from trader_cli.schemas.situation import TradingState


def planned(scene: Scene) -> Decision[Plan]:
    return plan(scene.desk, scene.desk.new_trace())


def test_a_plan_is_written_down_with_what_it_saw_and_what_was_said() -> None:
    scene = desk()
    scene.model.will_say(Agent.PLANNER, plan_words("TRADE", 600, "breakout"))
    made = planned(scene)
    assert (made.payload.mode, made.payload.next_wakeup_secs) == ("TRADE", 600)
    assert [strategy.policy_id for strategy in made.payload.strategies] == ["breakout"]
    assert (made.source, made.cause, made.at, made.wake_at) == ("openai", None, NOW, NOW + 600_000)
    assert scene.ledger.newest_plan() == made
    seen = scene.ledger.observation(made.observation_id or 0, FIVE)
    assert seen.window.candles == bars()
    assert (seen.window.source, seen.quote_balance) == ("recorded:fake.csv", Decimal(1000))
    row = scene.ledger.db.execute("SELECT agent, status, reply, facts_json FROM model_calls").fetchone()
    assert row[:3] == ("PLANNER", "ok", plan_words("TRADE", 600, "breakout"))
    assert json.loads(row[3]) == scene.model.asked[0].facts
    assert scene.problems() == []


def test_one_plan_looks_at_the_market_once_and_asks_once() -> None:
    scene = desk()
    scene.model.will_say(Agent.PLANNER, plan_words())
    planned(scene)
    assert (scene.exchange.calls["candles"], scene.exchange.calls["balances"]) == (1, 1)
    assert (scene.exchange.calls["submit"], scene.exchange.calls["find"]) == (0, 0)
    assert scene.model.calls == {"PLANNER": 1}


def test_every_trace_has_a_plan_of_its_own() -> None:
    scene = desk()
    scene.model.will_say(Agent.PLANNER, plan_words(), plan_words())
    first, second = planned(scene), planned(scene)
    assert first.trace_id != second.trace_id
    assert (first.id, second.id) == (1, 2)


# No model is asked.


def halted_by_the_operator(scene: Scene) -> None:
    scene.stop.halt("lunch")


def halted_in_the_ledger(scene: Scene) -> None:
    scene.stop.halt("lunch")
    recovering.recover(scene.desk)
    scene.stop.said = (TradingState.RUN, None)


def the_run_is_about_to_end(scene: Scene) -> None:
    scene.stop.ends = "SIGTERM"


def an_order_is_unsettled(scene: Scene) -> None:
    scene.exchange.manners = [breaks(TimeoutError("no answer"))]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    scene.traded()
    scene.model.asked.clear()


def a_bar_is_missing(scene: Scene) -> None:
    scene.exchange.rows = bars(count=201)[:100] + bars(count=100)


def the_candles_are_old(scene: Scene) -> None:
    scene.exchange.rows = bars(NOW - 3 * FIVE)


def there_are_too_few_candles(scene: Scene) -> None:
    scene.exchange.rows = bars(count=199)


def there_are_no_candles(scene: Scene) -> None:
    scene.exchange.rows = ()


def the_newest_bar_still_forms(scene: Scene) -> None:
    scene.exchange.rows = bars(NOW + FIVE)


def candles_cannot_be_had(scene: Scene) -> None:
    scene.exchange.down = {"candles"}


def balances_cannot_be_had(scene: Scene) -> None:
    scene.exchange.down = {"balances"}


SILENCERS: list[tuple[Callable[[Scene], None], str]] = [
    (halted_by_the_operator, "stopped: lunch"),
    (halted_in_the_ledger, "stopped: lunch"),
    (the_run_is_about_to_end, "stopped: SIGTERM"),
    (an_order_is_unsettled, "order t1-1 is not settled"),
    (a_bar_is_missing, "gap: 1 bar missing"),
    (the_candles_are_old, "stale: the newest sound bar closed 900 s ago"),
    (there_are_too_few_candles, "short: had 199 bars, needs 200"),
    (there_are_no_candles, "empty: had 0 bars"),
    (the_newest_bar_still_forms, "unclosed: "),
    (candles_cannot_be_had, "unavailable: candles: the fake exchange is down"),
    (balances_cannot_be_had, "unavailable: balances: the fake exchange is down"),
]


@pytest.mark.parametrize(("silence", "cause"), SILENCERS, ids=[silence.__name__ for silence, _ in SILENCERS])
def test_a_stop_an_unsettled_order_or_a_bad_window_gives_observe_without_a_model_call(
    silence: Callable[[Scene], None], cause: str
) -> None:
    scene = desk()
    silence(scene)
    made = planned(scene)
    assert scene.model.asked == []
    assert (made.payload.mode, made.source) == ("OBSERVE", "law")
    assert made.cause is not None
    assert made.cause.startswith(cause)
    assert made.wake_at == made.at + made.payload.next_wakeup_secs * 1000
    assert scene.one("SELECT count(*) FROM model_calls WHERE trace_id = ?", made.trace_id) == 0
    assert scene.problems() == []


def test_what_was_wrong_with_the_window_is_kept_with_it() -> None:
    scene = desk()
    a_bar_is_missing(scene)
    made = planned(scene)
    seen = scene.ledger.observation(made.observation_id or 0, FIVE)
    assert [defect.kind for defect in seen.window.defects] == ["gap"]
    assert len(seen.window.candles) == 200
    assert seen.features.rsi is None


def test_reduce_is_no_reason_not_to_plan() -> None:
    scene = desk()
    scene.stop.said = (TradingState.REDUCE, "TRADING=reduce")
    scene.model.will_say(Agent.PLANNER, plan_words())
    assert planned(scene).payload.mode == "TRADE"


# A reply that cannot be used.


@pytest.mark.parametrize(
    "hostile", [one for one in HOSTILE if one.agent is Agent.PLANNER], ids=lambda hostile: hostile.name
)
def test_a_bad_reply_is_a_recorded_observe_with_its_cause(hostile: Hostile) -> None:
    scene = desk()
    scene.model.will_say(Agent.PLANNER, hostile.words)
    made = planned(scene)
    assert (made.payload.mode, made.source, made.payload.next_wakeup_secs) == ("OBSERVE", "fallback", 300)
    assert hostile.cause in (made.cause or "")
    assert scene.one("SELECT count(*) FROM model_calls WHERE reply = ?", hostile.words) == 1
    assert scene.ledger.newest_plan() == made
    assert scene.problems() == []


@pytest.mark.parametrize("status", ["refused", "incomplete", "failed", "unavailable"])
@pytest.mark.parametrize("error", ["over quota", "\ud800 \0 \x1b[2J", None])
def test_a_model_that_gives_no_answer_is_a_recorded_observe(status: str, error: str | None) -> None:
    scene = desk()
    scene.model.will_say(Agent.PLANNER, Answer("gpt-x", status, None, error=error))
    made = planned(scene)
    assert (made.payload.mode, made.source) == ("OBSERVE", "fallback")
    assert (made.cause or "").startswith(f"gpt-x {status}")
    assert made.upstream == (made.cause if status == "unavailable" else None)
    assert scene.one("SELECT status FROM model_calls") == status
    assert scene.ledger.newest_plan() == replace(made, upstream=None)
    assert scene.problems() == []


def test_a_fallback_wakes_at_the_next_close() -> None:
    scene = desk()
    scene.clock.advance(200_000)
    scene.model.will_say(Agent.PLANNER, "no")
    made = planned(scene)
    assert made.wake_at == NOW + FIVE
    assert scene.one("SELECT wake_at FROM decisions") == iso(NOW + FIVE)


def test_an_unsettled_order_stays_unsettled_while_one_plans() -> None:
    scene = desk()
    an_order_is_unsettled(scene)
    planned(scene)
    assert [order.state for order in scene.ledger.open_orders()] == [OrderState.UNKNOWN]
    assert scene.exchange.sends == {"t1-1": 1}
