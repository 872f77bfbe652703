"""`why`: the reasons of a trade or a cycle, from the ledger alone."""

from __future__ import annotations

import json
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from tests.desks import desk
from tests.fakes import proposal_words, report, verdict_words
from tests.ledgers import one, plain, rows, tampering
from tests.phases.test_account import KEY, sighting
from tests.test_hostile import EVIL, Say, say
from tests.tools.test_migrations import with_steps
from trader_cli.core.grounding import ungrounded
from trader_cli.phases.account import scan
from trader_cli.phases.execute import execute
from trader_cli.phases.flatten import flatten
from trader_cli.phases.startup import startup
from trader_cli.views.why import why_lines

__all__ = ["say"]

BOUGHT = "SELECT trace_id, id FROM trades WHERE side = 'BUY' ORDER BY id LIMIT 1"
SOLD = "SELECT trace_id, id, idempotency_key FROM trades WHERE side = 'SELL' ORDER BY id LIMIT 1"


def told(say: Say, *words: str) -> list[str]:
    """The lines of the screen."""
    said = say("why", *words)
    assert said.code == 0, said
    return said.stdout.splitlines()


def starts(lines: list[str]) -> list[str]:
    """The labels of the screen, in order."""
    return [line[:11].strip() for line in lines if line[:11].strip()]


def test_a_purchase_tells_its_story_in_order(ledger: Path, say: Say) -> None:
    trace, number = one(ledger, BOUGHT)
    lines = told(say, str(number))
    assert lines[0].startswith(f"{trace[:8]}  BUY ")
    labels = starts(lines)[1:]
    order = [
        "saw", "plan", "believed", "believed", "believed", "proposal", "hypothesis", "verdict", "law", "order",
        "law again", "fill", "outcome", "learnt", "equity", "more",
    ]  # fmt: skip
    assert [label for label in order if label in labels] == order
    assert [labels.index(label) for label in dict.fromkeys(order)] == sorted(
        labels.index(label) for label in dict.fromkeys(order)
    )
    (law,) = [json.loads(words) for (words,) in rows(ledger, "SELECT law_json FROM orders WHERE id = 1")]
    for rule in law["rules"]:
        assert any(f" {rule['name']:<16} " in line for line in lines), rule


def test_a_sale_tells_what_it_closed_and_what_was_learnt(ledger: Path, say: Say) -> None:
    trace, number, key = one(ledger, SOLD)
    document = json.loads(say("why", f"#{number}", "--json").stdout)
    assert document["trace_id"] == trace
    assert {one["experiment"]["closed_by"] for one in document["learnt"]} == {key}
    lines = "\n".join(told(say, key))
    assert "bought by t1-" in lines
    assert " -> " in lines
    assert told(say, key[:12]) == told(say, trace[:6]) == told(say, str(number))


def test_what_is_still_held_is_marked_and_not_counted(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db") as scene:
        scene.traded(proposal_words(hypothesis="RSI 12.3 and a price of 50000"))
    lines = told(say, "last")
    assert any(line.startswith("held ") and line.endswith("not counted yet") for line in lines)
    assert any(line.startswith("UNGROUNDED RSI 12.3: the fact is RSI ") for line in lines), lines


def test_an_order_that_no_decision_made_is_told_as_far_as_it_goes(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db", deposit=None) as scene:
        scene.exchange.key = KEY
        startup(scene.desk)
        scene.exchange.listed = [sighting(scene, "t1-lost", "x9")]
        scene.exchange.found = lambda intent: report(intent, number=9)
        scan(scene.desk)
    lines = told(say, "1")
    assert lines[0].startswith("no cycle  BUY 0.001 @ ")
    assert starts(lines)[1:] == ["order", "fill", "held", "more"]
    assert any("t1-lost  found on the exchange: no decision of this ledger" in line for line in lines)
    assert told(say, "t1-lost") == lines
    document = json.loads(say("why", "#1", "--json").stdout)
    schema = files("trader_cli.schemas.json").joinpath("trader.why.1.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(json.loads(schema)).validate(document)
    assert (document["trace_id"], document["order"]["origin"]) == (None, "recovered")


def test_a_sale_by_hand_says_who_made_it(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db") as scene:
        scene.traded()
        flatten(scene.desk, "out [red]now")
    lines = told(say, "2")
    assert "by an operator's hand" in "\n".join(lines)
    assert any(line.startswith("because") and "out [red]now" in line for line in lines)
    assert "believed" not in starts(lines)
    assert {"outcome", "learnt"} <= set(starts(lines))


def test_what_is_not_there_is_told_with_what_is(ledger: Path, say: Say) -> None:
    last = one(ledger, "SELECT max(id) FROM trades")[0]
    assert f"no trade #999 in this ledger: it has #1 to #{last}" in say("why", "999").stderr


def test_the_screen_fits_80_columns(ledger: Path, say: Say) -> None:
    for (trace,) in rows(ledger, "SELECT DISTINCT trace_id FROM decisions"):
        lines = why_lines(json.loads(say("why", trace, "--json").stdout), 80)
        assert max(map(len, lines)) <= 80, max(lines, key=len)


def test_a_cycle_without_an_order_ends_with_what_kept_it(ledger: Path, say: Say) -> None:
    for sql, said in (
        ("t.payload_json ->> '$.action' = 'HOLD' AND p.payload_json ->> '$.mode' = 'TRADE'", "none: the trader holds"),
        ("p.payload_json ->> '$.mode' = 'OBSERVE'", "none: the plan is OBSERVE"),
    ):
        found = rows(
            ledger,
            "SELECT t.trace_id FROM decisions AS t JOIN decisions AS p ON p.id = t.plan_id "
            f"JOIN decisions AS j ON j.proposal_id = t.id WHERE {sql} LIMIT 1",
        )
        assert any(said in line for line in told(say, found[0][0])), sql
    assert starts(told(say, "last"))[-1] == "more"


def test_a_judge_that_refuses_is_told_with_its_words(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db") as scene:
        scene.judged(verdict=verdict_words("REJECT", None, "no stop in sight", notes="too bold"))
    lines = told(say, "last")
    assert any(line.startswith("verdict    REJECT  by law+") for line in lines)
    assert "violation  judge: no stop in sight" in lines
    assert any("none: the verdict is REJECT: too bold" in line for line in lines), lines


def test_what_the_law_did_not_send_at_the_last_moment_is_told_rule_by_rule(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db") as scene:
        judged = scene.judged()
        scene.exchange.ask = Decimal(50_900)
        execute(scene.desk, *judged)
    lines = told(say, "last")
    assert any(line.startswith("not sent") and "drift" in line for line in lines), lines
    assert any("NO drift" in line for line in lines)
    (step,) = json.loads(say("replay", "last", "--step", "execute", "--json").stdout)["steps"]
    assert (step["same"], step["table"]) == (True, "events")


@pytest.mark.parametrize(
    ("words", "code"),
    [("999", 8), ("#999", 8), ("t1-zzzzzzzzzz", 8), ("t1-z", 2), ("ffffffff", 8), ("ab", 2), ("#x", 2), ("\u0661", 2)],
)
def test_what_is_not_there_is_not_found(words: str, code: int, ledger: Path, say: Say) -> None:
    assert say("why", words).code == code


def test_without_a_ledger_or_a_cycle_there_is_no_reason(say: Say) -> None:
    assert say("why", "last").code == 8
    assert not Path("data").exists()


def test_words_of_a_stranger_are_shown_as_text(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db") as scene:
        scene.traded(proposal_words(hypothesis=EVIL[:120]))
    text = say("why", "last").stdout
    assert "\x1b" not in text
    assert json.loads(say("why", "last", "--json").stdout)["proposal"]["payload"]["hypothesis"] == EVIL[:120]


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE decisions SET payload_json = '{}'",
        "UPDATE decisions SET payload_json = '[1]'",
        "UPDATE decisions SET law_json = '{\"rules\":[7]}' WHERE agent = 'JUDGE'",
        "UPDATE model_calls SET facts_json = '[]'",
        "UPDATE observations SET features_json = '7'",
        "UPDATE memory SET value_json = json_remove(value_json, '$.experiment.net')",
        "UPDATE memory SET value_json = json_set(value_json, '$.after.n', 'many')",
    ],
)
def test_a_row_that_cannot_be_read_is_the_ledgers_fault_and_not_a_bug(ledger: Path, say: Say, forgery: str) -> None:
    number = one(ledger, SOLD)[1]
    with tampering(ledger) as db:
        db.execute(forgery)
    said = say("why", str(number))
    assert said.code == 6, said
    assert "ledger verify" in said.stderr
    assert said.stdout == ""


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_ledger_of_an_older_schema_is_told_as_far_as_it_goes(steps: int, say: Say, tmp_path: Path) -> None:
    from tests.ledgers import grow

    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "agent.db"
    with with_steps(steps):
        grow(path, 8)
    for (number,) in rows(path, "SELECT id FROM trades"):
        assert starts(told(say, str(number)))[-1] == "more"


@pytest.mark.untraced
def test_the_rules_say_no_number_that_the_facts_do_not_bear_out(say: Say, tmp_path: Path) -> None:
    assert say("loop", "--cycles", "400", "--speed", "fast", "-q").code == 0
    with plain(tmp_path / "data" / "agent.db") as db:
        found = db.execute(
            "SELECT d.payload_json ->> '$.hypothesis', c.facts_json FROM decisions AS d "
            "JOIN model_calls AS c ON c.id = d.model_call_id WHERE d.agent = 'TRADER'"
        ).fetchall()
    assert len(found) == 400
    flagged = [(words, claims) for words, facts in found if (claims := ungrounded(words, json.loads(facts)))]
    assert flagged == []
