"""The check of memory: every row follows from the sales, none is missing, and none is one too many."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ledgers import grow, ledger_at, one, plain, reading, rows, scripted_desk, tampering
from tests.phases.test_audit import seal_anew
from tests.tools.test_migrations import with_steps
from trader_cli.phases.execute import execute
from trader_cli.phases.judge import judge
from trader_cli.phases.plan import plan
from trader_cli.phases.propose import propose
from trader_cli.phases.snapshot import snapshot
from trader_cli.tools.verification import Count, verify
from trader_cli.tools.verification_memory import outcomes

LEARNT = "SELECT ts_utc, key, value_json FROM memory ORDER BY id"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A grown ledger, closed."""
    return ledger_at(tmp_path / "agent.db")


def check(path: Path) -> tuple[list[str], int]:
    """What is wrong with memory, and how many rows were looked at."""
    count = Count()
    with reading(path) as ledger:
        return list(outcomes(ledger, count)), count.seen


def forge(path: Path, *statements: str) -> None:
    """Edit rows and seal the chain anew."""
    with tampering(path) as db:
        for statement in statements:
            db.execute(statement)
        seal_anew(db)


def learns(path: Path) -> None:
    """What the next writing command does."""
    with scripted_desk(path) as desk, desk.ledger.writing():
        snapshot(desk)


def test_a_grown_ledgers_memory_follows_from_its_sales(path: Path) -> None:
    (kept,) = one(path, "SELECT count(*) FROM memory")
    assert check(path) == ([], kept)
    assert kept > 3


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("$.experiment.policy_id", "breakout"),
        ("$.experiment.params.fast", 8),
        ("$.experiment.regime", "undefined"),
        ("$.experiment.hypothesis", "it always rises"),
        ("$.experiment.confidence", 0.99),
        ("$.experiment.opened_by", "t1-nobody"),
        ("$.experiment.closed_at", "2030-01-01T00:00:00.000Z"),
        ("$.experiment.share", 0.5),
        ("$.experiment.cost", "1"),
        ("$.experiment.proceeds", "1000000"),
        ("$.experiment.model_cost_usd", "3"),
        ("$.experiment.net", "1000000"),
        ("$.experiment.net_bp", 1.5),
        ("$.before", {}),
        ("$.after.mean_bp", 12.5),
        ("$.after.count", 77),
        ("$.ignored", "the cap"),
    ],
)
def test_no_part_of_an_outcome_can_be_edited(path: Path, place: str, value: object) -> None:
    with tampering(path) as db:
        edit = "UPDATE memory SET value_json = json_set(value_json, ?, json(?)) WHERE id = 2"
        db.execute(edit, (place, json.dumps(value)))
        seal_anew(db)
    (said,), _ = check(path)
    assert said.startswith("memory 2: value_json is …")
    key = one(path, "SELECT value_json ->> '$.experiment.closed_by' FROM memory WHERE id = 2")[0]
    assert f"the sale {key} of what " in said


def test_a_forged_row_does_not_make_the_rows_after_it_wrong(path: Path) -> None:
    """What follows is worked out from the sales, not from the row before."""
    forge(path, "UPDATE memory SET value_json = json_set(value_json, '$.after.n', 99.5) WHERE id = 1")
    assert [words[:9] for words in check(path)[0]] == ["memory 1:"]


@pytest.mark.parametrize("gone", [{1}, {3}, {-1}, {3, 4, 5, -1}, None], ids=str)
def test_rows_that_are_gone_are_missed_even_all_of_them(path: Path, gone: set[int] | None) -> None:
    kept = [row_id for (row_id,) in rows(path, "SELECT id FROM memory ORDER BY id")]
    lost = kept if gone is None else [kept[place - 1 if place > 0 else place] for place in gone]
    with tampering(path) as db:
        db.executemany("DELETE FROM memory WHERE id = ?", [(row_id,) for row_id in lost])
        seal_anew(db)
    said, _ = check(path)
    assert len([words for words in said if words.endswith("is not in memory")]) == len(lost)


def test_an_outcome_of_no_sale_is_one_too_many(path: Path) -> None:
    forge(
        path,
        "INSERT INTO memory (ts_utc, key, value_json, wall_ts, link) "
        "SELECT ts_utc, key, value_json, wall_ts, link FROM memory WHERE id = 1",
    )
    last, key = one(path, "SELECT id, key FROM memory ORDER BY id DESC")
    assert check(path) == ([f"memory {last} ({key}) is the outcome of no sale"], last)


def test_outcomes_in_another_order_are_found(path: Path) -> None:
    with tampering(path) as db:
        first, second = (
            db.execute("SELECT value_json FROM memory WHERE id = ?", (number,)).fetchone()[0] for number in (1, 2)
        )
        db.execute("UPDATE memory SET value_json = ? WHERE id = 1", (second,))
        db.execute("UPDATE memory SET value_json = ? WHERE id = 2", (first,))
        seal_anew(db)
    assert {words[:9] for words in check(path)[0]} == {"memory 1:", "memory 2:"}


def test_an_outcome_that_was_written_before_its_sale_knew_the_future(path: Path) -> None:
    forge(path, "UPDATE memory SET link = 1 WHERE id = 1")
    assert check(path)[0] == ["memory 1 was written before its sale"]


def test_a_sale_that_no_snapshot_followed_yet_owes_nothing(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    sale = one(path, "SELECT max(link) FROM trades WHERE side = 'SELL'")[0]
    with plain(path) as db:  # as it stood when the last sale had been settled and nothing more was written
        db.execute("PRAGMA foreign_keys=OFF")
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        tables = [
            name
            for (name,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%link INTEGER%'"
            )
        ]
        assert {"memory", "portfolio", "fills", "trades"} <= set(tables)
        for name in tables:
            db.execute(f"DELETE FROM {name} WHERE link > ?", (sale,))  # noqa: S608 - our own table names
    (kept,) = one(path, "SELECT count(*) FROM memory")
    assert check(path) == ([], kept)


# --- ledgers of a program that had no memory


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A ledger as the program before this one left it: schema 4, sales, and nothing learnt."""
    path = tmp_path / "old.db"
    with with_steps(4):
        grow(path, 24)
    forge(path, "DELETE FROM memory")
    assert one(path, "PRAGMA user_version") == (4,)
    return path


def test_a_ledger_of_an_older_program_is_sound_though_nothing_was_learnt(older: Path) -> None:
    assert check(older) == ([], 0)


def test_an_older_ledger_learns_its_past_with_its_first_snapshot_as_if_it_always_had(older: Path, path: Path) -> None:
    learns(older)
    assert rows(older, LEARNT) == rows(path, LEARNT)
    assert check(older) == ([], len(rows(path, LEARNT)))
    with reading(older) as ledger:
        assert [one for one in verify(ledger) if not one.ok] == []
    learns(older)
    assert rows(older, LEARNT) == rows(path, LEARNT), "once and only once"


def test_an_older_ledger_that_goes_on_learns_the_same_as_one_of_today(older: Path, path: Path) -> None:
    for each in (older, path):
        grow(each, 24)
    assert rows(older, LEARNT) == rows(path, LEARNT)
    assert check(older)[0] == []


def test_an_order_of_today_before_the_first_snapshot_does_not_make_the_past_due(older: Path) -> None:
    with scripted_desk(older) as desk, desk.ledger.writing():
        planned = plan(desk, desk.new_trace())
        proposed = propose(desk, planned)
        assert execute(desk, planned, proposed, judge(desk, planned, proposed)).order is not None
    assert one(older, "SELECT count(*) FROM orders WHERE terms_sha256 IS NOT NULL") == (1,)
    assert check(older) == ([], 0)
    learns(older)
    assert check(older)[0] == []
    forge(older, "DELETE FROM memory")
    assert len(check(older)[0]) > 3, "now it is due"
