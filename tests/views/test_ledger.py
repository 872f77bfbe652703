"""The audit screens: what a narrow terminal leaves out, and the story of a trace."""

from __future__ import annotations

import json

import pytest

from trader_cli.main import run
from trader_cli.views.ledger import CYCLES
from trader_cli.views.output import fitting

ROW = {
    "ts_utc": "2026-01-01T00:00:00.000Z",
    "trace_id": "ab" * 16,
    "mode": "TRADE",
    "action": "BUY",
    "qty": "0.00103",
    "confidence": 0.64,
    "policy": "rsi_reversion",
    "verdict": "APPROVE",
    "order_state": "FILLED",
    "filled": "0.00103",
    "price": "61600.13",
    "equity": "999.92",
    "why": "RSI 28.1 below 30",
}


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        (200, {column.key for column in CYCLES}),
        (80, {"ts_utc", "trace_id", "action", "qty", "verdict", "price", "equity"}),
        (40, {"ts_utc", "trace_id", "action", "qty", "verdict"}),
    ],
)
def test_a_narrow_terminal_keeps_what_was_done_and_what_it_came_to(width: int, kept: set[str]) -> None:
    assert {column.key for column in fitting(CYCLES, [ROW], width)} == kept


def test_a_trace_tells_the_whole_story_in_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cycle", "-q"]) == 0
    assert run(["ledger", "trace", "last", "--prompts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    begins = ("saw #", "#1 PLANNER", "#2 TRADER", "#3 JUDGE", "order #", "trade #", "snapshot #", "chain links")
    places = [next(n for n, line in enumerate(lines) if line.startswith(begin)) for begin in begins]
    assert places == sorted(places)
    assert sum(line.startswith("  ok  ") for line in lines) == 21
    assert any(line.startswith("PLANNER rules was told {") for line in lines)
    assert any(line.startswith("prompt ") for line in lines)
    assert run(["ledger", "trace", "last", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert [row["agent"] for row in whole["decisions"]] == ["PLANNER", "TRADER", "JUDGE"]
    assert whole["order_events"][-1]["state"] == "FILLED"


def test_what_a_trace_was_decided_under_is_kept_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["loop", "--speed", "fast", "--cycles", "3", "-q"]) == 0
    assert run(["ledger", "trace", "last", "--json"]) == 0
    decisions = json.loads(capsys.readouterr().out)["decisions"]
    assert len({row["terms_sha256"] for row in decisions}) == 1
