"""judge: the law, then a model that can only lower, then the least order, then the law again."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.core.test_limits import NAMES
from tests.desks import Judged, Scene, desk
from tests.fakes import FIVE, HOSTILE, Hostile, breaks, plan_words, proposal_words, verdict_words
from trader_cli.core.limits import review
from trader_cli.phases.cycle import cycle
from trader_cli.phases.judge import case_of, judge
from trader_cli.phases.plan import plan
from trader_cli.phases.propose import propose
from trader_cli.schemas.judge import SCHEMA
from trader_cli.schemas.order import Absent
from trader_cli.schemas.question import Agent, Answer
from trader_cli.schemas.situation import TradingState

D = Decimal


def holding(**limits: Any) -> Scene:
    """A desk that bought 0.002 and holds 0.001998."""
    scene = desk()
    scene.limit(**limits)
    scene.traded(proposal_words("BUY", "0.002"))
    scene.model.asked.clear()
    return scene


def verdict_on(scene: Scene, proposal: str, verdict: str | Answer | None = None) -> Judged:
    """A trace up to its verdict; without words the judge must not be asked."""
    scene.model.will_say(Agent.PLANNER, plan_words())
    scene.model.will_say(Agent.TRADER, proposal)
    if verdict is not None:
        scene.model.will_say(Agent.JUDGE, verdict)
    planned = plan(scene.desk, scene.desk.new_trace())
    proposed = propose(scene.desk, planned)
    return planned, proposed, judge(scene.desk, planned, proposed)


def test_a_lawful_proposal_that_the_judge_approves_is_approved_whole() -> None:
    scene = desk()
    _, proposed, verdict = verdict_on(scene, proposal_words(), verdict_words("APPROVE", notes="fine"))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("APPROVE", None)
    assert (verdict.payload.violations, verdict.payload.notes) == ((), "fine")
    assert (verdict.proposal_id, verdict.trace_id, verdict.source) == (proposed.id, proposed.trace_id, "openai")
    assert scene.ledger.verdict_of(proposed.id) == verdict
    assert scene.problems() == []


def test_the_whole_law_is_kept_with_the_verdict() -> None:
    scene = desk()
    _, _, verdict = verdict_on(scene, proposal_words(), verdict_words())
    law = json.loads(scene.one("SELECT law_json FROM decisions WHERE id = ?", verdict.id))
    assert [rule["name"] for rule in law["rules"]] == list(NAMES)
    assert all(rule["limit"] and rule["value"] for rule in law["rules"])
    assert (law["allowed"], law["price"]) == ("0.001", "50000")


# What the law refuses, no model is asked about.


@pytest.mark.parametrize(
    ("proposal", "limits", "violation"),
    [
        (proposal_words("HOLD", "0"), {}, "action"),
        (proposal_words(policy_id="breakout"), {}, "policy"),
        (proposal_words(confidence=0.4), {}, "confidence"),
        (proposal_words("SELL"), {}, "position"),
        (proposal_words("BUY", "0.00001"), {}, "minimum"),
        (proposal_words(), {"deposit_cap": D(5)}, "deposit_cap"),
        (proposal_words(), {"max_orders_per_day": 0}, "orders_per_day"),
        (proposal_words(), {"live_only": True}, "provenance"),
    ],
)
def test_what_the_law_refuses_is_rejected_without_asking_a_model(
    proposal: str, limits: dict[str, Any], violation: str
) -> None:
    scene = desk()
    scene.limit(**limits)
    _, _, verdict = verdict_on(scene, proposal)
    assert (verdict.payload.decision, verdict.source, verdict.cause) == ("REJECT", "law", None)
    assert violation in verdict.payload.violations
    assert scene.model.calls["JUDGE"] == 0
    assert verdict.review is not None
    refusal = verdict.review.refusal
    assert refusal is not None
    assert verdict.payload.notes == f"{refusal.name}: {refusal.value}"
    assert scene.problems() == []


def test_a_stop_that_came_after_the_proposal_is_seen_before_the_judge_is_asked() -> None:
    scene = desk()
    scene.script()
    planned = plan(scene.desk, scene.desk.new_trace())
    proposed = propose(scene.desk, planned)
    scene.stop.halt("fire")
    verdict = judge(scene.desk, planned, proposed)
    assert (verdict.payload.decision, verdict.payload.violations[0]) == ("REJECT", "state")
    assert scene.model.calls["JUDGE"] == 0


def test_a_proposal_whose_market_has_gone_away_is_rejected() -> None:
    scene = desk()
    scene.script()
    planned = plan(scene.desk, scene.desk.new_trace())
    proposed = propose(scene.desk, planned)
    scene.clock.advance(FIVE)
    scene.exchange.down = {"candles"}
    verdict = judge(scene.desk, planned, proposed)
    assert (verdict.payload.decision, "data" in verdict.payload.violations) == ("REJECT", True)
    assert scene.model.calls["JUDGE"] == 0
    assert scene.problems() == []


def test_a_verdict_names_at_most_four_violations_and_its_law_has_them_all() -> None:
    scene = desk()
    scene.limit(max_orders_per_day=0, min_confidence=1.0, live_only=True, deposit_cap=D(1))
    _, _, verdict = verdict_on(scene, proposal_words(policy_id="breakout"))
    assert len(verdict.payload.violations) == 4
    assert verdict.review is not None
    assert len(verdict.review.violations) == 6
    Draft7Validator(SCHEMA).validate(verdict.payload.payload())


# The law lowers.


def test_what_the_law_lowers_is_revised_and_says_by_which_rule() -> None:
    scene = desk()
    scene.limit(max_order=D(30))
    _, _, verdict = verdict_on(scene, proposal_words("BUY", "0.001"), verdict_words("APPROVE"))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REVISE", D("0.00059"))
    assert verdict.payload.violations == ("order_cap",)
    assert verdict.review is not None
    assert verdict.review.violations == ("order_cap",)
    assert scene.model.asked[-1].facts["law"]["allowed_qty"] == "0.00059"


def test_what_law_and_judge_both_lowered_says_by_which_rule_and_that_the_judge_did() -> None:
    scene = desk()
    scene.limit(max_order=D(30))
    words = verdict_words("REVISE", "0.0003", "thin book")
    _, _, verdict = verdict_on(scene, proposal_words("BUY", "0.001"), words)
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REVISE", D("0.0003"))
    assert verdict.payload.violations == ("order_cap", "judge: thin book")


def test_a_quantity_off_the_step_is_rounded_down_and_never_cut_silently() -> None:
    scene = desk()
    _, _, verdict = verdict_on(scene, proposal_words("BUY", "0.001009"), verdict_words("APPROVE"))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REVISE", D("0.001"))
    assert "step" in verdict.payload.violations


# The judge lowers, and never raises.


def test_the_judge_can_lower_a_buy() -> None:
    scene = desk()
    words = verdict_words("REVISE", "0.0005", "too bold", notes="half")
    _, _, verdict = verdict_on(scene, proposal_words(), words)
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REVISE", D("0.0005"))
    assert (verdict.payload.violations, verdict.payload.notes) == (("judge: too bold",), "half")
    assert verdict.review is not None
    assert verdict.review.allowed == D("0.0005")


@pytest.mark.parametrize("wish", ["0.00100001", "0.002", "999999999999"])
def test_a_judge_that_raises_a_buy_is_refused(wish: str) -> None:
    scene = desk()
    _, _, verdict = verdict_on(scene, proposal_words(), verdict_words("REVISE", wish))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REJECT", None)
    assert verdict.payload.notes == "the judge raised the quantity, which it may only lower"
    assert verdict.review is not None
    assert verdict.review.allowed == 0


def test_a_revision_to_what_was_allowed_changes_nothing() -> None:
    scene = desk()
    _, _, verdict = verdict_on(scene, proposal_words(), verdict_words("REVISE", "0.001"))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("APPROVE", None)


def test_a_judge_that_raises_above_what_the_law_left_is_refused() -> None:
    scene = desk()
    scene.limit(max_order=D(30))
    _, _, verdict = verdict_on(scene, proposal_words(), verdict_words("REVISE", "0.001"))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REJECT", None)


def test_a_judge_that_raises_a_sale_can_neither_raise_nor_block_it() -> None:
    scene = desk()
    scene.traded()
    _, _, verdict = verdict_on(scene, proposal_words("SELL"), verdict_words("REVISE", "0.002"))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == (
        "REVISE",
        D("0.00099"),
    )  # all of it that the law allowed


def test_the_judges_quantity_is_put_on_the_step() -> None:
    scene = desk()
    _, _, verdict = verdict_on(scene, proposal_words(), verdict_words("REVISE", "0.000509999"))
    assert verdict.payload.revised_qty == D("0.0005")


@pytest.mark.parametrize("wish", ["0.00011", "0.000000001"])
def test_too_small_after_lowering_is_a_reject(wish: str) -> None:
    scene = desk()
    _, _, verdict = verdict_on(scene, proposal_words(), verdict_words("REVISE", wish))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REJECT", None)
    assert "minimum" in verdict.payload.violations
    assert scene.problems() == []


def test_the_judge_can_refuse_a_buy_and_its_words_are_kept() -> None:
    scene = desk()
    _, _, verdict = verdict_on(scene, proposal_words(), verdict_words("REJECT", None, "no edge", notes="costs eat it"))
    assert (verdict.payload.decision, verdict.source) == ("REJECT", "openai")
    assert "judge: no edge" in verdict.payload.violations
    assert verdict.payload.notes == "costs eat it"


def test_long_advice_still_makes_a_verdict_of_the_specifications_form() -> None:
    scene = desk()
    words = verdict_words("REJECT", None, *("v" * 500,) * 4, notes="n" * 5000)
    _, _, verdict = verdict_on(scene, proposal_words(), words)
    Draft7Validator(SCHEMA).validate(verdict.payload.payload())
    assert scene.problems() == []


@pytest.mark.parametrize(
    "hostile", [one for one in HOSTILE if one.agent is Agent.JUDGE], ids=lambda hostile: hostile.name
)
def test_a_bad_reply_on_a_buy_is_a_recorded_reject_with_its_cause(hostile: Hostile) -> None:
    scene = desk()
    scene.script(verdict=hostile.words)
    came = cycle(scene.desk)
    assert (came.verdict.payload.decision, came.verdict.source) == ("REJECT", "fallback")
    assert hostile.cause in (came.verdict.cause or "")
    assert (scene.exchange.calls["submit"], scene.rows("orders")) == (0, 0)
    assert scene.ledger.verdict_of(came.proposal.id) == came.verdict
    assert scene.problems() == []


# A SELL that reduces the position is never trapped.


@pytest.mark.parametrize(
    "words",
    [
        verdict_words("REJECT", None, "never sell", notes="hold on"),
        verdict_words("REVISE", "0.0001"),
        verdict_words("REVISE", "999"),
        "I would rather not",
        Answer("gpt-x", "unavailable", None, error="503"),
    ],
)
def test_the_judge_cannot_block_or_lower_a_sell_and_its_word_is_kept(words: str | Answer) -> None:
    scene = holding()
    _, proposed, verdict = verdict_on(scene, proposal_words("SELL", "0.0015"), words)
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("APPROVE", None)
    assert verdict.review is not None
    assert verdict.review.allowed == D("0.0015")
    said = words.text if isinstance(words, Answer) else words
    kept = scene.ledger.db.execute(
        "SELECT reply FROM model_calls WHERE agent = 'JUDGE' AND trace_id = ?", (proposed.trace_id,)
    ).fetchall()
    assert kept == [(said,)]
    if not isinstance(words, Answer) and words.startswith("{"):
        assert (verdict.source, verdict.payload.notes) == ("openai", json.loads(words)["notes"])
    else:
        assert (verdict.source, verdict.cause is not None) == ("law", True)
    assert scene.problems() == []


def test_a_sell_of_more_than_is_held_is_revised_to_what_is_held() -> None:
    scene = holding()
    _, _, verdict = verdict_on(scene, proposal_words("SELL", "1"), verdict_words("APPROVE"))
    assert (verdict.payload.decision, verdict.payload.revised_qty) == ("REVISE", D("0.00199"))
    assert "position" in verdict.payload.violations


def test_in_reduce_a_buy_is_rejected_and_a_sell_is_approved() -> None:
    scene = holding()
    scene.stop.said = (TradingState.REDUCE, "TRADING=reduce")
    _, _, bought = verdict_on(scene, proposal_words("BUY"))
    _, _, sold = verdict_on(scene, proposal_words("SELL"), verdict_words())
    assert (bought.payload.decision, bought.payload.violations[0]) == ("REJECT", "state")
    assert sold.payload.decision == "APPROVE"


def test_a_sell_is_bound_by_one_order_at_a_time() -> None:
    scene = holding()
    scene.script(proposal_words("SELL"))
    scene.script(proposal_words("SELL"))
    planned = plan(scene.desk, scene.desk.new_trace())
    proposed = propose(scene.desk, planned)
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    cycle(scene.desk)
    verdict = judge(scene.desk, planned, proposed)
    assert (verdict.payload.decision, verdict.payload.violations[0]) == ("REJECT", "single_order")


# One verdict per proposal.


def test_there_is_one_verdict_per_proposal_and_the_judge_is_asked_once() -> None:
    scene = desk()
    planned, proposed, verdict = verdict_on(scene, proposal_words(), verdict_words())
    before = scene.counts()
    assert judge(scene.desk, planned, proposed) == verdict
    assert (scene.counts(), scene.model.calls["JUDGE"]) == (before, 1)


def test_the_law_before_the_judge_is_the_law_at_the_price_the_trader_saw() -> None:
    scene = desk()
    scene.script()
    planned = plan(scene.desk, scene.desk.new_trace())
    proposed = propose(scene.desk, planned)
    scene.exchange.price = D(60_000)
    case = case_of(scene.desk, planned, proposed)
    assert (review(case).price, case.seen_price) == (D(50_000), D(50_000))
