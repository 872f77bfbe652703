"""The first page in every state: what is worst stands first and in words, and what is not there yet is said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from trader_cli.views.dashboard import Seen, error_page, first_page

NOW = 1_800_000_000_000


@dataclass(frozen=True, slots=True)
class Proved:
    at: int
    checks: int
    failed: tuple[str, ...]
    trouble: str | None = None


def status(**changes: Any) -> dict[str, Any]:
    """A status with everything in order."""
    return {
        "ledger": "data/agent.db",
        "mode": "paper",
        "symbol": "BTC/USDT",
        "market": "simulated:2",
        "state": "RUN",
        "cause": None,
        "cycles": 12,
        "last_cycle_wall_at": "2027-01-15T07:59:00.000Z",
        "next_due_secs": 240,
        "is_late": False,
        "account_differs": None,
        "models_failing_cycles": 0,
        "models_failing": False,
        "models_failure": None,
        "model_cost_today_usd": Decimal("0.1"),
        "model_budget_usd_per_day": Decimal(1),
        "unsettled_orders": [],
        "equity": Decimal(1010),
        "quote": Decimal(1000),
        "base": Decimal("0.1"),
        "deposits": Decimal(1000),
        "realized_pnl": Decimal(9),
        "unrealized_pnl": Decimal(1),
        **changes,
    }


def page(seen: Seen | None = None, **changes: Any) -> str:
    """The first page of a status, or of all that is seen."""
    plain = seen or Seen(NOW, status(**changes), (), (), (), (), (), (), (), None)
    return first_page(plain)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "RUNNING"),
        ({"state": "HALT", "cause": "lunch"}, "STOPPED"),
        ({"state": "REDUCE", "cause": "drawdown"}, "REDUCING"),
        ({"unsettled_orders": ["t1-x"]}, "BLOCKED"),
        ({"account_differs": "0.1 BTC less"}, "ACCOUNT DIFFERS"),
        ({"models_failing": True, "models_failing_cycles": 4, "models_failure": "no answer"}, "MODELS FAILING"),
        ({"next_due_secs": -7_200, "is_late": True}, "STALE"),
        ({"cycles": 0, "last_cycle_wall_at": None, "next_due_secs": None, "equity": None}, "NO CYCLE YET"),
    ],
)
def test_the_state_is_one_word_and_its_cause_stands_below(changes: dict[str, Any], word: str) -> None:
    text = page(**changes)
    assert f">{word}</p>" in text
    assert f"<title>{word} BTC/USDT</title>" in text
    for cause in ("cause", "account_differs", "models_failure"):
        if changes.get(cause):
            assert changes[cause] in text


def test_real_money_is_in_red_and_in_the_title() -> None:
    text = page(mode="real")
    assert '<span class="badge real">REAL</span>' in text
    assert "BTC/USDT REAL</title>" in text
    assert "badge real" not in page()


def test_a_long_ledger_that_is_being_read_says_so_and_asks_again_soon() -> None:
    seen = Seen(NOW, status(), (), (), (), (), (), (), (), None, ready=False)
    assert 'data-soon="yes"' in page(seen)
    assert "data-soon" not in page(replace(seen, ready=True))


def test_the_proof_is_told_with_its_age_and_a_failed_one_by_name() -> None:
    seen = Seen(NOW, status(), (), (), (), (), (), (), (), Proved(NOW - 7_200_000, 24, ()))
    assert "All 24 checks passed 2" in page(seen)
    failed = page(replace(seen, proved=Proved(NOW - 60_000, 24, ("audit chain",))))
    assert 'class="warn"' in failed
    assert "audit chain" in failed
    assert "FAILED 60" in failed
    assert "\\u" not in failed
    assert "trader ledger verify" in page(replace(seen, proved=None, proves=False))
    assert "no lock" in page(replace(seen, proved=Proved(NOW, 0, (), "no lock")))


def test_limits_tell_how_near_they_are() -> None:
    limits = [{"name": "orders_per_day", "used": "18", "limit": "20"}, {"name": "other", "used": "3", "limit": "0"}]
    text = page(Seen(NOW, status(), (), (), (), (), (), limits, (), None))
    assert 'value="0.900"' in text
    assert "18 of 20" in text
    assert 'value="1.000"' in text, "nothing is allowed: it is reached"


def test_what_is_not_there_is_a_page_too() -> None:
    assert "&lt;b&gt;no trace" in error_page(404, "<b>no trace", "Look: trader ledger show")


def test_a_position_is_told_to_its_last_digit() -> None:
    text = page(base=Decimal("0.99999999"))
    assert ">0.99999999<" in text


def test_of_a_cycle_that_failed_one_line_tells_the_worst() -> None:
    row = {"ts_utc": "2027-01-15T07:59:00.000Z", "message": "no answer", "who": "gpt", "trace_id": "ab" * 16}
    rows = [{**row, "kind": "MODEL UNAVAILABLE"}, {**row, "kind": "FALLBACK", "message": "gave up"}]
    text = page(Seen(NOW, status(), (), (), (), (), (), (), [*rows, {**rows[0], "trace_id": None}], None))
    assert "gave up (and 1 more)" in text
    assert text.count("no answer") == 1, "that of no cycle stands for itself"
