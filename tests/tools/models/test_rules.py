"""The rules model: always a valid answer, the same one for the same facts, never beyond its room."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from trader_cli.core.decimals import text
from trader_cli.core.regimes import FIT_BP, expected_bp, regime
from trader_cli.schemas import judge, planner, trader
from trader_cli.schemas.market import Features
from trader_cli.schemas.policy import BY_ID
from trader_cli.schemas.question import Agent, Question, Usage
from trader_cli.tools.models.rules import RulesModel

pytestmark = pytest.mark.untraced

Facts = dict[str, Any]

WIRES = {Agent.PLANNER: planner.WIRE, Agent.TRADER: trader.WIRE, Agent.JUDGE: judge.WIRE}
RECORDED: dict[Agent, Callable[[Facts], Facts]] = {
    Agent.PLANNER: lambda payload: planner.Plan.from_payload(payload).payload(),
    Agent.TRADER: lambda payload: trader.Proposal.from_payload(payload).payload(),
    Agent.JUDGE: lambda payload: judge.Verdict.from_payload(payload).payload(),
}
WIRE_VALIDATORS = {agent: Draft202012Validator(wire) for agent, wire in WIRES.items()}
SPECIFIED = {
    Agent.PLANNER: Draft7Validator(planner.SCHEMA),
    Agent.TRADER: Draft7Validator(trader.SCHEMA),
    Agent.JUDGE: Draft7Validator(judge.SCHEMA),
}
relaxed = settings(deadline=None, max_examples=150)


class SeededIds:
    """Ids whose chance depends on the trace alone."""

    def trace_id(self, n: int) -> str:
        return f"{n:032x}"

    def client_order_id(self, n: int, head: str) -> str:
        return f"{n}-{head}"

    def chance(self, trace_id: str) -> random.Random:
        return random.Random(trace_id)


def ask(agent: Agent, facts: Facts, trace: int = 1) -> Facts:
    """The answer, checked against the wire form and the specification's schema, asked for twice."""
    question = Question(
        agent=agent,
        trace_id=f"{trace:032x}",
        prompt="",
        facts=facts,
        schema_name=agent.value.lower(),
        schema=WIRES[agent],
        max_output_tokens=1500,
    )
    answer = RulesModel(SeededIds()).answer(question)
    assert (answer.model, answer.status, answer.latency_ms, answer.usage) == ("rules", "ok", 0, Usage())
    assert answer.text is not None
    assert answer.text == RulesModel(SeededIds()).answer(question).text
    payload: Facts = json.loads(answer.text)
    WIRE_VALIDATORS[agent].validate(payload)
    SPECIFIED[agent].validate(RECORDED[agent](payload))
    return payload


# --- facts -----------------------------------------------------------------------------------

CALM: Facts = {
    "rsi": 50.0,
    "ma20": 30_000.0,
    "volume_avg": 10.0,
    "volatility": 0.002,
    "trend": 0.0,
    "drawdown": 0.0,
    "volume_ratio": 1.0,
    "volatility_ratio": 1.0,
}
COSTS = {"fee_pct": "0.1", "spread_bps": 1.0, "slippage_bps": 2.0, "round_trip_bp": 25.0}
NOTHING = {"base": "0", "cost": "0", "unrealized_pct": None, "policy_id": None, "params": None}
OWNED = {
    "base": "0.01",
    "cost": "300",
    "unrealized_pct": 1.5,
    "policy_id": "breakout",
    "params": {"entry": 33, "exit": 9},
}


def planner_facts(features: Facts | None = None, **other: Any) -> Facts:
    return {
        "symbol": "BTC/USDT",
        "timeframe_secs": 300,
        "now": "2021-05-18T00:00:00.000Z",
        "secs_to_next_close": 300,
        "price": "30000",
        "features": {**CALM, **(features or {})},
        "defects": [],
        "position": NOTHING,
        "equity": "1000",
        "trading_state": "RUN",
        "costs": COSTS,
        "policies": [],
        **other,
    }


def said(policy_id: str, action: str, strength: float = 0.0) -> Facts:
    params = BY_ID[policy_id].defaults()
    return {
        "policy_id": policy_id,
        "params": params,
        "action": action,
        "strength": strength,
        "edge_bp": expected_bp(strength, 0.002),
        "reason": f"strength {strength}",
    }


def planned(*policies: str, mode: str = "TRADE") -> Facts:
    strategies = [{"policy_id": name, "params": BY_ID[name].defaults()} for name in policies]
    return {"mode": mode, "explore_ratio": 0.1, "next_wakeup_secs": 300, "strategies": strategies}


def trader_facts(*signals: Facts, held: bool = False, **other: Any) -> Facts:
    position = OWNED if held else NOTHING
    return {
        "symbol": "BTC/USDT",
        "timeframe_secs": 300,
        "price": "30000",
        "features": CALM,
        "plan": planned(*(signal["policy_id"] for signal in signals)),
        "signals": list(signals),
        "position": {**position, "held": held},
        "room": {"max_buy": "0.03", "max_sell": position["base"], "min_qty": "0.0002", "step": "0.00001"},
        "equity": "1000",
        "costs": COSTS,
        **other,
    }


def judge_facts(action: str = "BUY", qty: str = "0.002", allowed: str = "0.002", **features: float | None) -> Facts:
    return {
        "proposal": {
            "action": action,
            "qty": qty,
            "policy_id": "breakout",
            "hypothesis": "up",
            "confidence": 0.6,
        },
        "law": {
            "allowed_qty": allowed,
            "min_qty": "0.0002",
            "step": "0.00001",
            "passed": 20,
            "lowered_by": [{"name": "funds", "limit": "30", "value": "60"}],
        },
        "features": {**CALM, **features},
        "position": NOTHING,
    }


def names(plan: Facts) -> list[str]:
    return [strategy["policy_id"] for strategy in plan["strategies"]]


# --- planner ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({}, ["rsi_reversion"]),
        ({"trend": 1.5}, ["ma_trend", "breakout"]),
        ({"trend": -1.5}, ["cash"]),
        ({"trend": 1.5, "volatility_ratio": 1.9}, ["breakout", "ma_trend"]),
        ({"trend": -0.5, "volatility_ratio": 1.9}, ["cash"]),
    ],
    ids=["range-bound", "rising", "falling", "turbulent", "turbulent and falling"],
)
def test_a_plan_follows_the_regime(features: Facts, expected: list[str]) -> None:
    facts = planner_facts(features)
    here = regime(Features(**facts["features"]))
    certain = {name: {"mean_bp": fit, "sd_bp": 0.0, "n": 0} for name, fit in FIT_BP[here].items()}
    plan = ask(Agent.PLANNER, {**facts, "posteriors": certain})
    assert plan["mode"] == "TRADE"
    assert names(plan) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"features": {**CALM, "rsi": None}},
        {"features": None},
        {"defects": ["gap: two bars are missing"]},
        {"defects": None},
        {"price": None},
        {"price": "0"},
        {"trading_state": "HALT"},
        {"trading_state": None},
    ],
    ids=str,
)
def test_a_plan_observes_when_something_is_undefined_or_trading_is_halted(change: Facts) -> None:
    plan = ask(Agent.PLANNER, {**planner_facts(), **change})
    assert plan["mode"] == "OBSERVE"
    assert plan["explore_ratio"] == 0
    assert names(plan) == ["cash"]


@pytest.mark.parametrize("state", ["RUN", "REDUCE", "HALT"])
@pytest.mark.parametrize("features", [{}, {"trend": 2.0}, {"trend": -2.0}, {"trend": -1.0, "volatility_ratio": 3.0}])
def test_the_policy_that_owns_the_position_stays_in_the_plan_with_its_parameters(features: Facts, state: str) -> None:
    plan = ask(Agent.PLANNER, planner_facts(features, position=OWNED, trading_state=state))
    assert plan["strategies"][0] == {"policy_id": "breakout", "params": {"entry": 33, "exit": 9}}
    assert names(plan).count("breakout") == 1


def test_a_position_is_sold_for_cash_when_prices_fall_wildly() -> None:
    plan = ask(Agent.PLANNER, planner_facts({"trend": -1.0, "volatility_ratio": 3.0}, position=OWNED))
    assert names(plan) == ["breakout", "cash"]


def test_reduce_plans_nothing_new() -> None:
    assert names(ask(Agent.PLANNER, planner_facts(trading_state="REDUCE"))) == ["cash"]
    assert names(ask(Agent.PLANNER, planner_facts(trading_state="REDUCE", position=OWNED))) == ["breakout"]


@pytest.mark.parametrize(
    ("timeframe", "to_close", "expected"),
    [(300, 300, 300), (300, 30, 30), (300, 29, 329), (300, 0, 300), (60, 5, 65), (86_400, 50_000, 3600)],
)
def test_a_plan_wakes_at_the_next_close_within_its_bounds(timeframe: int, to_close: int, expected: int) -> None:
    facts = planner_facts(timeframe_secs=timeframe, secs_to_next_close=to_close)
    assert ask(Agent.PLANNER, facts)["next_wakeup_secs"] == expected


@pytest.mark.parametrize(
    ("timeframe", "to_close", "held", "expected"),
    [(60, 60, False, 300), (60, 59, False, 299), (60, 5, False, 245), (60, 60, True, 60), (180, 180, False, 180)],
)
def test_with_nothing_held_short_bars_are_passed_over(timeframe: int, to_close: int, held: bool, expected: int) -> None:
    where = {**OWNED, "held": held}
    facts = planner_facts(timeframe_secs=timeframe, secs_to_next_close=to_close, position=where)
    assert ask(Agent.PLANNER, facts)["next_wakeup_secs"] == expected


def tried(n: int, deviation: float) -> float:
    """The share of 1,500 traces in which a policy that looks bad is planned, after `n` outcomes."""
    beliefs = {name: {"mean_bp": -20.0, "sd_bp": deviation, "n": n if name == "ma_trend" else 0} for name in BY_ID}
    facts = planner_facts({"trend": -1.5}, posteriors=beliefs)
    return sum(names(ask(Agent.PLANNER, facts, trace)) != ["cash"] for trace in range(1500)) / 1500


def test_exploring_is_what_the_ratio_says_and_fades_with_outcomes() -> None:
    always_good = 100_000.0  # of three draws around -20 that are spread so wide, one is above zero in 7 of 8 cases
    assert tried(0, always_good) == pytest.approx(0.3 * 7 / 8, abs=0.04)
    assert tried(10_000, always_good) == pytest.approx(0.05 * 7 / 8, abs=0.025)
    assert tried(0, 0.0) == 0.0


def test_the_ratio_falls_with_the_outcomes_of_all_policies() -> None:
    def ratio(n: int) -> float:
        beliefs = {name: {"mean_bp": 0.0, "sd_bp": 1.0, "n": n} for name in BY_ID}
        found = ask(Agent.PLANNER, planner_facts(posteriors=beliefs))["explore_ratio"]
        assert isinstance(found, float)
        return found

    assert ratio(0) == 0.3
    assert ratio(5) == 0.1929  # of the three policies that buy
    assert ratio(100_000) < 0.051


# --- trader ----------------------------------------------------------------------------------


def test_the_strongest_buy_is_taken() -> None:
    proposal = ask(
        Agent.TRADER,
        trader_facts(said("rsi_reversion", "NONE"), said("ma_trend", "BUY", 0.4), said("breakout", "BUY", 0.7)),
    )
    assert (proposal["action"], proposal["policy_id"]) == ("BUY", "breakout")
    assert proposal["confidence"] == 0.78
    assert proposal["hypothesis"] == "breakout: strength 0.7; edge 84.0 bp"


def test_of_equal_buys_the_first_of_the_plan_is_taken_whatever_order_the_signals_have() -> None:
    facts = trader_facts(said("ma_trend", "BUY", 0.5), said("breakout", "BUY", 0.5))
    facts["signals"].reverse()
    assert ask(Agent.TRADER, facts)["policy_id"] == "ma_trend"


def test_a_position_is_about_a_tenth_of_equity_by_confidence() -> None:
    proposal = ask(Agent.TRADER, trader_facts(said("breakout", "BUY", 1.0)))
    assert proposal["qty"] == "0.003"  # 1000 x 10 % x 90 % / 30000
    assert proposal["confidence"] == 0.9


def test_wild_days_make_positions_smaller() -> None:
    def qty(volatility: float) -> Decimal:
        facts = trader_facts(said("breakout", "BUY", 1.0), features={**CALM, "volatility": volatility})
        return Decimal(ask(Agent.TRADER, facts)["qty"])

    assert qty(0.002) > qty(0.004) > qty(0.006) > qty(0.02) == qty(0.2)


def test_a_small_account_buys_the_least_order_and_a_small_room_is_not_exceeded() -> None:
    small = trader_facts(said("breakout", "BUY", 1.0), equity="10")
    assert ask(Agent.TRADER, small)["qty"] == "0.0002"
    tight = trader_facts(said("breakout", "BUY", 1.0))
    tight["room"] = {**tight["room"], "max_buy": "0.000257"}
    assert ask(Agent.TRADER, tight)["qty"] == "0.00025"


def test_without_room_the_trader_holds_and_says_so() -> None:
    facts = trader_facts(said("breakout", "BUY", 1.0))
    facts["room"] = {**facts["room"], "max_buy": "0.00019"}
    proposal = ask(Agent.TRADER, facts)
    assert (proposal["action"], proposal["qty"]) == ("HOLD", "0")
    assert proposal["hypothesis"].startswith("room 0.00019, least order 0.0002; breakout")
    facts["room"] = {**facts["room"], "max_buy": "0", "blocked_by": ["orders_per_day"]}
    assert ask(Agent.TRADER, facts)["hypothesis"].startswith("room 0, the law: orders_per_day; breakout")


def test_an_edge_below_its_costs_is_not_traded() -> None:
    proposal = ask(Agent.TRADER, trader_facts(said("breakout", "BUY", 0.2)))
    assert proposal["action"] == "HOLD"
    assert proposal["hypothesis"].startswith("edge below costs: 24.0 of 25.0 bp; breakout")
    dearer = {**COSTS, "round_trip_bp": 65.0}
    assert ask(Agent.TRADER, trader_facts(said("breakout", "BUY", 0.5)))["action"] == "BUY"
    assert ask(Agent.TRADER, trader_facts(said("breakout", "BUY", 0.5), costs=dearer))["action"] == "HOLD"


def test_beside_cash_nothing_is_bought() -> None:
    facts = trader_facts(said("breakout", "BUY", 1.0), said("cash", "NONE"))
    assert ask(Agent.TRADER, facts)["action"] == "HOLD"


def test_the_owner_sells_the_whole_position() -> None:
    proposal = ask(Agent.TRADER, trader_facts(said("breakout", "SELL", 0.5), held=True))
    assert (proposal["action"], proposal["qty"], proposal["policy_id"]) == ("SELL", "0.01", "breakout")


def test_another_policy_does_not_sell_what_it_did_not_buy_but_cash_does() -> None:
    facts = trader_facts(said("breakout", "NONE"), said("ma_trend", "SELL", 1.0), held=True)
    proposal = ask(Agent.TRADER, facts)
    assert (proposal["action"], proposal["hypothesis"]) == ("HOLD", "holds on; breakout: strength 0.0")
    facts = trader_facts(said("breakout", "NONE"), said("cash", "SELL", 1.0), held=True)
    assert ask(Agent.TRADER, facts)["policy_id"] == "cash"


def test_a_position_that_nobody_owns_is_left_by_any_policy_of_the_plan() -> None:
    facts = trader_facts(said("ma_trend", "SELL", 1.0), held=True)
    facts["position"] = {**facts["position"], "policy_id": None, "params": None}
    assert ask(Agent.TRADER, facts)["action"] == "SELL"


def test_what_cannot_be_sold_is_held_and_said() -> None:
    facts = trader_facts(said("breakout", "SELL", 0.5), held=True)
    facts["room"] = {**facts["room"], "max_sell": "0"}
    proposal = ask(Agent.TRADER, facts)
    assert (proposal["action"], proposal["qty"]) == ("HOLD", "0")
    assert proposal["hypothesis"].startswith("holds 0.01, but 0 of it can be sold; breakout")


def test_a_sale_is_not_trapped_by_the_least_buy() -> None:
    facts = trader_facts(said("breakout", "SELL", 0.5), held=True)
    facts["room"] = {**facts["room"], "min_qty": "0.5"}
    assert ask(Agent.TRADER, facts)["qty"] == "0.01"


@pytest.mark.parametrize("missing", ["plan", "signals", "position", "room", "price", "equity", "costs", "features"])
def test_a_trader_who_lacks_a_fact_holds(missing: str) -> None:
    facts = trader_facts(said("breakout", "BUY", 1.0))
    del facts[missing]
    assert ask(Agent.TRADER, facts)["action"] == "HOLD"


def test_an_observing_plan_is_held_to() -> None:
    facts = trader_facts(said("breakout", "SELL", 1.0), held=True, plan=planned("breakout", mode="OBSERVE"))
    proposal = ask(Agent.TRADER, facts)
    assert (proposal["action"], proposal["policy_id"]) == ("HOLD", "breakout")


# --- judge -----------------------------------------------------------------------------------


def test_the_judge_approves_what_the_law_allows_whole() -> None:
    verdict = ask(Agent.JUDGE, judge_facts())
    assert (verdict["decision"], verdict["revised_qty"], verdict["violations"]) == ("APPROVE", None, ["funds"])


def test_the_judge_lowers_to_what_the_law_allows_and_never_raises() -> None:
    lowered = ask(Agent.JUDGE, judge_facts(allowed="0.001"))
    assert (lowered["decision"], lowered["revised_qty"]) == ("REVISE", "0.001")
    assert lowered["notes"] == "law allows 0.001 of 0.002"
    assert ask(Agent.JUDGE, judge_facts(allowed="5"))["decision"] == "APPROVE"


def test_the_judge_rejects_what_is_below_the_minimum() -> None:
    verdict = ask(Agent.JUDGE, judge_facts(allowed="0.00019"))
    assert (verdict["decision"], verdict["notes"]) == ("REJECT", "allowed 0.00019 is below the least 0.0002")


@pytest.mark.parametrize(
    ("action", "ratio", "qty", "expected"),
    [
        ("BUY", 2.0, "0.002", None),
        ("BUY", 2.1, "0.002", "0.001"),
        ("BUY", 2.1, "0.00099", "0.00049"),
        ("BUY", 2.1, "0.00033", "0.0002"),
        ("BUY", 2.1, "0.0002", None),
        ("SELL", 9.0, "0.002", None),
    ],
)
def test_a_buy_in_wild_minutes_is_halved_but_not_below_the_minimum(
    action: str, ratio: float, qty: str, expected: str | None
) -> None:
    verdict = ask(Agent.JUDGE, judge_facts(action, qty, qty, volatility_ratio=ratio))
    assert verdict["decision"] == ("APPROVE" if expected is None else "REVISE")
    assert verdict["revised_qty"] == expected


@pytest.mark.parametrize("missing", ["proposal", "law", "features"])
def test_a_judge_who_lacks_a_fact_rejects(missing: str) -> None:
    facts = judge_facts()
    del facts[missing]
    assert ask(Agent.JUDGE, facts)["decision"] == "REJECT"


def test_a_sale_needs_no_features_to_be_approved() -> None:
    facts = judge_facts("SELL")
    del facts["features"]
    assert ask(Agent.JUDGE, facts)["decision"] == "APPROVE"


# --- any facts -------------------------------------------------------------------------------

odd_amounts = st.decimals(0, 10**12, places=6).map(text) | st.sampled_from(["0", "0.00001", "999999999999999999"])
small_amounts = st.decimals(0, 2, places=6).map(text)
amounts = small_amounts | odd_amounts
maybe = st.none() | st.floats(-10, 10)
features_of = st.fixed_dictionaries(
    dict.fromkeys(CALM, maybe) | {"volatility": st.none() | st.floats(0, 0.1), "volatility_ratio": st.floats(0, 4)}
)
policies = st.sampled_from(sorted(BY_ID))
params_of = st.none() | st.dictionaries(st.sampled_from(["low", "fast", "slow", "entry", "exit"]), st.integers(-5, 200))
positions = st.fixed_dictionaries(
    {"base": amounts, "cost": amounts, "policy_id": st.none() | policies, "params": params_of}
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
plans = st.fixed_dictionaries(
    {
        "features": features_of,
        "position": positions,
        "trading_state": st.sampled_from(["RUN", "REDUCE", "HALT"]),
        "secs_to_next_close": st.integers(0, 90_000),
        "posteriors": st.dictionaries(
            policies,
            st.fixed_dictionaries(
                {"mean_bp": st.floats(-500, 500), "sd_bp": st.floats(0, 500), "n": st.integers(0, 999)}
            ),
        ),
    }
)


@st.composite
def trades(draw: st.DrawFn) -> Facts:
    """A trader's facts: a plan, signals for some of it and for others, amounts from sensible to odd."""
    chosen = draw(st.lists(policies, min_size=1, max_size=3, unique=True))
    held = draw(st.booleans())
    actions = st.sampled_from(["NONE", "SELL" if held else "BUY"])
    signals = [said(name, draw(actions), draw(st.floats(0, 1))) for name in chosen if draw(st.integers(0, 9))]
    signals += [said(name, draw(actions), 1.0) for name in draw(st.lists(policies, max_size=1))]
    owner = draw(st.sampled_from([chosen[0], None, "breakout"]))
    return {
        **trader_facts(),
        "features": draw(features_of),
        "plan": planned(*chosen),
        "signals": signals,
        "position": {"base": draw(amounts), "cost": "1", "policy_id": owner, "params": {}, "held": held},
        "room": {
            "max_buy": draw(amounts),
            "max_sell": draw(amounts),
            "min_qty": draw(st.sampled_from(["0", "0.00017", "0.1"]) | amounts),
            "step": draw(st.sampled_from(["0.00001", "0.003", "1"])),
        },
        "equity": draw(amounts),
        "price": draw(st.sampled_from(["30000", "0.00002"]) | amounts),
    }


@given(plans, st.integers(0, 10**6))
@relaxed
def test_any_plan_is_valid_and_keeps_the_owner(facts: Facts, trace: int) -> None:
    plan = ask(Agent.PLANNER, planner_facts(**facts), trace)
    chosen = names(plan)
    assert len(set(chosen)) == len(chosen)
    owner = facts["position"]["policy_id"]
    if owner is not None:
        assert chosen[0] == owner
    if facts["trading_state"] == "HALT" or None in (facts["features"]["rsi"], facts["features"]["trend"]):
        assert plan["mode"] == "OBSERVE"


@given(trades())
@relaxed
def test_any_proposal_is_valid_and_within_its_room(facts: Facts) -> None:
    proposal = ask(Agent.TRADER, facts)
    qty, room = Decimal(proposal["qty"]), {name: Decimal(value) for name, value in facts["room"].items()}
    assert proposal["policy_id"] in names(facts["plan"])
    if proposal["action"] == "HOLD":
        assert qty == 0
        return
    assert qty > 0
    assert qty % room["step"] == 0
    if proposal["action"] == "BUY":
        assert not facts["position"]["held"]
        assert room["min_qty"] <= qty <= room["max_buy"]
    else:
        assert facts["position"]["held"]
        assert qty <= min(room["max_sell"], Decimal(facts["position"]["base"]))


@given(
    st.sampled_from(["BUY", "SELL", "HOLD"]),
    amounts,
    amounts,
    st.just("0.00017") | amounts,
    st.none() | st.floats(0, 5),
)
@relaxed
def test_any_verdict_is_valid_and_only_lowers(
    action: str, asked: str, allowed: str, least: str, ratio: float | None
) -> None:
    facts = judge_facts(action, asked, allowed, volatility_ratio=ratio)
    facts["law"]["min_qty"] = least
    verdict = ask(Agent.JUDGE, facts)
    assert (verdict["revised_qty"] is None) == (verdict["decision"] != "REVISE")
    if verdict["decision"] == "REJECT":
        return
    qty = Decimal(verdict["revised_qty"] or asked)
    assert Decimal(least) <= qty <= min(Decimal(asked), Decimal(allowed))
    assert qty > 0


@given(st.sampled_from(list(Agent)), st.data())
@relaxed
def test_senseless_facts_get_the_safe_answer_and_never_an_error(agent: Agent, data: st.DataObject) -> None:
    sound = {
        Agent.PLANNER: planner_facts(position=OWNED),
        Agent.TRADER: trader_facts(said("breakout", "BUY", 0.9), said("ma_trend", "NONE")),
        Agent.JUDGE: judge_facts(),
    }[agent]
    facts = spoiled(sound, data)
    ask(agent, facts)
    ask(agent, {name: data.draw(json_values) for name in sound})
    silent = ask(agent, {})
    assert silent.get("mode", silent.get("action", silent.get("decision"))) in ("OBSERVE", "HOLD", "REJECT")


def spoiled(facts: Facts, data: st.DataObject) -> Facts:
    """The facts with some of their values, at any depth, replaced by anything JSON can say."""
    changed = dict(facts)
    for name in data.draw(st.lists(st.sampled_from(sorted(facts)), max_size=3)):
        inner = facts[name]
        if isinstance(inner, dict) and inner and data.draw(st.booleans()):
            changed[name] = spoiled(inner, data)
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            changed[name] = [spoiled(inner[0], data), *inner[1:]]
        else:
            changed[name] = data.draw(json_values)
    return changed
