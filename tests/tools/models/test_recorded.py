"""Answers from the ledger: the same questions get the same answers and decisions, free; a changed one is told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.desks import Judged, Scene, desk
from tests.fakes import PRICE, plan_words, proposal_words, verdict_words
from trader_cli.agents import planner
from trader_cli.agents.ask import ask
from trader_cli.agents.lookups import TOOLS
from trader_cli.phases.cycle import cycle
from trader_cli.phases.desk import Minds
from trader_cli.phases.judge import judge
from trader_cli.phases.plan import plan
from trader_cli.phases.propose import propose
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.question import MISCONFIGURED, UNREACHED, Agent, Answer, Question, Usage
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools.models.recorded import NOT_RECORDED, RecordedModel

SENT = {"host": "api.openai.com", "effort": "low", "verbosity": "low", "temperature": None, "tool_choice": "auto"}
PRICES = {"input": "1.25", "cached": "0.125", "output": "10"}


def paid(words: str | None, status: str = "ok", **changes: Any) -> Answer:
    """An answer of a model over the network, with everything that is kept of one."""
    usage = Usage(900, 100, 50, 20, Decimal("0.0015"), "usage", PRICES)
    whole = Answer("gpt-5", status, words, usage, 800, 1, "req_1", request=SENT, body_sha256="0" * 64)
    return replace(whole, **changes)


def called(*calls: tuple[str, str, str]) -> Answer:
    made = tuple(ToolCall(*call) for call in calls)
    items = tuple({"type": "function_call", "call_id": call.call_id} for call in made)
    return paid(None, calls=made, items=items)


BARS = called(("c1", "get_ohlcv", '{"timeframe":"5m","limit":3}'))
INDICATORS = called(("c2", "compute_indicators", '{"timeframe":"15m"}'))
LOST = paid(None, "unavailable", error="no answer within 30 s", request_id=None, body_sha256=None)

SCRIPTS: dict[str, tuple[list[Answer], list[Answer], list[Answer]]] = {
    "a trade": ([paid(plan_words())], [paid(proposal_words())], [paid(verdict_words())]),
    "a revision": ([paid(plan_words())], [paid(proposal_words())], [paid(verdict_words("REVISE", "0.0004"))]),
    "rounds of tools": ([paid(plan_words())], [BARS, INDICATORS, paid(proposal_words())], [paid(verdict_words())]),
    "an attempt that failed before": (
        [paid(plan_words(), attempt=2, earlier=(LOST,))],
        [paid(proposal_words(), attempt=3, earlier=(LOST, replace(LOST, attempt=2)))],
        [paid(verdict_words())],
    ),
    "one call too many": ([paid(plan_words())], [BARS, INDICATORS, called(("c3", "get_ohlcv", "{}"))], []),
    "a tool there is not": ([paid(plan_words())], [called(("c1", "place_order", "{}"))], []),
    "prose": ([paid(plan_words())], [paid("I would rather not.")], []),
    "a planner that is down": ([LOST], [], []),
    "a judge that refuses": ([paid(plan_words())], [paid(proposal_words())], [paid(None, "refused", error="I can't.")]),
    "no money": ([paid(None, "over_budget", error="MODEL_BUDGET_USD_PER_DAY is 1 USD")], [], []),
    "a wrong key": ([paid(None, "denied", error="HTTP 401")], [], []),
}


def at(scene: Scene, mind: Any) -> Scene:
    """The same desk with this mind for all three, that may look something up twice."""
    scene.desk = replace(scene.desk, minds=Minds(mind, mind, mind, tool_rounds=2))
    return scene


def told(name: str = "a trade") -> Scene:
    """A desk whose models will say what a script says."""
    scene = desk()
    for agent, answers in zip(Agent, SCRIPTS[name], strict=True):
        scene.model.will_say(agent, *answers)
    return at(scene, scene.model)


def judged(scene: Scene) -> Judged:
    planned = plan(scene.desk, scene.desk.new_trace())
    proposed = propose(scene.desk, planned)
    return planned, proposed, judge(scene.desk, planned, proposed)


def counts(scene: Scene) -> dict[str, int]:
    tables = scene.column("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {table: scene.rows(table) for table in tables}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_trace_answered_out_of_its_ledger_comes_to_the_same_decisions_and_asks_and_writes_nothing(name: str) -> None:
    before = told(name)
    made = judged(before)
    trace_id = made[0].trace_id
    asked, rows, head = len(before.model.asked), counts(before), before.ledger.head
    recorded = RecordedModel(before.ledger, trace_id)
    again = judged(at(desk(), recorded))
    pairs: list[tuple[Decision[Any], Decision[Any]]] = list(zip(made, again, strict=True))
    for was, is_now in pairs:
        assert (is_now.payload, is_now.cause, is_now.source) == (was.payload, was.cause, was.source)
        assert (is_now.prompt_sha256, is_now.cost_usd) == (was.prompt_sha256, was.cost_usd)
        assert (is_now.upstream, is_now.misconfigured) == (was.upstream, was.misconfigured)
    assert (len(before.model.asked), counts(before), before.ledger.head) == (asked, rows, head)
    assert len(recorded.got) == asked, "every question was asked, and no other"


def test_every_answer_comes_back_whole_but_for_what_only_the_next_request_needed() -> None:
    scene = told("an attempt that failed before")
    trace_id = judged(scene)[0].trace_id
    recorded = RecordedModel(scene.ledger, trace_id)
    said = [one for answers in SCRIPTS["an attempt that failed before"] for one in answers]
    assert [recorded.answer(question) for question in scene.model.asked] == said
    scene = told("rounds of tools")
    recorded = RecordedModel(scene.ledger, judged(scene)[0].trace_id)
    rounds = [recorded.answer(question) for question in scene.model.asked[1:4]]
    assert rounds == [replace(BARS, items=()), replace(INDICATORS, items=()), paid(proposal_words())]


def test_what_the_tool_calls_got_then_can_be_held_against_what_they_get_now() -> None:
    before = told("rounds of tools")
    trace_id = judged(before)[0].trace_id
    outputs = [turn.outputs for turn in before.model.asked[3].turns]
    recorded = RecordedModel(before.ledger, trace_id)
    judged(at(desk(), recorded))
    assert recorded.got == [(), *outputs, (), ()]
    assert json.loads(outputs[0][0][1])["rows"]


def test_the_same_question_may_be_asked_twice() -> None:
    scene = told()
    recorded = RecordedModel(scene.ledger, judged(scene)[0].trace_id)
    first = scene.model.asked[0]
    assert recorded.answer(first) == recorded.answer(first)


@pytest.mark.parametrize("status", sorted(UNREACHED | MISCONFIGURED | {"incomplete", "empty", "malformed", "stopped"}))
def test_a_model_that_failed_fails_again_the_same_way(status: str) -> None:
    scene = desk()
    scene.model.will_say(Agent.PLANNER, paid(None, status, error="it did"))
    cycle(scene.desk)
    question = scene.model.asked[0]
    again = ask(RecordedModel(scene.ledger, question.trace_id), question, planner.read)
    assert again.cause == scene.one("SELECT cause FROM decisions WHERE agent = 'PLANNER'") == f"gpt-5 {status}: it did"
    assert (again.upstream is not None, again.misconfigured is not None) == (
        status in UNREACHED,
        status in MISCONFIGURED,
    )


# Questions that nobody asked then.

OTHER_TOOLS = (TOOLS[0], replace(TOOLS[1], description="Indicators."))

CHANGES: list[tuple[str, Callable[[Question], Question], str]] = [
    (
        "a fact",
        lambda one: replace(one, facts={**one.facts, "price": "1"}),
        f'the fact price is "1", it was "{PRICE:f}"',
    ),
    (
        "a fact inside",
        lambda one: replace(one, facts={**one.facts, "position": {}}),
        'the fact position is {}, it was {"held":false,',
    ),
    (
        "a fact's type",
        lambda one: replace(one, facts={**one.facts, "candle_age_secs": False}),
        "the fact candle_age_secs is false, it was 0",
    ),
    (
        "a new fact",
        lambda one: replace(one, facts={**one.facts, "new": None}),
        "the fact new is null, it was not there",
    ),
    (
        "a fact gone",
        lambda one: replace(one, facts={name: v for name, v in one.facts.items() if name != "deposit_cap"}),
        'the fact deposit_cap is not there, it was "500"',
    ),
    ("a later round", lambda one: replace(one, turns=(None,) * 3), "no TRADER of this trace was asked in round 4"),  # type: ignore[arg-type]  # only counted
]


@pytest.mark.parametrize(("change", "said"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES])
def test_a_question_that_is_not_the_one_of_then_gets_no_answer_and_says_what_differs(
    change: Callable[[Question], Question], said: str
) -> None:
    scene = told()
    recorded = RecordedModel(scene.ledger, judged(scene)[0].trace_id)
    question = scene.model.asked[1]
    assert question.agent is Agent.TRADER
    came = recorded.answer(change(question))
    assert (came.status, came.text, came.usage) == (NOT_RECORDED, None, Usage())
    assert came.error is not None
    assert came.error.startswith(said)
    assert len(came.error) < 250
    assert recorded.got == []


VERSIONS: dict[str, tuple[Callable[[Question], Question], str]] = {
    "prompt": (lambda one: replace(one, prompt=one.prompt + " "), "prompt"),
    "schema": (lambda one: replace(one, schema={**one.schema, "title": "x"}), "schema"),
    "a tool": (lambda one: replace(one, tools=OTHER_TOOLS), "tools"),
    "no tools": (lambda one: replace(one, tools=()), "tools"),
    "two": (lambda one: replace(one, prompt="", schema={}), "prompt and schema"),
}


@pytest.mark.parametrize("change", VERSIONS)
def test_a_question_in_the_words_of_another_version_gets_its_answer_and_is_noted(change: str) -> None:
    scene = told()
    recorded = RecordedModel(scene.ledger, judged(scene)[0].trace_id)
    question = scene.model.asked[1]
    other, parts = VERSIONS[change]
    assert recorded.answer(other(question)) == recorded.answer(question)
    (note,) = recorded.notes
    assert note.startswith(f"another {parts} of the trader then (version ")


def test_a_version_whose_words_were_changed_or_are_gone_gets_no_answer() -> None:
    scene = told()
    recorded = RecordedModel(scene.ledger, judged(scene)[0].trace_id)
    question = replace(scene.model.asked[1], prompt="other words")
    scene.ledger.db.execute("PRAGMA foreign_keys=OFF")
    for forgery in ("UPDATE prompts SET prompt = prompt || '!'", "DELETE FROM prompts"):
        for trigger in ("prompts_no_update", "prompts_no_delete"):
            scene.ledger.db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        scene.ledger.db.execute(forgery)
        came = recorded.answer(question)
        assert (came.status, came.text) == (NOT_RECORDED, None)
        assert "are gone or were changed" in str(came.error)
    assert recorded.notes == {}


def test_another_trace_or_an_empty_ledger_has_no_answer() -> None:
    scene = told()
    judged(scene)
    question = scene.model.asked[0]
    for ledger, trace_id in ((scene.ledger, "f" * 32), (desk().ledger, question.trace_id)):
        came = RecordedModel(ledger, trace_id).answer(question)
        assert (came.status, came.error) == (NOT_RECORDED, "no PLANNER of this trace was asked in round 1")


def test_what_does_not_change_the_words_is_the_same_question() -> None:
    scene = told()
    recorded = RecordedModel(scene.ledger, judged(scene)[0].trace_id)
    question = scene.model.asked[0]
    facts = dict(reversed(question.facts.items()))
    other = replace(question, facts=json.loads(json.dumps(facts)), schema=json.loads(json.dumps(question.schema)), at=7)
    assert recorded.answer(other).text == plan_words()
