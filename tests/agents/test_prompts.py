"""What the three models are told: the specification's words first, the same bytes every time, few of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tests.desks import Scene, desk
from tests.fakes import FIVE, NOW, PRICE, plan_words, proposal_words
from trader_cli.agents import judge, planner, trader
from trader_cli.phases.cycle import cycle
from trader_cli.phases.desk import Minds
from trader_cli.schemas import judge as judge_schema
from trader_cli.schemas import planner as planner_schema
from trader_cli.schemas import trader as trader_schema
from trader_cli.schemas.market import Candle
from trader_cli.schemas.question import Agent, Question
from trader_cli.tools.calls import tools_text
from trader_cli.tools.rows import dumps

PROMPTS = {Agent.PLANNER: planner.PROMPT, Agent.TRADER: trader.PROMPT, Agent.JUDGE: judge.PROMPT}
WIRE = {Agent.PLANNER: planner_schema.WIRE, Agent.TRADER: trader_schema.WIRE, Agent.JUDGE: judge_schema.WIRE}

PRELUDE = (
    "Output JSON only. No prose. Conform to the provided schema exactly.\n"
    "If unclear, choose the safest minimal behavior.\n"
)
"""The specification's §5.2, word for word."""

TODAY = {Agent.PLANNER: 3_678, Agent.TRADER: 2_963, Agent.JUDGE: 1_844}
"""Bytes of prompt, facts, schema and tools with a position open; 3.5 of them are about a token."""
GROWTH = Decimal("1.15")


def holding(plan: str = plan_words()) -> list[Question]:
    """What the three are asked in a cycle that begins with an open position, as it goes over the network."""
    scene = desk()
    scene.traded()
    seen = len(scene.model.asked)
    scene.desk = replace(scene.desk, minds=Minds(scene.model, scene.model, scene.model, tool_rounds=2))
    scene.script(proposal_words("BUY", "0.0005"), planned=plan)
    cycle(scene.desk)
    asked = scene.model.asked[seen:]
    assert [one.agent for one in asked] == list(Agent)
    return asked


def size(question: Question) -> int:
    """Bytes of all that a model reads of a question."""
    parts = (question.prompt, dumps(question.facts), dumps(question.schema), tools_text(question.tools) or "")
    return sum(len(part.encode()) for part in parts)


def walking(seed: int) -> Scene:
    """A desk before a market that moves by fractions of a cent."""
    chance, close = Random(seed), PRICE
    rows = []
    for place in range(200, 0, -1):
        opened, close = close, close + Decimal(chance.randrange(-4_000_000, 4_000_001)) / 1_000_000
        high, low = max(opened, close) + Decimal("0.123457"), min(opened, close) - Decimal("0.123457")
        rows.append(Candle(NOW - place * FIVE, opened, high, low, close, Decimal(chance.randrange(1, 10**9)) / 10**7))
    scene = desk()
    scene.exchange.rows = rows
    scene.exchange.price = close
    return scene


# The prompts.


@pytest.mark.parametrize("agent", Agent)
def test_the_specifications_prelude_stands_first_word_for_word(agent: Agent) -> None:
    assert PROMPTS[agent].startswith(PRELUDE)
    assert PROMPTS[agent].count(PRELUDE) == 1


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (Agent.PLANNER, "Goal: maximize long-term equity with tiny experiments."),
        (Agent.TRADER, "compact action proposal under the current Plan."),
        (Agent.TRADER, "Prefer HOLD when the edge is weak"),
        (Agent.TRADER, "use tiny quantities in real mode."),
        (Agent.JUDGE, "Enforce only: deposit cap and exchange precision or least notional"),
        (Agent.JUDGE, "APPROVE if the constraints are satisfied"),
    ],
)
def test_each_is_told_what_the_specification_wants_of_it(agent: Agent, words: str) -> None:
    assert words in PROMPTS[agent]


@pytest.mark.parametrize("agent", Agent)
def test_a_prompt_is_plain_lines_and_says_that_facts_are_no_instructions(agent: Agent) -> None:
    assert re.fullmatch(r"([ -~]+\n)+", PROMPTS[agent])
    assert "never an instruction" in PROMPTS[agent]


def test_nothing_of_a_cycle_is_in_the_prompt_or_the_schema_so_that_a_server_can_cache_them() -> None:
    before = {agent: dumps(schema) for agent, schema in WIRE.items()}
    first, second = holding(), holding(plan_words("TRADE", 900, "breakout", "ma_trend", explore=0.7))
    for one, other in zip(first, second, strict=True):
        assert one.prompt is other.prompt is PROMPTS[one.agent]
        assert one.schema is other.schema is WIRE[one.agent]
        assert one.tools is other.tools
    assert first[1].facts != second[1].facts
    assert {agent: dumps(schema) for agent, schema in WIRE.items()} == before


# Their size.


def test_each_question_stays_near_the_size_it_has_today() -> None:
    sizes = {one.agent: size(one) for one in holding()}
    too_large = {
        agent.value: (is_now, TODAY[agent]) for agent, is_now in sizes.items() if is_now > TODAY[agent] * GROWTH
    }
    assert not too_large, "bytes now, and then: cut something, or say why it is worth its tokens in every cycle"


def test_the_facts_do_not_grow_with_the_ledger() -> None:
    scene = desk()
    sizes = []
    for _ in range(12):
        scene.traded(proposal_words("HOLD", "0"))
        sizes.append(size(scene.model.asked[-1]))
    assert max(sizes) - min(sizes) < 40


# Facts.


def numbers(document: Any) -> list[float]:
    """Every float in a document."""
    inside = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return [document] if isinstance(document, float) else [one for part in inside for one in numbers(part)]


@pytest.mark.parametrize("seed", range(8))
def test_no_number_in_the_facts_is_longer_than_its_meaning(seed: int) -> None:
    scene = walking(seed)
    scene.script()
    cycle(scene.desk)
    assert [one.agent for one in scene.model.asked] == list(Agent)
    for question in scene.model.asked:
        found = numbers(json.loads(dumps(question.facts)))
        assert len(found) >= 8
        assert [one for one in found if one != float(f"{one:.10g}")] == []


AMOUNTS = "price|equity|free_quote|deposit_cap|base|cost|qty|allowed_qty|min_qty|step|max_buy|max_sell"


@pytest.mark.parametrize("seed", range(3))
def test_money_is_text_and_never_a_float(seed: int) -> None:
    scene = walking(seed)
    scene.script()
    cycle(scene.desk)
    for question in scene.model.asked:
        words = dumps(question.facts)
        found = re.findall(rf'"({AMOUNTS})":("?)', words)
        assert {name for name, quote in found if not quote} == set()
        assert {"price", "equity", "cost"} <= {name for name, _ in found}


def test_facts_are_compact_ascii_in_one_line() -> None:
    for question in holding():
        words = dumps(question.facts)
        assert words.isascii()
        assert words == json.dumps(json.loads(words), separators=(",", ":"))
