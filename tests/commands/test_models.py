"""`trader models`: which are used, what they cost, until when they exist; and what is said aloud."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.test_hostile import COLOUR, Say, refused, say, seen
from trader_cli.commands.models import models_document
from trader_cli.config import Settings
from trader_cli.core.moments import DAY_MS, parse_iso
from trader_cli.schemas.question import Agent
from trader_cli.tools.clock import wall_now
from trader_cli.tools.models.table import AS_OF, TABLE, default_model
from trader_cli.views.models import columns, rows
from trader_cli.views.output import fitting
from trader_cli.wiring import models_in_use

__all__ = ["say"]

GONE = parse_iso("2026-12-11")
EARLY = parse_iso("2026-03-01")
THINKING = Settings(agents="openai", openai_api_key=SecretStr("sk-0123456789"))
HEADER = "model\tused_by\teffort\ttemperature\tinput_usd\tcached_usd\toutput_usd\tshutdown\tsuccessor"


def named(document: dict[str, Any], name: str) -> dict[str, Any]:
    """One model of a document."""
    found: dict[str, Any] = next(row for row in document["models"] if row["model"] == name)
    return found


def drawn(document: dict[str, Any], width: int) -> list[str]:
    """The headings for which a terminal has room."""
    return [column.heading for column in fitting(columns(document), list(rows(document)), width)]


def test_the_models_in_use_stand_first() -> None:
    document = models_document(THINKING, EARLY)
    assert document["used"] == {"planner": "gpt-5-mini", "trader": "gpt-5", "judge": "gpt-5-mini"}
    assert [(row["model"], row["used_by"]) for row in document["models"]][:3] == [
        ("gpt-5-mini", ["planner", "judge"]),
        ("gpt-5", ["trader"]),
        ("gpt-5-nano", []),
    ]
    assert sorted(row["model"] for row in document["models"]) == sorted(TABLE)
    assert document["notes"] == []


def test_a_setting_names_an_agents_model_and_the_day_the_others() -> None:
    settings = THINKING.model_copy(update={"openai_model_trader": "gpt-6-luna"})
    assert models_in_use(settings, EARLY) == {
        Agent.PLANNER: "gpt-5-mini",
        Agent.TRADER: "gpt-6-luna",
        Agent.JUDGE: "gpt-5-mini",
    }
    assert models_in_use(settings, GONE) == {
        Agent.PLANNER: "gpt-5.6-terra",
        Agent.TRADER: "gpt-6-luna",
        Agent.JUDGE: "gpt-5.6-terra",
    }


def test_before_a_shutdown_and_after_it_is_said_what_becomes_of_the_model() -> None:
    soon, late = models_document(THINKING, GONE - 16 * DAY_MS), models_document(THINKING, GONE)
    assert named(soon, "gpt-5")["shutdown_in_days"] == 16
    assert 'shuts down on 2026-12-11, in 16 days; then "gpt-5.6-terra"' in soon["notes"][0]
    assert late["used"]["trader"] == "gpt-5.6-sol"
    assert 'has taken the place of "gpt-5-mini" since its shutdown on 2026-12-11' in late["notes"][0]


@pytest.mark.parametrize(
    ("on", "shown"),
    [
        (GONE - 61 * DAY_MS, "2026-12-11"),
        (GONE - 60 * DAY_MS, "2026-12-11 in 60 days"),
        (GONE - 1, "2026-12-11 in 1 day"),
        (GONE, "2026-12-11 gone"),
    ],
)
def test_a_terminal_shows_the_days_that_are_left(on: int, shown: str) -> None:
    column = next(column for column in columns(models_document(THINKING, on)) if column.key == "shutdown")
    assert column.brief is not None
    assert column.brief("2026-12-11") == shown


def test_a_narrow_terminal_keeps_who_uses_what_at_which_price_until_when() -> None:
    document = models_document(THINKING, GONE - 16 * DAY_MS)
    left_out = {"EFFORT", "TEMPERATURE", "SUCCESSOR"}
    every = [column.heading for column in columns(document)]
    assert drawn(document, 80) == [heading for heading in every if heading not in left_out]
    assert drawn(document, 100) == [heading for heading in every if heading != "EFFORT"]
    assert drawn(document, 140) == every


def test_a_model_that_nobody_knows_is_listed_and_said_to_be_unpriced(say: Say) -> None:
    said = say("models", OPENAI_MODEL_JUDGE="my/model:7b", AGENTS="openai", OPENAI_API_KEY="sk-0123456789")
    assert said.code == 0
    assert "my/model:7b\tjudge\t\t\t\t\t\t\t" in said.stdout.splitlines()
    assert f'"my/model:7b" (judge) has no price in this version\'s table (as of {AS_OF})' in said.stderr


def test_in_a_pipe_every_model_is_a_line_of_whole_values(say: Say) -> None:
    header, *lines = say("models").stdout.splitlines()
    assert header == HEADER
    assert len(lines) == len(TABLE)
    assert "gpt-6-astra\t\tlow medium high xhigh max\tnever\t10\t1\t50\t\t" in lines


def test_as_json_it_is_one_document_with_prices_as_text(say: Say) -> None:
    document = json.loads(say("models", "--json").stdout)
    assert (document["schema"], document["as_of"]) == ("trader.models/1", AS_OF)
    assert document["used"] == {agent.value.lower(): default_model(agent, wall_now()) for agent in Agent}
    assert named(document, "gpt-5.6-terra")["price"] == {
        "input": "2",
        "cached": "0.2",
        "output": "12",
        "cache_write": "2.5",
    }
    assert named(document, "gpt-5")["price"]["cache_write"] == "1.25"


@pytest.mark.parametrize("width", [20, 80, 100, 200])
def test_a_terminal_of_any_width_gets_a_table_with_its_legend(
    width: int, clean_env: dict[str, str], tmp_path: Path
) -> None:
    code, shown = seen(clean_env, tmp_path, width, "models")
    assert code == 0
    screen = COLOUR.sub("", shown)
    assert f"Prices: USD per million tokens, as of {AS_OF}." in screen
    if width >= 80:
        assert "MODEL          USED BY" in screen
        assert max(len(line) for line in screen.splitlines() if line.startswith("gpt-")) <= width


def test_while_the_rules_decide_it_says_that_no_model_is_asked(say: Say) -> None:
    assert "Note: AGENTS=rules: the offline rules decide" in say("models").stderr
    assert "Note: OPENAI_API_KEY is not set: the offline rules decide" in say("models", AGENTS="auto").stderr
    asked = say("models", AGENTS="auto", OPENAI_API_KEY="sk-0123456789", OPENAI_BASE_URL="http://127.0.0.1:8000/v1")
    assert "offline rules" not in asked.stderr
    assert 'the prices are OpenAI\'s own; OPENAI_BASE_URL is "http://127.0.0.1:8000/v1"' in asked.stderr
    assert "sk-" not in asked.stdout + asked.stderr


def test_quiet_is_quiet(say: Say) -> None:
    said = say("models", "-q")
    assert (said.code, said.stdout, said.stderr) == (0, "", "")


def test_wrong_settings_and_words_are_refused(say: Say) -> None:
    refused(say("models", OPENAI_MODEL_TRADER="sk-0123456789abcdef"), 3, "OPENAI_MODEL_TRADER must be a model's name")
    refused(say("models", OPENAI_BASE_URL="http://example.org"), 3, "plain http only to this machine")
    assert say("models", "gpt-5").code == 2


def test_it_needs_no_ledger_and_makes_none_and_loads_no_sdk(clean_env: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from trader_cli.main import run; assert run(['models', '-q']) == 0;"
        "print([m for m in ('openai', 'httpx2', 'rich.table', 'jsonschema') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []
