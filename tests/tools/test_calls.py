"""Models in rows: what a call may cost before it is made, every field of its answer after it, and failing cycles."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.desks import Scene, desk
from tests.fakes import FIVE, NOW, FakeClock, plan_words, proposal_words, verdict_words
from tests.ledgers import grow, reading
from tests.tools.test_migrations import with_steps
from trader_cli.agents import lookups
from trader_cli.core.audit import text_sha256
from trader_cli.core.moments import DAY_MS, day_start
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.question import Agent, Answer, Question, Turn, Usage
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools.calls import LOOK_BACK, prompt_sha256, tools_text
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.models.recorded import RecordedModel, read_call

D = Decimal
ASKED = Question(Agent.TRADER, "t1", "Be brief.", {"price": "50000"}, "proposal", {"type": "object"}, 4_000, at=NOW)
SENT = {"host": "api.openai.com", "effort": "low", "verbosity": "low", "temperature": None, "tool_choice": None}
PAID = Answer("gpt-5", "ok", "{}", Usage(10, 0, 5, 0, D("0.01"), "usage"), request=SENT)


def ledger(clock: FakeClock | None = None) -> Ledger:
    """A ledger in memory, of a desk that nobody works at."""
    return desk(clock=clock).ledger


def log(kept: Ledger, question: Question, answer: Answer, outputs: dict[str, str] | None = None) -> tuple[int, str]:
    with kept.transaction() as tx:
        return kept.log_call(tx, question, answer, NOW, outputs)


def row(kept: Ledger, call_id: int) -> dict[str, Any]:
    cursor = kept.db.execute("SELECT * FROM model_calls WHERE id = ?", (call_id,))
    return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))


def as_asked(kept: Ledger, trace_id: str, agent: Agent, facts_json: str) -> Question:
    """The question of a row again."""
    prompt, schema_json, most = kept.db.execute(
        "SELECT prompt, schema_json, max_output_tokens FROM prompts JOIN model_calls ON prompt_sha256 = sha256 "
        "WHERE model_calls.trace_id = ? AND model_calls.agent = ?",
        (trace_id, agent.value),
    ).fetchone()
    return Question(agent, trace_id, prompt, json.loads(facts_json), "x", json.loads(schema_json), most)


# What was spent.


def test_a_call_counts_at_its_worst_until_its_answer_is_there_and_then_at_what_it_cost() -> None:
    kept = ledger()
    assert kept.spent_on(NOW) == 0
    held = kept.hold_back(ASKED, "gpt-5", D("0.04"))
    assert kept.spent_on(NOW) == D("0.04")
    log(kept, ASKED, replace(PAID, reserve_id=held))
    assert kept.spent_on(NOW) == D("0.01")


def test_an_answer_that_cost_nothing_frees_all_that_was_held_back() -> None:
    kept = ledger()
    held = kept.hold_back(ASKED, "gpt-5", D("0.04"))
    log(kept, ASKED, replace(PAID, usage=Usage(cost_basis="not billed"), reserve_id=held))
    assert kept.spent_on(NOW) == 0


def test_calls_that_no_answer_came_to_count_at_their_worst_for_the_rest_of_the_day(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with desk(path) as scene:
        scene.ledger.hold_back(ASKED, "gpt-5", D("0.04"))
        scene.ledger.hold_back(ASKED, "gpt-5", D("0.000000001"))
    with desk(path) as scene:
        assert scene.ledger.spent_on(NOW) == D("0.040000001")


@pytest.mark.parametrize(("ms", "spent"), [(-DAY_MS, "0"), (-1, "0"), (0, "0.04"), (DAY_MS - 1, "0.04"), (DAY_MS, "0")])
def test_a_day_is_from_midnight_to_midnight_in_utc_on_the_wall(ms: int, spent: str) -> None:
    midnight = day_start(NOW)
    clock = FakeClock()
    kept = ledger(clock)
    clock.wall_at = midnight + ms
    kept.hold_back(replace(ASKED, at=midnight + 5 * DAY_MS), "gpt-5", D("0.04"))
    assert kept.spent_on(midnight + DAY_MS // 2) == D(spent), "whatever the market's time is"


def test_a_call_over_midnight_belongs_to_the_day_in_which_it_was_held_back() -> None:
    clock = FakeClock()
    kept = ledger(clock)
    clock.wall_at = day_start(NOW) - 1
    held = kept.hold_back(ASKED, "gpt-5", D("0.04"))
    clock.wall_at += 2
    log(kept, ASKED, replace(PAID, reserve_id=held))
    assert (kept.spent_on(NOW - DAY_MS), kept.spent_on(NOW)) == (D("0.01"), D(0))


def test_what_another_process_spends_is_seen_as_soon_as_one_may_write(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with desk(path) as one:
        one.unlock()
        with closing(Ledger.open_writer(path, lambda: NOW)) as two:
            assert two.spent_on(NOW) == 0
            with one.ledger.writing():
                one.ledger.hold_back(ASKED, "gpt-5", D("0.04"))
            with two.writing():
                assert two.spent_on(NOW) == D("0.04")
                two.hold_back(ASKED, "gpt-5", D("0.01"))
            with one.ledger.writing():
                assert one.ledger.spent_on(NOW) == D("0.05")


def test_a_reader_of_an_older_ledger_finds_nothing_spent_and_every_answer(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with with_steps(2):
        grow(path, 6)
    with reading(path) as old:
        assert not old.has("model_calls", "round")
        assert old.spent_on(old.wall()) == 0
        rows = old.db.execute("SELECT trace_id, agent, model, status, reply, facts_json FROM model_calls").fetchall()
        assert rows
        for trace_id, agent, model, status, reply, facts_json in rows:
            said = RecordedModel(old, trace_id).answer(as_asked(old, trace_id, Agent(agent), facts_json))
            assert (said.model, said.status, said.text, said.source) == (model, status, reply, "rules")
            assert (said.usage.cost_basis, said.request, said.body_sha256, said.reserve_id) == (None,) * 4


# Every field.

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).filter(lambda one: "sk-" not in one)
tokens = st.none() | st.integers(0, 10_000_000)
money = st.decimals(0, 1_000, places=9)
usages = st.builds(
    Usage,
    input_tokens=tokens,
    cached_tokens=tokens,
    output_tokens=tokens,
    reasoning_tokens=tokens,
    cost_usd=money,
    cost_basis=st.sampled_from(["usage", "worst case", "not billed", "unpriced"]),
    price=st.none() | st.just({"input": "1.25", "cached": "0.125", "output": "10"}),
)
made = st.builds(
    Answer,
    model=words,
    status=st.sampled_from(["ok", "refused", "unavailable", "over_budget"]),
    text=st.none() | words,
    usage=usages,
    latency_ms=st.integers(0, 10**6),
    attempt=st.integers(1, 3),
    request_id=st.none() | words,
    error=st.none() | words,
    calls=st.lists(st.builds(ToolCall, words, words, words), max_size=3).map(tuple),
    request=st.fixed_dictionaries({"host": words, "temperature": st.none() | st.just(0.5)}),
    body_sha256=st.none() | st.just("0" * 64),
)
KEPT = ledger()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answer=made, held=st.booleans())
def test_every_field_of_an_answer_comes_back_out_of_its_row(answer: Answer, held: bool) -> None:
    if held:
        answer = replace(answer, reserve_id=KEPT.hold_back(ASKED, "gpt-5", D("0.04")))
    call_id, _ = log(KEPT, ASKED, answer)
    assert read_call(row(KEPT, call_id)) == answer


def test_no_field_of_an_answer_is_forgotten_by_the_test_above() -> None:
    drawn = {"model", "status", "text", "usage", "latency_ms", "attempt", "request_id", "error", "calls", "request"}
    elsewhere = {"source", "reserve_id", "body_sha256"}
    not_kept = {"items", "earlier"}  # what only the next request needs, and rows of their own
    assert {one.name for one in fields(Answer)} == {*drawn, *elsewhere, *not_kept}


def test_a_model_in_this_program_leaves_the_columns_of_the_network_empty() -> None:
    kept = ledger()
    answer = Answer("rules", "ok", "{}", source="rules")
    call_id, _ = log(kept, ASKED, answer)
    assert read_call(row(kept, call_id)) == answer
    network = ("round", "request_json", "tools_json", "body_sha256", "cost_basis", "price_json", "reserve_id")
    assert [row(kept, call_id)[name] for name in network] == [None] * 7


def test_a_round_and_what_its_calls_got_are_kept_with_it() -> None:
    kept = ledger()
    calls = (ToolCall("c1", "get_ohlcv", "{}"), ToolCall("c2", "compute_indicators", "{}"))
    asked = replace(ASKED, tools=lookups.TOOLS, turns=(Turn((), ()),))
    call_id, _ = log(kept, asked, replace(PAID, text=None, calls=calls), {"c1": '{"rows":[]}'})
    found = row(kept, call_id)
    assert found["round"] == 1
    assert [one["output"] for one in json.loads(found["tools_json"])] == ['{"rows":[]}', None]
    assert read_call(found).calls == calls


@pytest.mark.parametrize("hostile", ["a\0b", "\ud800", "\x1b[2J", "x" * 100_000])
def test_hostile_words_in_any_field_can_be_written_down(hostile: str) -> None:
    kept = ledger()
    call = ToolCall(hostile, hostile, hostile)
    answer = replace(PAID, model=hostile, text=hostile, error=hostile, request_id=hostile, calls=(call,))
    call_id, _ = log(kept, ASKED, answer)
    assert "\0" not in f"{read_call(row(kept, call_id))}"


# Prompts.


def test_a_prompt_is_kept_once_for_each_version_whoever_asks_how_often() -> None:
    kept = ledger()
    versions = [
        ASKED,
        replace(ASKED, prompt="Be briefer."),
        replace(ASKED, schema={"type": "object", "properties": {}}),
        replace(ASKED, tools=lookups.TOOLS),
        replace(ASKED, tools=lookups.TOOLS[:1]),
        replace(ASKED, tools=(replace(lookups.TOOLS[0], description="Bars."),)),
    ]
    hashes = [log(kept, one, PAID)[1] for one in versions]
    kept.forget()
    other_facts = [replace(one, facts={"price": "1"}, trace_id="t2", max_output_tokens=1) for one in versions]
    assert [log(kept, one, PAID)[1] for one in other_facts] == hashes
    assert len(set(hashes)) == len(versions)
    rows = kept.db.execute("SELECT sha256, prompt, schema_json, tools_json FROM prompts").fetchall()
    assert sorted(one[0] for one in rows) == sorted(hashes)
    assert all(sha256 == prompt_sha256(*worded) for sha256, *worded in rows), "the hash covers all that is kept"


def test_a_prompt_without_tools_has_the_version_it_had_before_there_were_tools() -> None:
    assert tools_text(()) is None
    assert prompt_sha256("p", "{}", None) == text_sha256("p\n{}")
    assert prompt_sha256("p", "{}", tools_text(lookups.TOOLS)) == text_sha256(f"p\n{{}}\n{tools_text(lookups.TOOLS)}")


# Failing.

PROSE = "I would rather say nothing."


def run(scene: Scene, *said: str) -> None:
    """A cycle in which the minds say this, in their order, and no other is asked; time moves on."""
    for agent, words in zip(Agent, said or (plan_words(), proposal_words(), verdict_words()), strict=False):
        scene.model.will_say(agent, words)
    cycle(scene.desk)
    scene.clock.advance(FIVE)


def blind(scene: Scene, cycles: int) -> None:
    """Cycles in which no model is asked, for there are no candles."""
    before = len(scene.model.asked)
    scene.exchange.rows = ()
    for _ in range(cycles):
        cycle(scene.desk)
        scene.clock.advance(FIVE)
    scene.exchange.rows = None
    assert len(scene.model.asked) == before


def test_a_ledger_without_a_model_fails_in_nothing() -> None:
    scene = desk()
    assert scene.ledger.failing() == (0, None)
    blind(scene, 2)
    assert scene.ledger.failing() == (0, None)


def test_cycles_without_a_usable_answer_are_counted_from_the_newest_whichever_agent_failed() -> None:
    scene = desk()
    run(scene)
    for number, said in enumerate(((PROSE,), (plan_words(), PROSE), (plan_words(), proposal_words(), PROSE)), start=1):
        run(scene, *said)
        assert scene.ledger.failing() == (
            number,
            "scripted: the reply is not JSON: Expecting value: line 1 column 1 (char 0)",
        )
    run(scene)
    assert scene.ledger.failing() == (0, None)


def test_the_newest_cause_is_told() -> None:
    scene = desk()
    run(scene, PROSE)
    run(scene, plan_words(), proposal_words(confidence=2))
    assert scene.ledger.failing() == (2, "scripted: wire schema: confidence: 2 is greater than the maximum of 1")


def test_cycles_in_which_no_model_is_asked_neither_count_nor_end_the_row_however_many_they_are() -> None:
    scene = desk()
    run(scene, PROSE)
    run(scene, PROSE)
    blind(scene, LOOK_BACK + 4)
    assert scene.one("SELECT count(*) FROM decisions WHERE source = 'law'") > LOOK_BACK
    assert scene.ledger.failing()[0] == 2
    run(scene, PROSE)
    assert scene.ledger.failing()[0] == 3
    assert scene.one("SELECT count(*) FROM events WHERE data_json LIKE '%MODELS_FAILING%'") == 1
    run(scene, plan_words("OBSERVE"))
    assert scene.ledger.failing() == (0, None)


def test_no_more_cycles_are_counted_than_are_looked_at() -> None:
    scene = desk()
    for _ in range(LOOK_BACK + 2):
        run(scene, PROSE)
    assert scene.ledger.failing()[0] == LOOK_BACK
    assert scene.one("SELECT count(*) FROM events WHERE data_json LIKE '%MODELS_FAILING%'") == 1
