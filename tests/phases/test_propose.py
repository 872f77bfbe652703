"""propose: one proposal per plan, on what the plan saw, and HOLD for every reason there is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from jsonschema import Draft7Validator

from tests.desks import Scene, desk
from tests.fakes import FIVE, HOSTILE, Hostile, bars, plan_words, proposal_words
from trader_cli.phases.cycle import cycle
from trader_cli.phases.plan import plan
from trader_cli.phases.propose import propose
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent, Answer
from trader_cli.schemas.situation import TradingState
from trader_cli.schemas.trader import SCHEMA, Proposal


def planned(scene: Scene, words: str | None = None) -> Decision[Plan]:
    scene.model.will_say(Agent.PLANNER, words or plan_words())
    return plan(scene.desk, scene.desk.new_trace())


def test_a_proposal_is_written_down_under_its_plan_with_what_was_said() -> None:
    scene = desk()
    made = planned(scene)
    scene.model.will_say(Agent.TRADER, proposal_words("BUY", "0.0015", "cash", hypothesis="up", confidence=0.7))
    proposed = propose(scene.desk, made)
    assert proposed.payload == Proposal("BUY", Decimal("0.0015"), "cash", "up", 0.7)
    assert (proposed.plan_id, proposed.trace_id, proposed.source, proposed.cause) == (
        made.id,
        made.trace_id,
        "openai",
        None,
    )
    assert scene.ledger.proposal_of(made.id) == proposed
    assert scene.problems() == []


def test_it_stands_on_what_the_plan_saw_and_the_market_is_not_asked_again() -> None:
    scene = desk()
    made = planned(scene)
    scene.exchange.price = Decimal(1)
    scene.clock.advance(FIVE - 1)
    scene.model.will_say(Agent.TRADER, proposal_words())
    proposed = propose(scene.desk, made)
    assert proposed.observation_id == made.observation_id
    assert scene.exchange.calls["candles"] == 1
    assert scene.model.asked[-1].facts["price"] == "50000"


def test_after_the_next_close_it_looks_anew_and_keeps_that_look() -> None:
    scene = desk()
    made = planned(scene)
    scene.exchange.price = Decimal(51_000)
    scene.clock.advance(FIVE)
    scene.model.will_say(Agent.TRADER, proposal_words())
    proposed = propose(scene.desk, made)
    assert scene.exchange.calls["candles"] == 2
    assert proposed.observation_id != made.observation_id
    seen = scene.ledger.observation(proposed.observation_id or 0, FIVE)
    assert (seen.trace_id, seen.window.candles) == (made.trace_id, bars(scene.clock.at, price=Decimal(51_000)))


def test_there_is_one_proposal_per_plan_and_the_trader_is_asked_once() -> None:
    scene = desk()
    made = planned(scene)
    scene.model.will_say(Agent.TRADER, proposal_words(), proposal_words("SELL"))
    first = propose(scene.desk, made)
    before = scene.counts()
    assert propose(scene.desk, made) == first
    assert (scene.counts(), scene.model.calls["TRADER"]) == (before, 1)


def test_it_belongs_to_the_plan_it_was_given_and_not_to_the_newest() -> None:
    scene = desk()
    older, newer = planned(scene), planned(scene)
    scene.model.will_say(Agent.TRADER, proposal_words())
    assert propose(scene.desk, older).plan_id == older.id
    assert scene.ledger.proposal_of(newer.id) is None


def test_a_decided_hold_and_a_failed_one_are_different_facts() -> None:
    scene = desk()
    scene.model.will_say(Agent.TRADER, proposal_words("HOLD", "0", hypothesis="weak edge"), "no")
    decided, failed = propose(scene.desk, planned(scene)), propose(scene.desk, planned(scene))
    assert (decided.payload.action, decided.source, decided.cause) == ("HOLD", "openai", None)
    assert (failed.payload.action, failed.source, failed.cause) == ("HOLD", "fallback", failed.payload.hypothesis)
    assert failed.cause is not None
    assert failed.cause.startswith("scripted: the reply is not JSON")


# No model is asked.


def test_under_an_observe_plan_the_trader_is_not_asked() -> None:
    scene = desk()
    proposed = propose(scene.desk, planned(scene, plan_words("OBSERVE")))
    assert (proposed.payload.action, proposed.payload.qty) == ("HOLD", Decimal(0))
    assert (proposed.source, proposed.cause) == ("law", "the plan is OBSERVE")
    assert scene.model.calls["TRADER"] == 0


def test_under_a_failed_plan_the_hold_names_the_plans_cause() -> None:
    scene = desk()
    proposed = propose(scene.desk, planned(scene, "no"))
    assert (proposed.cause or "").startswith("scripted: the reply is not JSON")
    assert scene.model.calls["TRADER"] == 0


def test_a_stop_that_came_after_the_plan_is_seen_before_the_trader_is_asked() -> None:
    scene = desk()
    made = planned(scene)
    scene.stop.halt("fire")
    proposed = propose(scene.desk, made)
    assert (proposed.payload.action, proposed.source, proposed.cause) == ("HOLD", "law", "stopped: fire")
    assert scene.model.calls["TRADER"] == 0


def test_a_market_that_went_away_before_a_later_proposal_is_a_hold() -> None:
    scene = desk()
    made = planned(scene)
    scene.clock.advance(FIVE)
    scene.exchange.down = {"candles"}
    proposed = propose(scene.desk, made)
    assert (proposed.payload.action, proposed.source) == ("HOLD", "law")
    assert (proposed.cause or "").startswith("unavailable: ")
    assert scene.model.calls["TRADER"] == 0


def test_in_reduce_the_trader_is_asked_and_hears_that_it_may_only_sell() -> None:
    scene = desk()
    made = planned(scene)
    scene.stop.said = (TradingState.REDUCE, "TRADING=reduce")
    scene.model.will_say(Agent.TRADER, proposal_words("HOLD", "0"))
    propose(scene.desk, made)
    facts = scene.model.asked[-1].facts
    assert (facts["trading_state"], facts["room"]["max_buy"]) == ("REDUCE", "0")


# A reply that cannot be used.


@pytest.mark.parametrize(
    "hostile", [one for one in HOSTILE if one.agent is Agent.TRADER], ids=lambda hostile: hostile.name
)
def test_a_bad_reply_is_a_recorded_hold_with_its_cause_and_nothing_is_sent(hostile: Hostile) -> None:
    scene = desk()
    scene.script(hostile.words)
    came = cycle(scene.desk)
    proposed = came.proposal
    assert (proposed.payload.action, proposed.payload.qty, proposed.source) == ("HOLD", Decimal(0), "fallback")
    assert hostile.cause in (proposed.cause or "")
    assert (came.verdict.payload.decision, came.execution.order) == ("REJECT", None)
    assert scene.model.calls == {"PLANNER": 1, "TRADER": 1}
    assert (scene.exchange.calls["submit"], scene.rows("orders")) == (0, 0)
    assert scene.ledger.proposal_of(came.plan.id) == proposed
    Draft7Validator(SCHEMA).validate(proposed.payload.payload())


def test_the_raw_words_of_a_bad_reply_are_kept_with_what_sqlite_cannot_hold_made_visible() -> None:
    scene = desk()
    scene.model.will_say(Agent.TRADER, 'a\0b \ud800 "c"')
    propose(scene.desk, planned(scene))
    assert scene.column("SELECT reply FROM model_calls ORDER BY id DESC")[0] == r'a\x00b \ud800 "c"'


@pytest.mark.parametrize("status", ["refused", "incomplete", "failed", "unavailable"])
def test_a_model_that_gives_no_answer_is_a_recorded_hold(status: str) -> None:
    scene = desk()
    scene.model.will_say(Agent.TRADER, Answer("gpt-x", status, None, error="\ud800 \0"))
    proposed = propose(scene.desk, planned(scene))
    assert (proposed.payload.action, proposed.source) == ("HOLD", "fallback")
    assert (proposed.cause or "").startswith(f"gpt-x {status}: ")
    assert scene.problems() == []


@pytest.mark.parametrize("words", ["\x1b[2J\x07", "a\0b", "[/] [close > ma20]", "\u202e", "');drop table trades;--"])
def test_an_odd_hypothesis_is_stored_and_comes_back_as_it_was(words: str) -> None:
    scene = desk()
    made = planned(scene)
    scene.model.will_say(Agent.TRADER, proposal_words(hypothesis=words))
    proposed = propose(scene.desk, made)
    assert proposed.payload.hypothesis == words
    assert scene.ledger.proposal_of(made.id) == proposed
    assert scene.one("SELECT payload_json FROM decisions WHERE id = ?", proposed.id).isascii()
    assert scene.problems() == []
