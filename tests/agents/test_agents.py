"""The three minds: what they are asked, what is read from their words, and that hostile words are harmless."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from tests.core.test_limits import FLAT, HELD, case
from tests.fakes import HOSTILE, Hostile, ScriptedModel, plan_words, proposal_words, verdict_words
from trader_cli.agents import judge, planner, trader
from trader_cli.agents.ask import ask
from trader_cli.agents.prompts import position_facts
from trader_cli.agents.reading import UnreadableError, parse
from trader_cli.core.limits import review
from trader_cli.core.regimes import Regime
from trader_cli.schemas import judge as judge_schema
from trader_cli.schemas import planner as planner_schema
from trader_cli.schemas import trader as trader_schema
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Defect
from trader_cli.schemas.planner import Plan, Strategy
from trader_cli.schemas.policy import CATALOGUE
from trader_cli.schemas.question import Agent, Answer, Question
from trader_cli.schemas.situation import Owner, Situation
from trader_cli.schemas.trader import Proposal

READ: dict[Agent, Callable[[Any], Any]] = {
    Agent.PLANNER: planner.read,
    Agent.TRADER: trader.read,
    Agent.JUDGE: judge.read,
}
WIRE = {Agent.PLANNER: planner_schema.WIRE, Agent.TRADER: trader_schema.WIRE, Agent.JUDGE: judge_schema.WIRE}
SCHEMA = {Agent.PLANNER: planner_schema.SCHEMA, Agent.TRADER: trader_schema.SCHEMA, Agent.JUDGE: judge_schema.SCHEMA}
KIND: dict[Agent, Any] = {Agent.PLANNER: Plan, Agent.TRADER: Proposal, Agent.JUDGE: Verdict}
PLAN = Plan("TRADE", 0.1, 300, (Strategy("ma_trend", {"fast": 9, "slow": 34}), Strategy("cash", {})))


def read(agent: Agent, words: str) -> Any:
    return READ[agent](parse(words))


# The specification's schemas, §4, copied from it word for word.

PLAN_SCHEMA = r"""
{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "required": ["mode","explore_ratio","next_wakeup_secs","strategies"],
  "properties": {
    "mode": {"enum": ["OBSERVE","TRADE"]},
    "explore_ratio": {"type": "number", "minimum": 0, "maximum": 1},
    "next_wakeup_secs": {"type": "integer", "minimum": 30, "maximum": 3600},
    "strategies": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["policy_id","params"],
        "properties": {
          "policy_id": {"type": "string"},
          "params": {"type": "object"}
        },
        "additionalProperties": false
      },
      "minItems": 1, "maxItems": 3
    }
  },
  "additionalProperties": false
}
"""
PROPOSAL_SCHEMA = r"""
{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "required": ["action","qty","policy_id","hypothesis","confidence"],
  "properties": {
    "action": {"enum": ["BUY","SELL","HOLD"]},
    "qty": {"type": "string", "pattern": "^\\d+(\\.\\d+)?$"},
    "policy_id": {"type": "string"},
    "hypothesis": {"type": "string", "maxLength": 120},
    "confidence": {"type": "number", "minimum": 0, "maximum": 1}
  },
  "additionalProperties": false
}
"""
VERDICT_SCHEMA = r"""
{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "required": ["decision"],
  "properties": {
    "decision": {"enum": ["APPROVE","REVISE","REJECT"]},
    "revised_qty": {"type": "string", "pattern": "^\\d+(\\.\\d+)?$"},
    "violations": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
    "notes": {"type": "string", "maxLength": 120}
  },
  "additionalProperties": false
}
"""


@pytest.mark.parametrize(
    ("agent", "specified"),
    [(Agent.PLANNER, PLAN_SCHEMA), (Agent.TRADER, PROPOSAL_SCHEMA), (Agent.JUDGE, VERDICT_SCHEMA)],
)
def test_a_schema_is_the_specifications_word_for_word(agent: Agent, specified: str) -> None:
    assert SCHEMA[agent] == json.loads(specified)
    Draft7Validator.check_schema(SCHEMA[agent])


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object schema inside a schema."""
    inside = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    found = [schema] if isinstance(schema, dict) and schema.get("type") == "object" else []
    return found + [one for part in inside for one in objects(part)]


@pytest.mark.parametrize("agent", Agent)
def test_the_wire_form_is_strict_nothing_is_optional_and_nothing_more_is_taken(agent: Agent) -> None:
    Draft202012Validator.check_schema(WIRE[agent])
    assert objects(WIRE[agent])
    for one in objects(WIRE[agent]):
        assert one["additionalProperties"] is False
        assert sorted(one["required"]) == sorted(one["properties"])


def test_the_planner_can_name_every_policy_of_the_catalogue_and_no_other() -> None:
    branches = planner_schema.WIRE["properties"]["strategies"]["items"]["anyOf"]
    assert [branch["properties"]["policy_id"]["enum"] for branch in branches] == [[s.policy_id] for s in CATALOGUE]
    assert trader_schema.WIRE["properties"]["policy_id"]["enum"] == [spec.policy_id for spec in CATALOGUE]


# Hostile words.


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.id)
def test_hostile_words_are_no_record_and_no_exception_but_a_cause(hostile: Hostile) -> None:
    model = ScriptedModel()
    model.will_say(hostile.agent, hostile.words)
    question = Question(hostile.agent, "t", "", {}, "x", {}, 1)
    asked = ask(model, question, READ[hostile.agent])
    assert asked.record is None
    assert asked.cause is not None
    assert asked.cause.startswith("scripted: ")
    assert hostile.cause in asked.cause
    assert len(asked.cause) <= 300
    asked.cause.encode("utf-8")
    assert asked.answer.text == hostile.words
    assert asked.rounds[0].question is question


@pytest.mark.parametrize("status", ["refused", "incomplete", "failed", "unavailable"])
def test_an_answer_that_is_not_ok_is_never_read_whatever_its_text(status: str) -> None:
    model = ScriptedModel()
    model.will_say(Agent.TRADER, Answer("gpt-x", status, proposal_words(), error="503 from upstream"))
    asked = ask(model, Question(Agent.TRADER, "t", "", {}, "x", {}, 1), trader.read)
    assert (asked.record, asked.cause) == (None, f"gpt-x {status}: 503 from upstream")


def test_an_ok_answer_without_a_text_is_no_record() -> None:
    model = ScriptedModel()
    model.will_say(Agent.TRADER, Answer("gpt-x", "ok", None))
    asked = ask(model, Question(Agent.TRADER, "t", "", {}, "x", {}, 1), trader.read)
    assert (asked.record, asked.cause) == (None, "gpt-x ok")


@pytest.mark.parametrize("error", ["\ud800", "a\0b", "x" * 5000, "\x1b[2J"])
def test_a_servers_hostile_error_makes_a_cause_that_can_be_written_down(error: str) -> None:
    model = ScriptedModel()
    model.will_say(Agent.TRADER, Answer("gpt-x", "failed", None, error=error))
    cause = ask(model, Question(Agent.TRADER, "t", "", {}, "x", {}, 1), trader.read).cause
    assert cause is not None
    assert len(cause) <= 300
    cause.encode("utf-8")
    assert "\0" not in cause


# Words that are made harmless.


@pytest.mark.parametrize("qty", ["0", "0.5", "999999999999"])
def test_hold_with_a_quantity_is_a_hold_of_nothing(qty: str) -> None:
    held = read(Agent.TRADER, proposal_words("HOLD", qty))
    assert (held.action, held.qty) == ("HOLD", Decimal(0))
    assert held.payload()["qty"] == "0"


@pytest.mark.parametrize(
    "words", ["\x1b[2J", "a\0b", "[/] [close > ma20]", "\u202e\u2066", "=HYPERLINK(1)", "');drop table trades;--", ""]
)
def test_an_odd_hypothesis_is_kept_as_it_is_for_the_views_to_clean(words: str) -> None:
    proposal = read(Agent.TRADER, proposal_words(hypothesis=words))
    assert proposal.hypothesis == words
    assert json.loads(json.dumps(proposal.payload()))["hypothesis"] == words


def test_long_notes_are_cut_to_the_specifications_length() -> None:
    proposal = read(Agent.TRADER, proposal_words(hypothesis="h" * 5000))
    assert (len(proposal.hypothesis), proposal.hypothesis[-4:]) == (120, "h...")
    verdict = read(Agent.JUDGE, verdict_words("REJECT", None, "v" * 5000, notes="n" * 5000))
    assert [len(verdict.notes), *map(len, verdict.violations)] == [120, 120]


def test_a_whole_number_of_seconds_may_be_written_with_a_point() -> None:
    plan = read(Agent.PLANNER, plan_words().replace("300", "300.0"))
    assert plan.next_wakeup_secs == 300
    assert isinstance(plan.next_wakeup_secs, int)


# Every valid answer is a record, and its payload obeys the specification.


def from_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Documents that obey a schema of the few words our wire forms use."""
    if "anyOf" in schema:
        return st.one_of([from_schema(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        return st.fixed_dictionaries({name: from_schema(one) for name, one in schema["properties"].items()})
    if kind == "array":
        bounds = {"min_size": schema.get("minItems", 0), "max_size": schema.get("maxItems", 3)}
        return st.lists(from_schema(schema["items"]), **bounds)
    if kind == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if kind == "number":
        return st.floats(schema["minimum"], schema["maximum"])
    if kind == "null":
        return st.none()
    if "pattern" in schema:
        return st.from_regex(schema["pattern"].replace("$", r"\Z"))
    return st.text(st.characters(codec="utf-8"), max_size=150)


ANSWERS = {agent: from_schema(WIRE[agent]) for agent in Agent}
relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def contradicts(agent: Agent, document: Any) -> bool:
    """What no schema can say, and no record may hold."""
    if agent is Agent.PLANNER:
        names = [strategy["policy_id"] for strategy in document["strategies"]]
        return len(names) != len(set(names))
    if agent is Agent.TRADER:
        return document["action"] != "HOLD" and not Decimal(document["qty"])
    revised = document["revised_qty"]
    if document["decision"] == "REVISE":
        return revised is None or not Decimal(revised)
    return revised is not None


@pytest.mark.parametrize("agent", Agent)
def test_every_valid_answer_becomes_a_payload_that_obeys_the_specification(agent: Agent) -> None:
    specified, wire = Draft7Validator(SCHEMA[agent]), Draft202012Validator(WIRE[agent])

    @relaxed
    @given(document=ANSWERS[agent])
    def holds(document: Any) -> None:
        wire.validate(document)
        if contradicts(agent, document):
            with pytest.raises(UnreadableError):
                read(agent, json.dumps(document))
            return
        record = read(agent, json.dumps(document))
        payload = json.loads(json.dumps(record.payload(), allow_nan=False))
        specified.validate(payload)
        assert KIND[agent].from_payload(payload) == record

    holds()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("agent", Agent)
def test_whatever_stands_in_a_field_is_read_or_refused_and_never_an_exception(agent: Agent) -> None:
    fields = sorted(WIRE[agent]["properties"])

    @relaxed
    @given(document=ANSWERS[agent], field=st.sampled_from(fields), value=anything)
    def holds(document: Any, field: str, value: Any) -> None:
        try:
            record = read(agent, json.dumps({**document, field: value}))
        except UnreadableError:
            return
        Draft7Validator(SCHEMA[agent]).validate(record.payload())

    holds()


# What is asked.


def where(**changes: Any) -> Situation:
    return case(**changes).situation


def asked(agent: Agent, situation: Situation, proposal: Proposal | None = None) -> Question:
    if agent is Agent.PLANNER:
        return planner.question(situation, "t")
    if agent is Agent.TRADER:
        return trader.question(situation, PLAN, "t")
    order = proposal or Proposal("BUY", Decimal("0.001"), "ma_trend", "it rises", 0.8)
    return judge.question(situation, order, review(case()), "t")


@pytest.mark.parametrize("agent", Agent)
def test_a_question_carries_the_specifications_prelude_the_wire_form_and_plain_json(agent: Agent) -> None:
    question = asked(agent, where())
    assert question.agent is agent
    assert question.prompt.startswith("Output JSON only. No prose. Conform to the provided schema exactly.\n")
    assert "If unclear, choose the safest minimal behavior." in question.prompt
    assert question.schema is WIRE[agent]
    assert question.max_output_tokens == {Agent.PLANNER: 1_500, Agent.TRADER: 4_000, Agent.JUDGE: 1_500}[agent]
    assert json.loads(json.dumps(question.facts, allow_nan=False)) == question.facts


@pytest.mark.parametrize("agent", Agent)
@pytest.mark.parametrize(
    "changes",
    [
        {"candles": (), "price": None, "age_ms": None, "defects": (Defect("empty", "had 0 bars"),)},
        {"book": HELD},
        {"book": FLAT, "reserved": Decimal(5000)},
        {"deposit_cap": None},
        {"day_equity": Decimal(10), "peak_equity": Decimal(10)},
    ],
)
def test_there_is_a_question_in_every_situation(agent: Agent, changes: dict[str, Any]) -> None:
    assert json.dumps(asked(agent, where(**changes)).facts, allow_nan=False)


def test_equal_situations_get_equal_questions() -> None:
    for agent in Agent:
        assert asked(agent, where()) == asked(agent, where())


def test_the_planner_hears_numbers_of_each_policy_and_the_bounds_of_its_parameters() -> None:
    question = asked(Agent.PLANNER, where())
    facts = question.facts
    assert list(facts["posteriors"]) == [spec.policy_id for spec in CATALOGUE if spec.policy_id != "cash"]
    assert facts["posteriors"]["rsi_reversion"] == {"n": 0.0, "mean_bp": 6.0, "sd_bp": 20.0, "p_positive": 0.6534}
    assert "; fast 9; slow 34\n" in question.prompt
    assert all(f"\n{spec.policy_id}: {spec.summary}" in question.prompt for spec in CATALOGUE)
    assert facts["secs_to_next_close"] == 300
    assert facts["regime"] in set(Regime)
    assert facts["orders_left_today"] == case().situation.limits.max_orders_per_day


def test_the_trader_hears_what_the_law_would_let_through_either_way() -> None:
    assert asked(Agent.TRADER, where(book=HELD)).facts["room"] == {
        "max_buy": "0.00795",
        "max_sell": "0.002",
        "blocked_by": [],
        "min_qty": "0.00011",
        "step": "0.00001",
    }
    assert asked(Agent.TRADER, where(book=FLAT)).facts["room"]["max_sell"] == "0"
    nothing = {"candles": (), "price": None, "age_ms": None}
    assert asked(Agent.TRADER, where(book=HELD, **nothing)).facts["room"]["max_buy"] == "0"


def test_the_trader_hears_which_rules_keep_a_buy_back() -> None:
    blocked = asked(Agent.TRADER, where(orders_today=20, daily_loss=Decimal(10), day_equity=Decimal(2000))).facts[
        "room"
    ]
    assert (blocked["max_buy"], blocked["blocked_by"]) == ("0", ["orders_per_day", "daily_loss"])


def test_the_trader_hears_which_rules_keep_every_buy_back() -> None:
    room = asked(Agent.TRADER, where(orders_today=20, daily_loss=Decimal(1), day_equity=Decimal(9999))).facts["room"]
    assert (room["max_buy"], room["blocked_by"]) == ("0", ["orders_per_day", "daily_loss"])


@pytest.mark.parametrize("action", ["BUY", "SELL"])
def test_what_the_trader_hears_is_what_the_law_then_allows(action: str) -> None:
    room = trader.room(where(book=HELD), PLAN)
    most = {"BUY": room["max_buy"], "SELL": room["max_sell"]}[action]
    assert review(case(action, most, book=HELD)).violations == ()
    one_more = str(Decimal(most) + Decimal(room["step"]))
    assert review(case(action, one_more, book=HELD)).allowed == Decimal(most)


def test_the_judge_hears_what_the_law_allows_and_which_rules_lowered_it() -> None:
    facts = asked(Agent.JUDGE, where()).facts
    assert (facts["law"]["allowed_qty"], facts["law"]["min_qty"]) == ("0.001", "0.00012")
    assert (facts["law"]["passed"], facts["law"]["lowered_by"]) == (len(review(case()).rulings), [])
    assert facts["proposal"]["qty"] == "0.001"
    much = case(qty="100")
    law = judge.question(much.situation, much.proposal, review(much), "t").facts["law"]
    assert [rule["name"] for rule in law["lowered_by"]] == list(review(much).violations) != []
    assert all(rule["limit"] and rule["value"] for rule in law["lowered_by"])


def test_the_least_of_a_sale_is_not_the_least_of_a_buy() -> None:
    sale = Proposal("SELL", Decimal("0.001"), "cash", "", 0.5)
    assert asked(Agent.JUDGE, where(book=HELD), sale).facts["law"]["min_qty"] == "0.00001"


def test_dust_is_not_a_position_and_has_no_owner() -> None:
    owner = Owner("ma_trend", {"fast": 9, "slow": 34})
    held = position_facts(replace(where(book=HELD), owner=owner))
    assert (held["held"], held["policy_id"], held["unrealized_pct"]) == (True, "ma_trend", 0.0)
    dust = position_facts(replace(where(book=replace(HELD, base=Decimal("0.00009"))), owner=owner))
    assert (dust["held"], dust["policy_id"], dust["unrealized_pct"]) == (False, None, None)


# Advice.


@pytest.mark.parametrize(
    ("verdict", "left"),
    [
        (Verdict("APPROVE"), "0.001"),
        (Verdict("REVISE", Decimal("0.0004")), "0.0004"),
        (Verdict("REVISE", Decimal("0.001")), "0.001"),
        (Verdict("REVISE", Decimal(999)), "0"),
        (Verdict("REJECT"), "0"),
    ],
)
def test_the_judges_advice_can_lower_and_refuse_and_never_raise(verdict: Verdict, left: str) -> None:
    assert judge.advised(verdict, review(case())) == Decimal(left)


# Fallbacks.


@pytest.mark.parametrize(
    ("into_the_bar_ms", "secs"), [(0, 300), (1_000, 299), (269_000, 31), (270_000, 30), (270_500, 329), (299_999, 300)]
)
def test_the_safe_plan_observes_until_the_next_bar_closes_at_least_thirty_seconds_away(
    into_the_bar_ms: int, secs: int
) -> None:
    base = where()
    plan = planner.observe(where(at=base.at + into_the_bar_ms))
    assert (plan.mode, plan.explore_ratio, plan.strategies) == ("OBSERVE", 0.0, (Strategy("cash", {}),))
    assert plan.next_wakeup_secs == secs
    Draft7Validator(planner_schema.SCHEMA).validate(plan.payload())


def test_the_safe_proposal_holds_and_says_why_in_the_specifications_length() -> None:
    proposal = trader.hold(PLAN, "because " * 40)
    assert (proposal.action, proposal.qty, proposal.confidence) == ("HOLD", Decimal(0), 0.0)
    assert len(proposal.hypothesis) == 120
    Draft7Validator(trader_schema.SCHEMA).validate(proposal.payload())
