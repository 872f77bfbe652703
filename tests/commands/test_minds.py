"""What the commands say of models: the exact request, who pays, what it cost, whether they fail; and replays."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.live.scenes import GOOD
from tests.responses_server import ResponsesServer, raw_text
from tests.test_hostile import Say, say
from trader_cli.config import Settings
from trader_cli.tools.models.purse import Tariff
from trader_cli.tools.models.table import dearest
from trader_cli.wiring import tariff

__all__ = ["say"]

DB = "data/agent.db"


def one(sql: str) -> object:
    with closing(sqlite3.connect(DB)) as db:
        return db.execute(sql).fetchone()[0]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ResponsesServer]:
    """A server that answers well, and settings that lead to it."""
    with ResponsesServer(otherwise=GOOD) as running:
        for name, value in {**running.environment, "AGENTS": "auto"}.items():
            monkeypatch.setenv(name, value)
        yield running
        assert running.invalid == []


# --- the exact request


def test_the_request_that_is_shown_is_the_one_that_is_sent(server: ResponsesServer, say: Say) -> None:
    shown = {}
    for step in ("plan", "propose", "judge"):
        said = say(step, "--show-prompt")
        assert (said.code, "Nothing was sent" in said.stderr) == (0, True)
        shown[step] = json.loads(said.stdout)
        assert say(step, "--json").code == 0
    assert [request.body for request in server.asked()] == list(shown.values())
    assert one("SELECT count(*) FROM decisions") == 3


def test_a_request_can_be_seen_without_a_key_and_says_who_answers_instead(say: Say, tmp_path: Path) -> None:
    said = say("plan", "--show-prompt", "--json")
    document = json.loads(said.stdout)
    assert (document["schema"], document["agent"], document["cause"]) == ("trader.prompt/1", "PLANNER", None)
    assert document["request"]["model"] == "gpt-5-mini"
    assert "the offline rules model answers instead" in said.stderr
    assert list(tmp_path.glob("data/*.db")) == []


def test_where_nothing_would_be_asked_it_says_why_and_shows_nothing(say: Say) -> None:
    Path("data").mkdir()
    Path("data/STOP").write_text("lunch", encoding="utf-8")
    said = say("plan", "--show-prompt")
    assert (said.code, said.stdout) == (8, "")
    assert "no request would be made: stopped: lunch" in said.stderr


# --- who pays


def test_a_fast_loop_asks_nobody_although_there_is_a_key(server: ResponsesServer, say: Say) -> None:
    said = say("loop", "--cycles", "2", "--speed", "fast")
    assert said.code == 0
    assert "--speed fast pays for no model: the offline rules model decides" in said.stderr
    assert server.asked() == []
    assert one("SELECT count(*) FROM model_calls WHERE model = 'rules'")


def test_a_fast_loop_pays_for_the_model_that_is_named_up_to_the_cost_that_is_named(
    server: ResponsesServer, say: Say
) -> None:
    said = say("loop", "--cycles", "30", "--speed", "fast", "--model", "gpt-5-mini", "--max-cost", "0.02")
    assert said.code == 0
    assert {request.body["model"] for request in server.asked()} == {"gpt-5-mini"}
    spent = Decimal(str(one("SELECT sum(cost_usd) FROM model_calls")))
    assert Decimal("0.01") < spent <= Decimal("0.02")
    assert one("SELECT count(*) FROM decisions WHERE cause LIKE '%over_budget: --max-cost is 0.02 USD%'")
    assert one("SELECT count(*) FROM decisions WHERE agent = 'PLANNER'") == 30


@pytest.mark.parametrize("words", [("--model", "gpt-5"), ("--max-cost", "1")])
def test_half_a_permission_to_pay_is_none(words: tuple[str, str], server: ResponsesServer, say: Say) -> None:
    said = say("loop", "--cycles", "1", "--speed", "fast", *words)
    assert said.code == 2
    assert "only with both --model and --max-cost" in said.stderr
    assert server.asked() == []


@pytest.mark.parametrize("words", ["5,0", "nan", "inf", "-1", "", "1e99", "much"])
def test_a_cost_that_is_no_amount_is_refused(words: str, say: Say) -> None:
    said = say("loop", "--cycles", "1", "--max-cost", words)
    assert (said.code, "--max-cost" in said.stderr) == (2, True)


@pytest.mark.parametrize("name", ["", "sk-abcdefghijkl", "a model", "\x1b[2J"])
def test_a_name_that_is_no_models_is_refused(name: str, say: Say) -> None:
    assert say("loop", "--cycles", "1", "--model", name, AGENTS="auto").code == 2


def test_a_model_needs_a_key_and_an_agent_that_may_pay(say: Say) -> None:
    said = say("loop", "--cycles", "1", "--model", "gpt-5", AGENTS="auto")
    assert (said.code, "--model needs OPENAI_API_KEY" in said.stderr) == (3, True)
    said = say("cycle", AGENTS="openai")
    assert (said.code, "AGENTS=openai needs OPENAI_API_KEY" in said.stderr) == (3, True)
    said = say("loop", "--cycles", "1", "--model", "gpt-5", AGENTS="rules")
    assert (said.code, "AGENTS=rules" in said.stderr) == (2, True)


# --- what is shown of them


def test_the_opening_names_models_host_budget_and_the_day_they_end(server: ResponsesServer, say: Say) -> None:
    said = say("loop", "--cycles", "1")
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert f"models gpt-5-mini/gpt-5/gpt-5-mini at {host}" in said.stderr
    assert f"go to {host}; at most 1 USD a day" in said.stderr


def test_status_says_what_was_spent_today_of_what(server: ResponsesServer, say: Say) -> None:
    assert json.loads(say("cycle", "--json").stdout)["cost_usd"] != "0"
    document = json.loads(say("status", "--json").stdout)
    assert Decimal(document["model_cost_today_usd"]) == sum(
        Decimal(cost) for cost in json.loads(str(one("SELECT json_group_array(cost_usd) FROM model_calls")))
    )
    assert (document["model_budget_usd_per_day"], document["models_failing_cycles"]) == ("1", 0)
    assert " of 1 USD spent today" in say("status").stdout
    assert len(server.asked()) == 3


def test_a_fallback_is_told_from_a_decided_observe_everywhere(server: ResponsesServer, say: Say) -> None:
    for number in (1, 2, 3):
        server.script("plan", raw_text("I would rather not."))
        document = json.loads(say("cycle", "--json").stdout)
        assert document["plan"]["source"] == "fallback"
        assert document["fallback"].startswith("gpt-5-mini: the reply is not JSON")
        state = json.loads(say("status", "--json").stdout)
        assert (state["models_failing_cycles"], state["models_failing"]) == (number, number >= 3)
    assert "MODELS FAILING for 3 cycles" in say("status").stdout
    assert "MODELS FAILING" in say("status", "--short").stdout
    assert "FALLBACK" in say("ledger", "show").stdout + say("ledger", "show", "--errors").stdout
    assert one("SELECT data_json ->> '$.code' FROM events WHERE kind = 'ERROR'") == "MODELS_FAILING"
    assert say("cycle").code == 0
    assert json.loads(say("status", "--json").stdout)["models_failing_cycles"] == 0
    assert server.unplayed == {}


# --- replays


def test_a_replay_asks_nothing_and_comes_to_the_same(server: ResponsesServer, say: Say) -> None:
    assert say("cycle").code == 0
    asked, before = len(server.asked()), Path(DB).read_bytes()
    for step in ("plan", "propose", "judge"):
        document = json.loads(say("replay", "last", "--step", step, "--json").stdout)
        (only,) = document["steps"]
        assert (document["same"], only["step"], only["recorded_answers"]) == (True, step, 1)
        assert only["recorded"] == only["replayed"]
    whole = say("replay", "last").stdout
    assert whole.count("same ") == 5
    assert "5 of 5 steps reproduced, byte for byte" in whole
    assert "1 cycles  5 of 5 steps reproduced" in say("replay", "--since", "7d").stdout
    assert len(server.asked()) == asked
    assert Path(DB).read_bytes() == before


def test_a_replay_that_differs_says_where_and_ends_with_9(say: Say) -> None:
    assert say("cycle").code == 0
    with closing(sqlite3.connect(DB, isolation_level=None)) as db:
        db.execute("DROP TRIGGER model_calls_no_update")
        db.execute("UPDATE model_calls SET facts_json = json_set(facts_json, '$.price', '1') WHERE agent = 'PLANNER'")
    said = say("replay", "last", "--step", "plan")
    assert said.code == 9
    assert "DIFFERS" in said.stdout
    assert "the fact price is" in said.stdout
    assert "1 of 1 steps came out differently" in said.stdout
    assert "the first difference: plan of" in said.stderr


def test_a_replay_of_nothing_is_not_found(say: Say) -> None:
    assert say("replay", "last").code == 8
    assert say("cycle").code == 0
    assert say("replay", "ffffffff").code == 8
    assert say("replay", "last", "--step", "sing").code == 2
    assert say("replay", "--since", "2999-01-01").code == 8


@pytest.mark.parametrize(
    "words",
    [(), ("last", "--since", "7d"), ("last", "--to", "7d"), ("last", "--max-cost", "1"),
     ("last", "--model", "rules", "--step", "plan"), ("--since", "yesterdayy")],
)  # fmt: skip
def test_options_of_a_replay_that_do_not_go_together_are_usage(words: tuple[str, ...], say: Say) -> None:
    assert say("cycle").code == 0
    assert say("replay", *words).code == 2


@pytest.mark.parametrize("url", [None, "https://api.openai.com/v1", "https://API.openai.com/v1"])
def test_a_model_without_a_price_costs_the_dearest_at_openai_however_it_is_named(url: str | None) -> None:
    settings = Settings(openai_api_key=SecretStr("sk-abcdefghijklmnop"), openai_base_url=url)
    assert tariff(settings, "gpt-7") == Tariff(dearest(), known=False)
    elsewhere = Settings(openai_api_key=SecretStr("sk-abcdefghijklmnop"), openai_base_url="http://127.0.0.1:1/v1")
    assert tariff(elsewhere, "gpt-7") == Tariff(None, known=False)
