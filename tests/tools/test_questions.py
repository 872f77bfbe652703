"""The recorded questions: to the letter as they were put, with the book before them and the bar after them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from tests.ledgers import grow, ledger_at, reading, rows, wall
from trader_cli.core.moments import parse_iso
from trader_cli.schemas.question import Agent
from trader_cli.tools.calls import prompt_sha256, tools_text
from trader_cli.tools.questions import book_before, load_of, open_after, questions_of, recorded
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.rows import dumps


def traces(path: Path) -> list[str]:
    return [trace for (trace,) in rows(path, "SELECT trace_id FROM decisions WHERE agent = 'PLANNER' ORDER BY id")]


def test_questions_come_back_to_the_letter_once_each_and_in_order(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    seen = set()
    with reading(path) as ledger:
        for trace in traces(path):
            questions = questions_of(ledger, trace)
            agents = [question.agent for question in questions]
            assert agents == [agent for agent in Agent if agent in agents]
            for question in questions:
                put = rows(
                    path,
                    "SELECT prompt_sha256, facts_json, max_output_tokens, ts_utc FROM model_calls "
                    "WHERE trace_id = ? AND agent = ? AND coalesce(round, 0) = 0",
                    trace,
                    question.agent.value,
                )
                sha256 = prompt_sha256(question.prompt, dumps(question.schema), tools_text(question.tools))
                again = sha256, dumps(question.facts), question.max_output_tokens, question.at
                assert {(*one[:3], parse_iso(one[3])) for one in put} == {again}
                assert (question.turns, question.may_call) == ((), False)
                seen.add((question.agent, bool(question.tools)))
    assert seen == {(Agent.PLANNER, False), (Agent.TRADER, True), (Agent.JUDGE, False)}


def test_a_trace_comes_with_its_decisions_and_what_they_stood_on(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger:
        for trace in traces(path):
            was = recorded(ledger, trace)
            assert was is not None
            assert was.proposal is not None
            assert was.verdict is not None
            assert (was.proposal.plan_id, was.verdict.proposal_id) == (was.plan.id, was.proposal.id)
            assert was.terms[0].symbol == "BTC/USDT"
            ((price, equity),) = rows(
                path,
                "SELECT o.price, p.equity_usdt FROM observations AS o JOIN portfolio AS p USING (trace_id) "
                "WHERE o.trace_id = ?",
                trace,
            )
            assert (was.price, was.equity) == (Decimal(price), Decimal(equity))
        assert recorded(ledger, "f" * 32) is None


def test_the_book_before_a_link_is_the_one_of_a_ledger_cut_there(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger:
        links = [link for (link,) in rows(path, "SELECT seq FROM audit_chain ORDER BY seq")]
        for link in links[1::7]:
            cut = rehearse(path, wall, link)
            assert book_before(ledger, link) == cut.book("BTC", "USDT"), link
            cut.close()


def test_the_bar_after_a_moment_is_the_first_that_opens_then_or_later(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    bars = rows(path, "SELECT opened_at, open FROM candles ORDER BY opened_at")
    with reading(path) as ledger:
        for at, opening in bars:
            assert open_after(ledger, parse_iso(at)) == open_after(ledger, parse_iso(at) - 1) == Decimal(opening)
        assert open_after(ledger, parse_iso(bars[-1][0]) + 1) is None


def test_what_there_is_to_ask_is_counted_without_its_rounds_of_tools(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 6)
    (tmp_path / "STOP").write_text("", encoding="utf-8")
    grow(path, 2)
    with reading(path) as ledger:
        questions = [one for trace in traces(path) for one in questions_of(ledger, trace)]
        load = load_of(ledger, traces(path))
    assert load.questions == len(questions)
    assert load.output_tokens == sum(one.max_output_tokens for one in questions)
    words = [(one.prompt, dumps(one.facts), dumps(one.schema), tools_text(one.tools) or "") for one in questions]
    assert load.chars == sum(len(part) for each in words for part in each)
    assert json.loads(words[0][1])["symbol"] == "BTC/USDT"
