"""`recover`, and its two ways out by hand: what they ask for, what they refuse, what they write."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_schemas import PINNED, kept
from tests.fakes import BTC
from tests.ledgers import ledger_at, rows, scripted_desk
from tests.test_hostile import Say, refused, say
from trader_cli.core.ports import Exchange
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.book import Acceptance, Balances
from trader_cli.schemas.order import Absent, Intent, Report
from trader_cli.views.flatten import acceptance_document, acceptance_lines

__all__ = ["say"]


class Silent:
    """An exchange that takes every order and says nothing of it."""

    def __init__(self, inner: Exchange) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(self, intent: Intent) -> Report:
        self._inner.submit(intent)
        raise TimeoutError("the answer was lost")

    def find(self, intent: Intent) -> Absent:
        return Absent(final=False, evidence="not seen yet")


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger at the usual place with an order whose answer was lost; its client order id."""
    for name, value in PINNED.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "data").mkdir()
    path = ledger_at(tmp_path / "data" / "agent.db")
    with scripted_desk(path) as desk, desk.ledger.writing():
        silent = replace(desk, exchange=Silent(desk.exchange))
        while not desk.ledger.open_orders():
            cycle(silent)
        return desk.ledger.open_orders()[0].intent.client_order_id


LEDGER = Path("data/agent.db")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--settle", "t1-abcdef", "filled"), "need --reason"),
        (("--settle", "t1-abcdef", "filled", "--reason", " "), "need --reason"),
        (("--accept-balances",), "need --reason"),
        (("--accept-balances", "--settle", "t1-abcdef", "filled", "--reason", "x"), "are two steps"),
        (("--settle", "t1-abcdef", "gone", "--reason", "x"), 'was "gone"'),
        (("--settle", "t1-abcdef", "filled", "--reason", "x", "--force"), "--force goes with"),
        (("--force",), "--force goes with"),
        (("--reason", "x"), "--reason goes with"),
        (("--settle", "t1-a", "filled", "--reason", "x"), 'was "t1-a"'),
        (("--settle", "\x1b[2Jt1", "filled", "--reason", "x"), "no unsettled order"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    words: tuple[str, ...], said: str, lost: str, say: Say
) -> None:
    before = rows(LEDGER, "SELECT count(*) FROM order_events")
    refused(say("recover", *words), 8 if said == "no unsettled order" else 2, said)
    assert rows(LEDGER, "SELECT count(*) FROM order_events") == before


def test_what_is_proved_by_now_is_booked_whatever_word_was_given(lost: str, say: Say) -> None:
    done = say("recover", "--settle", lost[:8], "not-placed", "--reason", "I think so", "--json")
    assert (done.code, kept(done.stdout)) == (0, {"trader.recovery/1"})
    (order,) = json.loads(done.stdout)["orders"]
    assert (order["client_order_id"], order["state"]) == (lost, "FILLED")
    refused(say("recover", "--settle", lost[:8], "filled", "--reason", "x"), 8, "every order is settled")
    assert say("ledger", "verify").code == 0


def test_a_rehearsal_changes_no_byte(lost: str, say: Say) -> None:
    before = hashlib.sha256(LEDGER.read_bytes()).hexdigest()
    done = say("recover", "--settle", lost, "filled", "--reason", "x", "--dry-run")
    assert done.code == 0
    assert "Dry run: nothing was written." in done.stderr
    assert hashlib.sha256(LEDGER.read_bytes()).hexdigest() == before


def test_paper_money_has_no_account_to_accept(lost: str, say: Say) -> None:
    refused(say("recover", "--accept-balances", "--reason", "x"), 3, "no account to accept")


def test_what_was_accepted_is_told_and_keeps_the_schema() -> None:
    taken = Acceptance(foreign=Balances(Decimal("0.50"), Decimal(0)), withdrawn=Balances(Decimal(0), Decimal("3.1")))
    document = {"schema": "trader.recovery/1", "dry_run": False, "orders": [], "unsettled": 0}
    assert kept(json.dumps(document | {"accepted": acceptance_document(taken)})) == {"trader.recovery/1"}
    assert acceptance_lines(taken, BTC)[1:] == [
        "  not ours    0.5 BTC and 0 USDT (never traded)",
        "  withdrawn   0 BTC and 3.1 USDT (left our book, at cost)",
    ]


def test_without_a_ledger_there_is_nothing_to_settle(say: Say) -> None:
    refused(say("recover", "--settle", "t1-abcdef", "filled", "--reason", "x"), 8, "no ledger")
