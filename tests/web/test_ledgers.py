"""What the server keeps of a ledger: never another ledger's, never what can still change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import grow, ledger_at, plain
from trader_cli import looks
from trader_cli.config import Settings
from trader_cli.core.moments import DAY_MS, day_start, iso
from trader_cli.tools import queries
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.web import ledgers
from trader_cli.web.ledgers import Looking


def looking_at(path: Path, **changes: object) -> Looking:
    """The ledger at a path, with these settings."""
    return Looking(Settings.model_validate({"db_path": path, **changes}))


def test_beliefs_of_a_ledger_that_is_gone_are_not_shown_for_the_next(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "a.db")
    looking = looking_at(path)
    with looking.ledger() as ledger:
        before = looking.memory_lately(ledger)
    grow(tmp_path / "b.db", 1)
    (tmp_path / "b.db").replace(path)
    for more in ("-wal", "-shm"):
        path.with_name(path.name + more).unlink(missing_ok=True)
    with looking.ledger() as ledger:
        after = looking.memory_lately(ledger)
        assert after == looks.memory(ledger)
    assert after != before


def test_limits_are_those_of_the_ledgers_money_whatever_the_server_was_told(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "a.db", 6)
    with plain(path) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("UPDATE meta SET value = 'real' WHERE key = 'mode'")
        raw.commit()
    looking = looking_at(path, deposit_cap_usdt="50")
    with looking.ledger() as ledger:
        found = {one["name"]: one["limit"] for one in looking.limits(ledger)["limits"]}
    assert (found["deposit_cap"], found["daily_loss"]) == ("50", "25")


@pytest.mark.parametrize("hours, kept", [(0.5, False), (2, True)])
def test_a_day_is_kept_once_it_has_been_over_for_an_hour(
    hours: float, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = looking_at(ledger_at(tmp_path / "a.db", 2))
    today = day_start(wall_now())
    monkeypatch.setattr(ledgers, "wall_now", lambda: today + int(hours * 3_600_000))
    asked: list[str] = []
    true = queries.costs

    def counted(ledger: Ledger, first: int, end: int) -> list[queries.Row]:
        asked.append(iso(first)[:10])
        return true(ledger, first, end)

    monkeypatch.setattr(queries, "costs", counted)
    for _ in range(2):
        with looking.ledger() as ledger:
            looking.costs(ledger, today + DAY_MS, 2)
    assert asked.count(iso(today)[:10]) == 2
    assert asked.count(iso(today - DAY_MS)[:10]) == (1 if kept else 2)
