"""`trader replay --model` over real HTTP: disagreeing, refusing, broken and expensive models; and offline rules."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import responses_server as rs
from tests.commands.test_schemas import kept
from tests.conftest import Result
from tests.ledgers import rows, sha256, tampering
from tests.live.test_processes import asked
from tests.responses_server import ResponsesServer
from tests.test_hostile import Say, refused, say
from tests.test_signals import ended, running

__all__ = ["say"]

DB = Path("data/agent.db")
CYCLES = 12
ALL = ("replay", "--since", "999d", "--model")
PAID = (*ALL, "gpt-5-mini", "--max-cost", "2")
HOLDS: dict[str, Any] = {"plan": rs.plan(), "proposal": rs.hold(), "verdict": rs.approve()}


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    """A server whose model holds, whatever is asked."""
    with ResponsesServer(otherwise=HOLDS) as listening:
        yield listening


@pytest.fixture
def online(server: ResponsesServer, say: Say, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """`trader` over a ledger that the offline rules made, with settings that lead to the server."""
    assert say("loop", "--cycles", str(CYCLES), "--speed", "fast", "-q").code == 0
    for name, value in {**server.environment, "AGENTS": "auto", "MODEL_TIMEOUT_SECS": "5"}.items():
        monkeypatch.setenv(name, value)
    before, newest = sha256(DB), rows(DB, "SELECT max(seq) FROM audit_chain")
    yield say
    assert sha256(DB) == before
    assert rows(DB, "SELECT max(seq) FROM audit_chain") == newest


def document(said: Result) -> dict[str, Any]:
    assert kept(said.stdout) == {"trader.comparison/1"}
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def questions() -> int:
    """How many were recorded, a round of tools not counted."""
    ((count,),) = rows(DB, "SELECT count(*) FROM model_calls")
    return int(count)


def test_a_model_that_disagrees_is_compared_cycle_by_cycle(online: Say, server: ResponsesServer) -> None:
    said = online(*PAID, "--json")
    found = document(said)
    acted = [action for (action,) in rows(DB, "SELECT payload_json ->> 'action' FROM decisions WHERE agent = 'TRADER'")]
    differ = sum(action != "HOLD" for action in acted)
    assert (said.code, found["whole"], found["compared"], found["cycles"]) == (0, True, CYCLES, CYCLES)
    assert (found["different"], found["same"]) == (differ, CYCLES - differ)
    assert {(one["from"], one["to"]) for one in found["changes"]} <= {("BUY", "HOLD"), ("SELL", "HOLD")}
    assert (found["requests"], len(server.asked())) == (questions(), questions())
    assert server.invalid == []
    assert 0 < float(found["cost_usd"]) < 2
    assert found["cost_known"]
    assert found["equity"]["other"] == found["equity"]["began"] == "1000"
    assert found["equity"]["orders"]["other"] == 0


def test_what_is_asked_is_what_was_asked_then(online: Say, server: ResponsesServer) -> None:
    online(*PAID)
    then = rows(
        DB, "SELECT facts_json, prompt FROM model_calls JOIN prompts ON sha256 = prompt_sha256 ORDER BY model_calls.id"
    )
    now = [(rs.facts(one.body), one.body["instructions"]) for one in server.asked()]
    assert now == [(json.loads(facts), prompt) for facts, prompt in then]


def test_it_says_before_it_asks_what_of_whom_and_for_how_much(online: Say, server: ResponsesServer) -> None:
    said = online("replay", "last", "--model", "gpt-5-mini", "--max-cost", "0.5")
    first, second, third = said.stderr.splitlines()[:3]
    assert first == f"Asking gpt-5-mini at {server.url.split('/')[2]}: 2 recorded questions of 1 cycle."
    assert second.startswith("Asked once each: 0.0")
    assert second.endswith(" USD at worst; at most 0.5 USD (--max-cost).")
    assert third == "They hold market data, position and limits. Nothing is written to the ledger."


def test_a_pipe_gets_a_line_for_each_cycle_and_the_sum_goes_to_stderr(online: Say) -> None:
    said = online(*PAID)
    head, *lines = [line.split("\t") for line in said.stdout.splitlines()]
    assert head == ["trace_id", "ts_utc", "recorded", "other", "same", "not_asked"]
    then = rows(DB, "SELECT trace_id, payload_json ->> 'action' FROM decisions WHERE agent = 'TRADER' ORDER BY id")
    assert [(line[0], line[2], line[3], line[4]) for line in lines] == [
        (trace, action, "HOLD", "yes" if action == "HOLD" else "no") for trace, action in then
    ]
    assert f"{CYCLES} cycles: " in said.stderr
    assert "paper equity" in said.stderr
    assert "both by one rule" in said.stderr
    assert online(*PAID, "-q").stdout == ""


def test_a_paid_model_without_a_ceiling_is_refused_and_nobody_is_asked(online: Say, server: ResponsesServer) -> None:
    refused(online(*ALL, "gpt-5-mini"), 2, "--model needs --max-cost")
    refused(online(*ALL, "gpt-5-mini", "--max-cost", "much"), 2, "--max-cost needs a plain decimal number")
    refused(online(*ALL, "two words", "--max-cost", "1"), 2, "--model must be")
    assert server.requests == []


def test_without_a_key_only_the_rules_can_be_asked(online: Say, server: ResponsesServer, monkeypatch: Any) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    refused(online(*PAID), 3, "--model needs OPENAI_API_KEY")
    assert online(*ALL, "rules").code == 0
    assert server.requests == []


def test_an_expensive_model_ends_at_the_ceiling_and_says_so(online: Say, server: ResponsesServer) -> None:
    said = online(*ALL, "gpt-5", "--max-cost", "0.08", "--json")
    found = document(said)
    assert (said.code, found["whole"]) == (0, False)
    assert "--max-cost is 0.08 USD" in found["ended_because"]
    assert 0 < found["compared"] < CYCLES
    reasons = {one["reason"]: one["count"] for one in found["not_asked"]}
    assert reasons == {"the ceiling was reached": CYCLES - found["compared"]}
    assert float(found["cost_usd"]) <= 0.08
    assert len(server.asked()) < questions()


def test_a_ceiling_below_one_answer_asks_nothing(online: Say, server: ResponsesServer) -> None:
    said = online(*ALL, "gpt-5", "--max-cost", "0")
    assert said.code == 0
    assert "Nothing was compared." in said.stderr
    assert "Not all was asked: --max-cost is 0 USD" in said.stderr
    assert server.requests == []


def test_the_days_budget_binds_a_comparison_too(
    online: Say, server: ResponsesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_BUDGET_USD_PER_DAY", "0.08")
    said = online(*ALL, "gpt-5", "--max-cost", "2", "--json")
    found = document(said)
    assert (said.code, found["whole"]) == (0, False)
    assert "MODEL_BUDGET_USD_PER_DAY is 0.08 USD" in found["ended_because"]
    assert "; at most 0.08 USD (what is left of MODEL_BUDGET_USD_PER_DAY).\n" in said.stderr
    assert 0 < float(found["cost_usd"]) <= 0.08


def test_what_the_ledger_spent_today_is_gone_from_a_comparisons_budget(
    server: ResponsesServer, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**server.environment, "AGENTS": "openai", "MODEL_TIMEOUT_SECS": "5"}.items():
        monkeypatch.setenv(name, value)
    assert say("cycle").code == 0
    ((spent,),) = rows(DB, "SELECT sum(cost_usd) FROM model_calls")
    assert spent > 0
    monkeypatch.setenv("MODEL_BUDGET_USD_PER_DAY", f"{spent:.9f}")
    said = say(*PAID, "--json")
    assert "MODEL_BUDGET_USD_PER_DAY is " in document(said)["ended_because"]
    assert document(said)["cost_usd"] == "0"


def test_a_writer_is_not_held_back_while_a_model_thinks(
    server: ResponsesServer, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert say("loop", "--cycles", "3", "--speed", "fast", "-q").code == 0
    held_back = []

    def meanwhile(body: Any) -> Any:
        with closing(sqlite3.connect(DB, isolation_level=None)) as db:
            db.execute("CREATE TABLE x (a)")
            db.execute("DROP TABLE x")
            held_back.append(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        return rs.plan()

    server.script("plan", meanwhile, meanwhile)
    for name, value in {**server.environment, "AGENTS": "auto", "MODEL_TIMEOUT_SECS": "5"}.items():
        monkeypatch.setenv(name, value)
    assert document(say(*PAID, "--json"))["compared"] == 3
    assert held_back == [0, 0]


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        (rs.wrong_key(), 3, "denied"),
        (rs.no_such_model("gpt-5-mini"), 3, "unknown_model"),
        (rs.out_of_quota(), 5, "quota"),
        (rs.server_error(503, {"x-should-retry": "false"}), 5, "unavailable"),
    ],
    ids=["key", "model", "quota", "unreachable"],
)
def test_a_server_that_fails_on_the_way_ends_it_with_what_was_compared(
    step: Any, code: int, words: str, online: Say, server: ResponsesServer
) -> None:
    server.script("plan", rs.plan(), rs.plan(), step)
    said = online(*PAID, "--json")
    found = document(said)
    assert (said.code, found["compared"], found["whole"]) == (code, 2, False)
    assert words in found["ended_because"]
    error = json.loads(said.stderr.splitlines()[-1])["error"]
    assert "What was compared until then is printed" in error["message"]
    assert server.key not in said.stdout + said.stderr


def test_answers_that_cannot_be_used_are_counted_by_cause_and_hold(online: Say, server: ResponsesServer) -> None:
    server.script("proposal", rs.refusal(), rs.raw_text("I would buy."), rs.incomplete(), rs.buy("-1"))
    server.script("plan", rs.empty())
    found = document(online(*PAID, "--json"))
    causes = [(one["agent"], one["count"]) for one in found["fallbacks"]]
    assert sorted(causes) == [("PLANNER", 1), *[("TRADER", 1)] * 4]
    assert found["compared"] == CYCLES
    assert all(one["other"]["action"] == "HOLD" for one in found["traces"])
    assert sum(len(one["fallbacks"]) for one in found["traces"]) == 5


def test_a_hostile_answer_cannot_write_on_the_screen(online: Say, server: ResponsesServer) -> None:
    server.script("proposal", rs.raw_text('{"\x1b[2J\u202e[red]": 1}'))
    said = online("replay", "last", "--model", "gpt-5-mini", "--max-cost", "1")
    assert (said.code, "\x1b" in said.stderr, "\u202e" in said.stderr) == (0, False, False)


def test_one_cycle_alone_shows_both_sides_step_by_step(online: Say, server: ResponsesServer) -> None:
    (trace,) = rows(DB, "SELECT trace_id FROM decisions WHERE payload_json ->> 'action' = 'BUY' ORDER BY id LIMIT 1")[0]
    lines = online("replay", trace[:8], "--model", "gpt-5-mini", "--max-cost", "1").stderr.splitlines()
    told = {line.split()[0]: line for line in lines if line}
    assert told["recorded"].split() == ["recorded", "gpt-5-mini"]
    assert told["plan"].split() == ["plan", "TRADE", "TRADE"]
    assert told["proposal"].startswith("proposal  BUY 0.")
    assert told["proposal"].endswith("HOLD")


def test_rules_asked_again_agree_fully_offline_and_for_nothing(online: Say, server: ResponsesServer) -> None:
    """Also where chance decides: virtual time's chance follows from the ledger and the trace."""
    found = document(online(*ALL, "rules", "--json"))
    assert (found["compared"], found["same"], found["cost_usd"], found["host"]) == (CYCLES, CYCLES, "0", None)
    assert all(one["same"] == one["compared"] for one in found["agreement"])
    assert found["equity"]["recorded"] == found["equity"]["other"]
    assert server.requests == []


def test_a_ledger_of_a_live_model_is_compared_with_the_rules(server: ResponsesServer, say: Say) -> None:
    env = {**server.environment, "AGENTS": "auto", "MODEL_TIMEOUT_SECS": "5"}
    for _ in range(3):
        assert say("cycle", **env).code == 0
    before, requests = sha256(DB), len(server.requests)
    found = document(say(*ALL, "rules", "--json"))
    assert (found["compared"], len(server.requests), sha256(DB)) == (3, requests, before)
    again = document(say(*PAID, "--json", **env))
    assert (again["same"], again["different"]) == (3, 0)


def test_a_question_that_cannot_be_read_is_the_ledgers_fault(say: Say) -> None:
    assert say("loop", "--cycles", "4", "--speed", "fast", "-q").code == 0
    with tampering(DB) as db:
        db.execute("UPDATE model_calls SET ts_utc = 'never' WHERE agent = 'TRADER' AND id > 4")
    said = say(*ALL, "rules")
    assert said.code == 6
    assert "cannot be read: ValueError" in said.stderr


def test_nothing_to_ask_is_not_found(say: Say) -> None:
    refused(say(*ALL, "rules"), 8, "no ledger at")
    assert say("stop").code == 0
    assert say("cycle").code == 0
    refused(say("replay", "last", "--model", "rules"), 8, "no model was asked anything")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_question_in_flight_with_what_there_is(
    number: signal.Signals, online: Say, server: ResponsesServer, clean_env: dict[str, str]
) -> None:
    env = {**clean_env, **server.environment, "AGENTS": "auto", "MODEL_TIMEOUT_SECS": "20"}
    server.script("plan", rs.plan(), rs.slow(rs.plan(), 1.0))
    with running(env, *PAID, "--json") as process:
        asked(server, 1 + questions_of_the_first())
        process.send_signal(number)
        said = ended(process)
    found = document(said)
    assert (said.code, found["compared"], found["whole"]) == (0, 1, False)
    assert found["ended_because"] == number.name
    assert "Stopping after this step" in said.stderr
    assert len(server.asked()) == 1 + questions_of_the_first()


def questions_of_the_first() -> int:
    ((count,),) = rows(
        DB, "SELECT count(*) FROM model_calls WHERE trace_id = (SELECT trace_id FROM decisions ORDER BY id LIMIT 1)"
    )
    return int(count)
