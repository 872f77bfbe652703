"""Rehearsals: the same phases on a copy in memory come to the same end, and the ledger's files do not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import (
    Mute,
    ledger_at,
    left_by_a_killed_writer,
    one,
    plain,
    reading,
    scripted_desk,
    settings,
    sha256,
    sha256_from_afar,
    tampering,
    wall,
    writing,
)
from trader_cli.core.errors import ConfigError, LedgerError
from trader_cli.phases.cycle import cycle
from trader_cli.phases.desk import Desk
from trader_cli.phases.recover import recover
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.order import OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Owner, TradingState
from trader_cli.tools.rehearsal import ROWS, rehearse
from trader_cli.wiring import Bench, open_desk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A grown ledger, closed, in a folder of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    return ledger_at(folder / "agent.db")


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Path]:
    """A ledger whose last order was taken by the exchange, which then fell silent."""
    path = tmp_path / "waiting.db"
    with scripted_desk(path) as desk:
        silent = Mute(desk.exchange)
        done = played(replace(desk, exchange=silent))
        while not done.execution.order:
            done = played(replace(desk, exchange=silent))
        assert done.execution.order.state is OrderState.UNKNOWN
        assert len(silent.submitted) == 1
    yield path


def played(desk: Desk) -> Cycle:
    """One cycle with the lock held."""
    with desk.ledger.writing():
        return cycle(desk)


def essence(done: Cycle) -> Cycle:
    """A cycle without the wall time at which it was written."""
    return replace(
        done,
        plan=replace(done.plan, wall_at=0),
        proposal=replace(done.proposal, wall_at=0),
        verdict=replace(done.verdict, wall_at=0),
    )


def names(folder: Path) -> set[str]:
    return {found.name for found in folder.iterdir()}


def test_a_rehearsal_decides_orders_and_books_exactly_what_the_real_thing_then_does(path: Path) -> None:
    with scripted_desk(path, dry_run=True) as desk:
        rehearsed = [essence(played(desk)) for _ in range(8)]
    with scripted_desk(path) as desk:
        real = [essence(played(desk)) for _ in range(8)]
    assert rehearsed == real
    assert any(done.execution.order for done in rehearsed)


def test_a_rehearsal_changes_no_byte_of_a_closed_ledger(path: Path) -> None:
    before = sha256(path)
    with scripted_desk(path, dry_run=True) as desk:
        done = [played(desk) for _ in range(8)]
    assert any(each.execution.order for each in done)
    assert sha256(path) == before
    log = path.with_name("agent.db-wal")
    assert not log.exists() or log.stat().st_size == 0
    assert names(path.parent) <= {"agent.db", "agent.db-wal", "agent.db-shm"}


def test_a_rehearsal_beside_a_running_loop_sees_its_newest_rows_and_changes_no_byte(path: Path) -> None:
    log = path.with_name("agent.db-wal")
    with scripted_desk(path) as running:
        played(running)
        before = sha256_from_afar(path), sha256_from_afar(log)
        assert log.stat().st_size > 0
        with scripted_desk(path, dry_run=True) as desk:
            assert desk.ledger.head == running.ledger.head
            rehearsed = essence(played(desk))
        assert (sha256_from_afar(path), sha256_from_afar(log)) == before
        assert essence(played(running)) == rehearsed


def test_a_rehearsal_of_a_ledger_whose_writer_was_killed_sees_its_log_and_leaves_it_as_it_is(
    path: Path, tmp_path: Path
) -> None:
    with scripted_desk(path) as running:
        played(running)
        copy = left_by_a_killed_writer(path, tmp_path / "copy")
        head = running.ledger.head
    log = copy.with_name("agent.db-wal")
    before = sha256(copy), sha256(log)
    assert log.stat().st_size > 0
    with scripted_desk(copy, dry_run=True) as desk:
        assert desk.ledger.head == head
        played(desk)
    assert (sha256(copy), sha256(log)) == before


def test_a_rehearsal_needs_no_lock(path: Path) -> None:
    with writing(path) as ledger, scripted_desk(path, dry_run=True) as desk:
        assert played(desk).trace_id
        assert ledger.next_link < desk.ledger.next_link


def test_without_a_ledger_a_rehearsal_begins_as_a_new_ledger_would_and_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "agent.db"
    with scripted_desk(path, dry_run=True) as desk:
        rehearsed = [essence(played(desk)) for _ in range(3)]
    assert names(tmp_path) == set()
    with scripted_desk(path) as desk:
        assert [essence(played(desk)) for _ in range(3)] == rehearsed


def test_a_rehearsal_of_a_ledger_with_an_open_order_settles_it_there_only(waiting: Path) -> None:
    before = sha256(waiting)
    with scripted_desk(waiting, dry_run=True) as desk:
        (order,) = desk.ledger.open_orders()
        assert order.state is OrderState.UNKNOWN
        with desk.ledger.writing():
            (settled,) = recover(desk)
        assert settled.state in (OrderState.FILLED, OrderState.PARTIAL)
        assert desk.ledger.open_orders() == ()
        rehearsed = essence(played(desk))
    assert sha256(waiting) == before
    with reading(waiting) as ledger:
        assert ledger.open_orders() == (order,)
    with scripted_desk(waiting) as desk:
        with desk.ledger.writing():
            assert recover(desk) == [settled]
        assert essence(played(desk)) == rehearsed


def test_a_rehearsal_of_a_ledger_with_an_order_that_stays_unknown_is_blocked_by_it(waiting: Path) -> None:
    with scripted_desk(waiting, dry_run=True) as desk:
        silent = Mute(desk.exchange)
        done = played(replace(desk, exchange=silent))
    assert [order.state for order in done.unsettled] == [OrderState.UNKNOWN]
    assert done.plan.payload.mode == "OBSERVE"
    assert silent.submitted == []


def test_a_rehearsal_refuses_settings_of_another_ledger(path: Path) -> None:
    before = sha256(path)
    with (
        pytest.raises(ConfigError, match='this ledger is for SYMBOL "BTC/USDT"'),
        open_desk(settings(path, symbol="ETH/USDT"), Bench(dry_run=True)),
    ):
        pass
    assert sha256(path) == before


def test_a_rehearsal_of_a_ledger_of_another_schema_is_refused(path: Path) -> None:
    with plain(path) as db:
        db.execute("PRAGMA user_version=999")
    before = sha256(path)
    with pytest.raises(LedgerError, match="a look ahead or back needs a ledger of this program's schema"):
        rehearse(path, wall)
    assert sha256(path) == before


def test_what_is_no_ledger_cannot_be_rehearsed(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam,\n" * 300)
    with pytest.raises(LedgerError, match="is not a trader ledger"):
        rehearse(path, wall)


def test_a_rehearsal_knows_what_a_phase_reads_of_a_ledger_and_keeps_its_ids_and_its_chain_end(path: Path) -> None:
    with closing(rehearse(path, wall)) as rehearsal, reading(path) as ledger:
        assert rehearsal.identity() == ledger.identity()
        assert (rehearsal.head, rehearsal.next_link) == (ledger.head, ledger.next_link)
        assert rehearsal.last_snapshot() == ledger.last_snapshot()
        assert rehearsal.book("BTC", "USDT") == ledger.book("BTC", "USDT")
        assert rehearsal.newest_plan() == ledger.newest_plan()
        assert rehearsal.owner() == ledger.owner()
        plan = ledger.newest_plan()
        assert plan is not None
        assert rehearsal.history(plan.at) == ledger.history(plan.at)
        observation = ledger.observation(plan.observation_id or 0, 300_000)
        assert rehearsal.observation(plan.observation_id or 0, 300_000) == observation
        with rehearsal.transaction() as tx:
            event = rehearsal.log_event(tx, "NOTE", {}, 0)
        assert event == one(path, "SELECT max(id) FROM events")[0] + 1


def test_a_rehearsal_takes_no_more_than_the_newest_calls_since_the_last_sale(path: Path) -> None:
    """Weeks without a sale, and models that were paid all the time: rows of some kilobytes each."""
    with tampering(path) as db:
        db.execute("UPDATE model_reserves SET wall_ts = '2000-01-01T00:00:00.000Z'")
        names = [
            row[1] for row in db.execute("PRAGMA table_info(model_calls)") if row[1] not in ("id", "link", "cost_usd")
        ]
        again = (
            f"INSERT INTO model_calls (link, cost_usd, {','.join(names)}) "  # noqa: S608 - the schema's own names
            f"SELECT ?, '0.01', {','.join(names)} FROM model_calls WHERE id = 1"
        )
        (link,) = db.execute("SELECT max(seq) FROM audit_chain").fetchone()
        for _ in range(1_000):
            db.execute(again, (link,))
    with closing(rehearse(path, wall)) as rehearsal:
        assert rehearsal.db.execute("SELECT count(*), min(cost_usd) FROM model_calls").fetchone() == (300, "0.01")


def test_what_is_older_than_a_rehearsal_copies_and_still_counts_is_in_it(path: Path) -> None:
    """Who owns a position that is held for long, and that trading was stopped long ago."""
    (purchase,) = one(path, "SELECT max(proposal_id) FROM trades WHERE side = 'BUY'")
    with writing(path) as ledger, ledger.transaction() as tx:
        stop = ledger.log_event(tx, "STATE", {"from": "RUN", "to": "HALT", "reason": "enough"}, 0)
        plan = ledger.newest_plan()
        assert plan is not None
        watching: Any = replace(plan, payload=Plan("OBSERVE", 0.0, 300, plan.payload.strategies))
        for number in range(ROWS + 10):
            ledger.log_decision(tx, Agent.PLANNER, replace(watching, trace_id=f"old {number}"), None)
            ledger.log_event(tx, "NOT_SENT", {"reason": "the law"}, plan.at)
    with scripted_desk(path) as desk:
        played(desk)
    assert one(path, "SELECT max(id) FROM decisions")[0] - purchase > ROWS
    assert one(path, "SELECT max(id) FROM events")[0] - stop > ROWS
    with reading(path) as ledger, closing(rehearse(path, wall)) as rehearsal:
        assert ledger.owner() == Owner("ma_trend", {"fast": 9, "slow": 34})
        assert rehearsal.owner() == ledger.owner()
        assert rehearsal.book("BTC", "USDT") == ledger.book("BTC", "USDT")
        assert rehearsal.trading_state() == ledger.trading_state() == (TradingState.HALT, "enough")
