"""The strict wire forms: within the subset servers take, always the same bytes, and what comes of all they let in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from tests.fakes import ScriptedModel, plan_words, proposal_words, verdict_words
from tests.responses.strict import problem_of
from trader_cli.agents import judge, lookups, planner, trader
from trader_cli.agents.ask import ask
from trader_cli.schemas import judge as judge_schema
from trader_cli.schemas import planner as planner_schema
from trader_cli.schemas import trader as trader_schema
from trader_cli.schemas.question import Agent, Question

READ: dict[Agent, Callable[[Any], Any]] = {
    Agent.PLANNER: planner.read,
    Agent.TRADER: trader.read,
    Agent.JUDGE: judge.read,
}
WIRE = {Agent.PLANNER: planner_schema.WIRE, Agent.TRADER: trader_schema.WIRE, Agent.JUDGE: judge_schema.WIRE}
SPECIFIED = {
    Agent.PLANNER: planner_schema.SCHEMA,
    Agent.TRADER: trader_schema.SCHEMA,
    Agent.JUDGE: judge_schema.SCHEMA,
}
WORDS = {Agent.PLANNER: plan_words(), Agent.TRADER: proposal_words(), Agent.JUDGE: verdict_words("REVISE", "0.0005")}
"""A good answer of each agent."""


def asked(agent: Agent, words: str) -> Any:
    """What becomes of an answer with these words."""
    model = ScriptedModel()
    model.will_say(agent, words)
    return ask(model, Question(agent, "t", "", {}, "x", WIRE[agent], 1_000), READ[agent])


# The forms themselves.


@pytest.mark.parametrize("agent", Agent)
def test_a_wire_form_stays_within_the_subset_that_strict_mode_takes(agent: Agent) -> None:
    assert problem_of(WIRE[agent]) is None
    assert problem_of(SPECIFIED[agent]) is not None, "the specification's own form would be refused"


@pytest.mark.parametrize("tool", lookups.TOOLS, ids=lambda tool: tool.name)
def test_so_do_the_parameters_of_a_tool(tool: Any) -> None:
    assert problem_of(tool.parameters) is None


IMPORTED = """
import json
from trader_cli.agents import lookups
from trader_cli.schemas import judge, planner, trader
tools = [[tool.name, tool.description, tool.parameters] for tool in lookups.TOOLS]
print(json.dumps([planner.WIRE, trader.WIRE, judge.WIRE, tools]))
"""


def test_wire_forms_and_tools_are_the_same_bytes_in_every_process(clean_env: dict[str, str]) -> None:
    def imported(seed: str) -> bytes:
        env = {**clean_env, "PYTHONHASHSEED": seed}
        return subprocess.run([sys.executable, "-c", IMPORTED], env=env, capture_output=True, check=True).stdout

    here = [*WIRE.values(), [[tool.name, tool.description, tool.parameters] for tool in lookups.TOOLS]]
    assert imported("1") == imported("2") == f"{json.dumps(here)}\n".encode()


# Every document a form lets in.


def documents(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Documents that obey a schema of the few words the wire forms use, at its edges more often than not."""
    if "anyOf" in schema:
        return st.one_of([documents(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            return st.fixed_dictionaries({name: documents(one) for name, one in schema["properties"].items()})
        case "array":
            least, most = schema.get("minItems", 0), schema["maxItems"]
            return st.lists(documents(schema["items"]), min_size=least, max_size=most)
        case "integer" | "number" as kind:
            low, high = schema["minimum"], schema["maximum"]
            edges = st.sampled_from([low, high])
            within = st.integers(low, high) if kind == "integer" else st.floats(low, high)
            return edges | within | (within.map(float) if kind == "integer" else st.just(-0.0 if low == 0 else low))
        case "null":
            return st.none()
        case "string" if "pattern" in schema:
            return st.from_regex(re.compile(schema["pattern"].replace("$", r"\Z"), re.ASCII)) | st.just("0")
        case "string":
            return st.text(st.characters(codec="utf-8"), max_size=200)
        case other:
            raise AssertionError(f"the wire forms have no {other}")


RULES = {
    Agent.PLANNER: "a policy is named twice",
    Agent.TRADER: "a (BUY|SELL) of nothing",
    Agent.JUDGE: "REVISE without a quantity|(APPROVE|REJECT) with a revised quantity",
}
"""What is refused of a document that its wire form lets in: the rules that no schema can say."""


def breaks_a_rule(agent: Agent, document: Any) -> bool:
    """Whether one of RULES is for this document."""
    if agent is Agent.PLANNER:
        names = [strategy["policy_id"] for strategy in document["strategies"]]
        return len(set(names)) < len(names)
    if agent is Agent.TRADER:
        return document["action"] != "HOLD" and Decimal(document["qty"]) == 0
    revised = document["revised_qty"]
    if document["decision"] == "REVISE":
        return revised is None or Decimal(revised) == 0
    return revised is not None


@pytest.mark.parametrize("agent", Agent)
def test_what_a_wire_form_lets_in_is_a_payload_of_the_specification_or_breaks_a_rule_no_schema_can_say(
    agent: Agent,
) -> None:
    wire, specified = Draft202012Validator(WIRE[agent]), Draft7Validator(SPECIFIED[agent])
    kinds: set[bool] = set()

    @settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(document=documents(WIRE[agent]))
    def holds(document: Any) -> None:
        wire.validate(document)
        came = asked(agent, json.dumps(document))
        kinds.add(came.record is None)
        if breaks_a_rule(agent, document):
            assert came.record is None
            assert re.fullmatch(f"scripted: ({RULES[agent]})", came.cause)
            return
        assert came.cause is None
        payload = json.loads(json.dumps(came.record.payload(), allow_nan=False))
        specified.validate(payload)
        assert type(came.record).from_payload(payload) == came.record

    holds()
    assert kinds == {True, False}, "both kinds were seen"


# Documents that a schema read carelessly lets in (`facts/reliability.md` 0.8), in every field where they fit.


def fields(schema: dict[str, Any], wanted: str, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a form has strings, quantities or numbers, as paths into the good answer of WORDS."""
    for name, one in schema.get("properties", {}).items():
        yield from fields(one, wanted, (*path, name))
    if "items" in schema and "anyOf" in schema["items"]:
        yield from fields(schema["items"]["anyOf"][1], wanted, (*path, 0))
    parts = schema.get("anyOf", [schema])
    if any(kind_of(one) == wanted for one in parts):
        yield path


def kind_of(schema: dict[str, Any]) -> str:
    kind = str(schema.get("type"))
    return "quantity" if "pattern" in schema else "name" if "enum" in schema else kind


def put(words: str, path: tuple[Any, ...], spelled: str) -> str:
    """An answer with one value in other words, spelled as they are."""
    document = json.loads(words)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = "@@"
    return json.dumps(document).replace('"@@"', spelled)


HOSTILE_VALUES = {
    "quantity": {
        "a newline": r'"1\n"',
        "Arabic digits": '"\u0661\u0662"',
        "5000 digits": f'"{"9" * 5000}"',
        "a number": "0.001",
        "an exponent": '"1e3"',
        "a sign": '"-1"',
        "NaN": "NaN",
        "a surrogate": r'"\ud800"',
    },
    "number": {"NaN": "NaN", "infinity": "-Infinity", "overflow": "1e999", "text": '"0.5"', "true": "true"},
    "integer": {"NaN": "NaN", "a fraction": "60.5", "overflow": "1e999", "text": '"60"', "5000 digits": "9" * 5000},
    "name": {
        "a megabyte": f'"{"x" * 1_000_000}"',
        "a path": '"../../etc/passwd"',
        "an escape": r'"\u001b[2J"',
        "a NUL": r'"BUY\u0000"',
        "a surrogate": r'"\ud800"',
        "null": "null",
        "an array": '["BUY"]',
    },
    "string": {
        "a megabyte": f'"{"x" * 1_000_000}"',
        "a bare escape": '"\x1b[2J"',
        "a bare NUL": '"\0"',
        "a surrogate": r'"\ud800"',
        "null": "null",
        "depth": "[" * 5000 + "]" * 5000,
    },
}
"""By kind of field, values in the words they are spelled in."""

SPEAKS_OF = ("NaN", "Infinity", "surrogate", "nested", "characters", "JSON")
"""What a refusal names that does not name the field: it was found before there were fields."""

CASES = [
    (agent, path, name, spelled)
    for agent in Agent
    for kind, values in HOSTILE_VALUES.items()
    for path in fields(WIRE[agent], kind)
    for name, spelled in values.items()
]
NAMES = [f"{agent.value.lower()}-{'.'.join(map(str, path))}-{name}" for agent, path, name, _ in CASES]


def test_the_hostile_values_come_to_every_field_of_every_form() -> None:
    places = {(agent, ".".join(map(str, path))) for agent, path, _, _ in CASES}
    wanted = {
        Agent.PLANNER: "mode explore_ratio next_wakeup_secs strategies.0.policy_id strategies.0.params.fast"
        " strategies.0.params.slow",
        Agent.TRADER: "action qty policy_id hypothesis confidence",
        Agent.JUDGE: "decision revised_qty notes",
    }
    assert places == {(agent, name) for agent, names in wanted.items() for name in names.split()}


@pytest.mark.parametrize(("agent", "path", "name", "spelled"), CASES, ids=NAMES)
def test_a_hostile_value_is_refused_by_name_in_whatever_field_it_stands(
    agent: Agent, path: tuple[Any, ...], name: str, spelled: str
) -> None:
    assert asked(agent, WORDS[agent]).record is not None, "without it the answer is good"
    came = asked(agent, put(WORDS[agent], path, spelled))
    assert came.record is None, name
    named = {str(path[0]), "strategies"} if path[0] == "strategies" else {str(path[0])}
    assert any(word in came.cause for word in (*named, *SPEAKS_OF))
    assert len(came.cause) <= 300


@pytest.mark.parametrize("agent", Agent)
def test_a_key_twice_is_refused_whichever_of_the_two_is_harmless(agent: Agent) -> None:
    for name, value in json.loads(WORDS[agent]).items():
        again = f"{json.dumps(name)}: {json.dumps(value)}"
        for words in (f"{{{again}, {WORDS[agent][1:]}", f"{WORDS[agent][:-1]}, {again}}}"):
            assert asked(agent, words).cause == "scripted: the reply names a key twice"


@pytest.mark.parametrize("agent", Agent)
def test_a_key_less_or_one_more_is_refused_by_its_name(agent: Agent) -> None:
    good = json.loads(WORDS[agent])
    for name in good:
        less = {key: value for key, value in good.items() if key != name}
        assert repr(name) in asked(agent, json.dumps(less)).cause
    assert "'leverage'" in asked(agent, json.dumps({**good, "leverage": 20})).cause


@pytest.mark.parametrize("more", ["999", "0.0005000000000000000001", "-1"])
def test_a_judge_that_approves_of_another_quantity_has_said_nothing(more: str) -> None:
    came = asked(Agent.JUDGE, verdict_words("APPROVE", more))
    assert came.record is None
    assert "revised" in came.cause
