"""Requests: valid for every model of the table by the service's rules, with nothing in them but the question."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.core.test_limits import HELD, case
from tests.desks import desk
from tests.fakes import proposal_words
from tests.responses import answers
from tests.responses.models import rules_of
from tests.responses.request import check_request
from trader_cli.agents import judge, planner, trader
from trader_cli.agents.lookups import lookup
from trader_cli.core.limits import review
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.planner import Plan, Strategy
from trader_cli.schemas.question import Agent, Question, Turn
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.models import replies, requests
from trader_cli.tools.models.table import TABLE, spec_of
from trader_cli.tools.rows import dumps

PLAN = Plan("TRADE", 0.1, 300, (Strategy("ma_trend", {"fast": 9, "slow": 34}), Strategy("cash", {})))
STRANGER = "llama-4:70b"
"""A model that only a compatible server knows."""


def question(agent: Agent) -> Question:
    """What an agent is asked while a position is held; the trader with its tools."""
    where = case(book=HELD).situation
    if agent is Agent.PLANNER:
        return planner.question(where, "t")
    if agent is Agent.TRADER:
        return replace(trader.question(where, PLAN, "t", may_look_up=True), may_call=True)
    return judge.question(where, Proposal("BUY", Decimal("0.001"), "ma_trend", "", 0.8), review(case()), "t")


def body(agent: Agent, model: str, **changes: Any) -> dict[str, Any]:
    """The request, as it comes out at the other end of the line."""
    made: dict[str, Any] = json.loads(dumps(requests.body(replace(question(agent), **changes), model, spec_of(model))))
    return made


def looked_up(made: dict[str, Any], call: str = "get_ohlcv", **arguments: Any) -> Turn:
    """A round of tools as the loopback service plays it for this request, and as it is read and served here."""
    shape = answers.tool_call(call, {"timeframe": "5m", **arguments})
    reply = replies.read(json.dumps(answers.response(shape, made, 100)).encode())
    assert (reply.status, len(reply.calls)) == ("ok", 1)
    window = case().situation.observation.window
    return Turn(reply.items, tuple((one.call_id, lookup(window, one)) for one in reply.calls))


# Valid for the service.


@pytest.mark.parametrize("agent", Agent)
@pytest.mark.parametrize("model", [*TABLE, "gpt-5-2025-08-07", "gpt-5.4-mini-2026-03-17"])
def test_the_service_takes_every_request_to_every_model_of_the_table(model: str, agent: Agent) -> None:
    check_request(body(agent, model), {})


@pytest.mark.parametrize("model", TABLE)
def test_it_takes_the_rounds_after_tools_too_also_the_last_in_which_none_may_be_called(model: str) -> None:
    first = body(Agent.TRADER, model)
    turns = (looked_up(first, limit=3), looked_up(first, "compute_indicators"))
    check_request(body(Agent.TRADER, model, turns=turns[:1]), {})
    check_request(body(Agent.TRADER, model, turns=turns, may_call=False), {})


@pytest.mark.parametrize("agent", Agent)
def test_a_compatible_server_gets_a_request_that_is_valid_too(agent: Agent) -> None:
    check_request(body(agent, STRANGER), {}, any_model=True)


# How a model is asked.


@pytest.mark.parametrize("agent", Agent)
@pytest.mark.parametrize("model", TABLE)
def test_the_temperature_is_the_specifications_exactly_where_the_model_takes_one(model: str, agent: Agent) -> None:
    made = body(agent, model)
    rules = rules_of(model)
    takes_one = rules.samples_at_none and rules.effort(made) == "none"
    assert made.get("temperature") == (0.5 if takes_one else None)
    assert ("temperature" in made) == takes_one, "left out, not null"
    noted = requests.noted(made, "api.openai.com")
    assert noted["temperature"] == made.get("temperature")
    assert noted["effort"] == rules.effort(made)
    assert noted["verbosity"] == "low"


@pytest.mark.parametrize("model", TABLE)
def test_the_trader_thinks_a_little_and_the_others_as_little_as_their_model_can(model: str) -> None:
    efforts = [body(agent, model)["reasoning"]["effort"] for agent in Agent]
    assert efforts == [rules_of(model).efforts[0], "low", rules_of(model).efforts[0]]


@pytest.mark.parametrize("agent", Agent)
def test_a_model_that_is_not_known_gets_nothing_it_might_refuse_and_the_schema_in_words(agent: Agent) -> None:
    made, asked = body(agent, STRANGER), question(agent)
    plain = {"model", "instructions", "input", "text", "max_output_tokens", "store"}
    assert set(made) == plain | ({"tools", "tool_choice", "parallel_tool_calls"} if asked.tools else set())
    assert made["text"] == {"format": made["text"]["format"]}
    assert made["instructions"].startswith(asked.prompt)
    assert made["instructions"].endswith(f"{dumps(asked.schema)}\n")
    noted = requests.noted(made, "127.0.0.1:11434")
    assert [noted[name] for name in ("effort", "verbosity", "temperature")] == [None, None, None]


@pytest.mark.parametrize("agent", Agent)
@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-6-luna", STRANGER])
def test_a_request_is_stateless_strict_and_capped_and_says_each_thing_once(model: str, agent: Agent) -> None:
    made, asked = body(agent, model), question(agent)
    assert made["store"] is False
    assert made["text"]["format"] == {
        "type": "json_schema",
        "name": {Agent.PLANNER: "plan", Agent.TRADER: "proposal", Agent.JUDGE: "verdict"}[agent],
        "schema": asked.schema,
        "strict": True,
    }
    assert made["max_output_tokens"] == asked.max_output_tokens
    assert made["input"] == [{"role": "user", "content": dumps(asked.facts)}]
    if model in TABLE:
        assert made["instructions"] == asked.prompt


def test_a_models_own_ceiling_stands_where_it_is_lower() -> None:
    spec = TABLE["gpt-5-mini"]
    for ceiling, least in ((1_000, 1_000), (None, 4_000), (128_000, 4_000)):
        made = requests.body(question(Agent.TRADER), "x", replace(spec, max_output_tokens=ceiling))
        assert made["max_output_tokens"] == least


# Tools.


@pytest.mark.parametrize("model", ["gpt-5", "gpt-6-sol", STRANGER])
def test_tools_are_strict_functions_offered_one_call_at_a_time_while_calls_are_left(model: str) -> None:
    made = body(Agent.TRADER, model)
    assert [(one["type"], one["name"], one["strict"]) for one in made["tools"]] == [
        ("function", "get_ohlcv", True),
        ("function", "compute_indicators", True),
    ]
    assert made["parallel_tool_calls"] is False
    assert made["tool_choice"] == requests.noted(made, "h")["tool_choice"] == "auto"
    assert body(Agent.TRADER, model, may_call=False)["tool_choice"] == "none"
    wanted = ["reasoning.encrypted_content"] if model in TABLE else None
    assert made.get("include") == wanted, "or thoughts could not be handed back to a server that keeps nothing"


@pytest.mark.parametrize("agent", Agent)
def test_without_tools_nothing_is_said_of_them(agent: Agent) -> None:
    made = body(agent, "gpt-5", tools=())
    assert not {"tools", "tool_choice", "parallel_tool_calls", "include"} & set(made)
    assert requests.noted(made, "h")["tool_choice"] is None


def test_a_turn_is_handed_back_as_the_models_own_items_each_call_with_what_it_got() -> None:
    first = body(Agent.TRADER, "gpt-5")
    turns = (looked_up(first, limit=3), looked_up(first, "compute_indicators"))
    items = body(Agent.TRADER, "gpt-5", turns=turns)["input"]
    assert [one.get("type") for one in items] == [None, *["reasoning", "function_call", "function_call_output"] * 2]
    assert items[1:3] == list(turns[0].items)
    assert items[1]["encrypted_content"]
    assert [(one["call_id"], one["output"]) for one in items if "output" in one] == [
        *turns[0].outputs,
        *turns[1].outputs,
    ]
    assert items[:1] == first["input"], "the facts come first, and once"


# Nothing else is in it.

CANARIES = ("moon", "crystal", "horoscope")
"""What the models of the first cycle say, in no words of ours."""


def test_no_words_of_a_model_go_into_the_next_cycles_requests() -> None:
    scene = desk()
    said = proposal_words(hypothesis=f"the {CANARIES[0]} is full")
    scene.script(
        said, json.dumps({"decision": "APPROVE", "revised_qty": None, "violations": ["crystal"], "notes": "horoscope"})
    )
    cycle(scene.desk)
    scene.clock.advance(300_000)
    seen = len(scene.model.asked)
    scene.script(proposal_words("HOLD", "0"))
    cycle(scene.desk)
    later = [dumps(requests.body(one, "gpt-5", TABLE["gpt-5"])) for one in scene.model.asked[seen:]]
    assert len(later) == 2
    assert not [word for request in later for word in CANARIES if word in request]
    assert '\\"policy_id\\":\\"ma_trend\\"' in later[0], "who owns the position is a name of the catalogue"
