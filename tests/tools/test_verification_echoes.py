"""What one row says again of another: a label, fee, time or trace changed in one of them is found by its row."""

# ruff: noqa: S608
from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import ledger_at, one, reading, tampering
from trader_cli.tools.verification import Count
from trader_cli.tools.verification_echoes import echoes

LAST = "(SELECT max(id) FROM orders WHERE side = 'BUY')"
VERDICT = f"(SELECT verdict_id FROM orders WHERE id = {LAST})"
TRACE = f"(SELECT trace_id FROM orders WHERE id = {LAST})"

FORGERIES = {
    "a BUY that calls itself an operator's": (
        [f"UPDATE orders SET origin = 'operator' WHERE id = {LAST}"],
        "origin is operator, its plan, proposal and verdict are by",
    ),
    "a verdict that calls itself an operator's": (
        [f"UPDATE decisions SET source = 'operator' WHERE id = {VERDICT}"],
        "origin is verdict, its plan, proposal and verdict are by",
    ),
    "a whole lineage of a BUY that calls itself an operator's": (
        [
            f"UPDATE decisions SET source = 'operator' WHERE trace_id = {TRACE}",
            f"UPDATE orders SET origin = 'operator' WHERE id = {LAST}",
        ],
        "BUY by an operator, who only sells",
    ),
    "an order that calls itself recovered": (
        [f"UPDATE orders SET origin = 'recovered', proposal_id = NULL, verdict_id = NULL WHERE id = {LAST}"],
        "origin is recovered, though it stands on a trace of this ledger",
    ),
    "the fee of a trade": (["UPDATE trades SET fee = '7' WHERE id = 3"], "trade 3: fee is 7, its fills say "),
    "the exchange's name of a trade": (["UPDATE trades SET order_id = 'x' WHERE id = 3"], "trade 3: order_id is x, "),
    "a wake-up": (
        ["UPDATE decisions SET wake_at = '2027-01-01T00:00:00.000Z' WHERE id = 37"],
        "decision 37: wake_at is 2027-01-01T00:00:00.000Z, its plan says ",
    ),
    "a later observation": (
        ["UPDATE decisions SET observation_id = observation_id + 1 WHERE id = 37"],
        "decision 37 stands on an observation of ",
    ),
    "the symbol of a snapshot": (
        ["UPDATE portfolio SET symbol = 'DOGE/USDT' WHERE id = 5"],
        "snapshot 5: symbol is DOGE/USDT, the ledger is for BTC/USDT",
    ),
    "the revision of a bar": (["UPDATE candles SET revision = 5 WHERE id = 110"], "candle 110 ("),
    "a fill that the paper exchange never made": (
        ["UPDATE fills SET trade_id = 'x' WHERE id = 2"],
        "paper order 1: its fills are ",
    ),
}


def told(path: Path) -> list[str]:
    """What the check says of the ledger at `path`."""
    with reading(path) as ledger:
        return list(echoes(ledger, Count()))


def test_a_grown_ledger_says_the_same_everywhere_and_all_of_it_is_looked_at(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    count = Count()
    with reading(path) as ledger:
        assert list(echoes(ledger, count)) == []
    assert count.seen > one(path, "SELECT count(*) FROM decisions")[0]


@pytest.mark.parametrize("name", FORGERIES)
def test_a_row_that_contradicts_another_is_named_with_both_words(tmp_path: Path, name: str) -> None:
    path = ledger_at(tmp_path / "agent.db")
    edits, words = FORGERIES[name]
    with tampering(path) as db:
        for edit in edits:
            assert db.execute(edit).rowcount > 0
    assert any(words in line for line in told(path)), told(path)
