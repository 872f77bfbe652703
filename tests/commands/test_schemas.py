"""Every `--json` document names its schema, the schema is shipped with the package, and the document keeps it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.conftest import ROOT
from tests.ledgers import Mute, ledger_at, rows, scripted_desk
from tests.test_hostile import Say, say
from trader_cli.phases.cycle import cycle

__all__ = ["say"]

SCHEMAS: dict[str, dict[str, Any]] = {
    file.name: json.loads(file.read_text(encoding="utf-8"))
    for file in files("trader_cli").joinpath("schemas", "json").iterdir()
}
"""The schemas as an installed package finds them, by file name."""

PINNED = {"PAPER_BALANCE_USDT": "1000000", "MAX_ORDERS_PER_DAY": "1000", "SIMULATED_SEED": "3", "OHLCV_LIMIT": "100"}
"""The settings that the grown ledgers are pinned to, and some more."""

READS = (
    *(
        "doctor",
        "doctor --offline",
        "metrics",
        "health",
        "status",
        "status --short",
        "ledger verify",
        "ledger tail -n 0",
        "ledger tail -n 30",
    ),
    *("ledger show -n 0", "ledger show -n 0 -o wide", "ledger show --trades", "ledger show --errors -n 0"),
    *("ledger show --agent PLANNER", "ledger show --agent TRADER -n 0", "ledger show --agent JUDGE"),
    *("replay --since 999d --model rules",),
    *("report", "report --since 1h", "backtest --simulated 7 --bars 30 -o runs"),
    "backtest --bars 30 -o runs --sweep g.toml",
    *("why last", "why 1", "memory show", "memory show --policy ma_trend"),
    *("replay last", "replay --since 999d", "recover --dry-run", "plan --dry-run", "cycle --dry-run", "stop --dry-run"),
    *("ledger stats", "ledger path", "ledger query select+1", "ledger export trades", "ledger export lots"),
    *("ledger export returns", "ledger export decisions", "ledger export cycles -o cycles.csv"),
    *(
        "models",
        "gate test",
        "config show",
        "config check",
        "config example",
        "--version",
        "--version -v",
        "init --env-file x.env",
    ),
)
WRITES = (
    *(
        "plan --show-prompt",
        "plan",
        "propose --dry-run",
        "propose",
        "judge --dry-run",
        "judge",
        "execute --dry-run",
        "execute",
        "execute",
    ),
    *("snapshot --dry-run", "snapshot", "cycle", "loop --cycles 3 --speed fast", "recover"),
    *("stop --reason x", "stop", "stop --flatten --dry-run", "stop --flatten", "stop --flatten", "status", "cycle"),
    *("resume --reason x", "status", "ledger backup", "ledger backup b.db", "ledger anchor -o a.jsonl"),
    *("ledger verify --anchors a.jsonl", "ledger restore b.db --dry-run", "ledger restore b.db", "recover"),
)
ERRORS = ("ledger trace zzzz", "ledger trace", "statsu", "status --db no.db", "resume --reason=", "ledger show -n x")


def kept(printed: str) -> set[str]:
    """The schemas named in what was printed, one document a line, each kept by its document."""
    names = set()
    for line in printed.splitlines():
        document = json.loads(line)
        assert next(iter(document)) == "schema", line
        names.add(document["schema"])
        schema = SCHEMAS[f"{document['schema'].replace('/', '.')}.json"]
        problems = [f"{one.json_path}: {one.message}" for one in Draft202012Validator(schema).iter_errors(document)]
        assert problems == [], line
    return names


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The grown ledger at the usual place: trades, holds, fallbacks, refused and revised orders."""
    for name, value in PINNED.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "data").mkdir()
    return ledger_at(tmp_path / "data" / "agent.db")


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_its_file_is_named_for_it(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$schema"]
    assert name == f"{schema['title'].replace('/', '.')}.json"
    assert schema["properties"]["schema"] == {"const": schema["title"]}
    assert "schema" in schema["required"]
    assert "additionalProperties" not in schema, "new fields may be added"


def test_every_schema_that_the_program_names_is_shipped_and_no_other() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "trader_cli").rglob("*.py"))
    named = set(re.findall(r"\btrader(?:\.[a-z]+)+/[0-9]+", source)) | {"trader.plan/1", "trader.proposal/1"}
    named |= {"trader.verdict/1", "trader.orders/1", "trader.portfolio/1"}
    assert named == {schema["title"] for schema in SCHEMAS.values()}


def test_every_command_keeps_the_schema_it_names(ledger: Path, say: Say) -> None:
    seen = set()
    Path("g.toml").write_text("[policy.coin]\nseed = [1, 2]\n", encoding="utf-8")
    for words in (*READS, *WRITES):
        said = say(*words.split(), "--json")
        assert said.code == 0, (words, said)
        seen |= kept(said.stdout)
    for words in ERRORS:
        said = say(*words.split(" "), "--json")
        assert (said.code > 0, said.stdout) == (True, ""), (words, said)
        seen |= kept(said.stderr)
    seen |= kept(say("ledger", "trace", "last", "--out", "seen", "--json").stdout) | {"trader.trace/1"}
    unseen = {schema["title"] for schema in SCHEMAS.values()} - seen
    served = {f"trader.{name}/1" for name in ("costs", "equity", "limits", "orders", "portfolio", "serve")}
    assert unseen <= {"trader.rows/1", "trader.news/1"} | served  # what is served: tests/web; news: tests/test_news.py


def test_every_trace_keeps_its_schema(ledger: Path, say: Say) -> None:
    for (trace_id,) in rows(ledger, "SELECT DISTINCT trace_id FROM decisions"):
        assert kept(say("ledger", "trace", trace_id, "--json").stdout) == {"trader.trace/1"}
    assert kept(say("ledger", "trace", "last", "--prompts", "--json").stdout) == {"trader.trace/1"}


def test_an_order_whose_outcome_is_not_known_keeps_the_schemas_too(ledger: Path, say: Say) -> None:
    with scripted_desk(ledger) as desk, desk.ledger.writing():
        silent = replace(desk, exchange=Mute(desk.exchange))
        while not desk.ledger.open_orders():
            cycle(silent)
    for words in ("status", "ledger trace last", "ledger show", "cycle --dry-run", "recover", "cycle", "status"):
        said = say(*words.split(), "--json")
        assert said.code in (0, 10), (words, said)
        assert kept(said.stdout)


def test_a_ledger_without_a_cycle_gives_documents_without_rows(say: Say) -> None:
    assert say("stop").code == 0
    assert say("snapshot").code == 0
    for words in ("ledger show", "ledger show --trades", "ledger show --errors", "status", "ledger verify"):
        assert kept(say(*words.split(), "--json").stdout), words
    assert json.loads(say("ledger", "show", "--json").stdout) == {"schema": "trader.cycles/1", "cycles": []}


def test_money_as_a_number_or_with_an_exponent_breaks_the_schema() -> None:
    settled = {"schema": "trader.status/1", "equity": None}
    check = Draft202012Validator({**SCHEMAS["trader.status.1.json"], "required": []})
    assert check.is_valid(settled | {"equity": "-0.00000001"})
    for money in (1, 1.5, "5e-05", "1,5", "NaN", "", "1."):
        assert not check.is_valid(settled | {"equity": money})
