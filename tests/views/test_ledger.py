"""The audit screens: what a narrow terminal leaves out."""

from __future__ import annotations

import pytest

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
    "fallback": None,
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
