"""The ledger's file: one writer under the lock, readers who change nothing, rows that stay, a chain that tells."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import (
    ledger_at,
    left_by_a_killed_writer,
    one,
    plain,
    rows,
    scripted_desk,
    sha256,
    tampering,
    wall,
)
from trader_cli.core.audit import link_hash
from trader_cli.core.errors import BusyError, LedgerError, NotFoundError
from trader_cli.phases.cycle import cycle
from trader_cli.tools.migrations import CHAINED
from trader_cli.tools.store import TAIL_LINKS, Store

TABLES = (*CHAINED, "audit_chain")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A grown ledger, closed. It has a row in every table."""
    return ledger_at(tmp_path / "agent.db")


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """The same, open for writing."""
    with closing(Store.open_writer(path, wall)) as store:
        yield store


def note(store: Store, kind: str = "NOTICE", **content: str) -> int:
    """Write one event in a transaction of its own."""
    with store.writing(0.0), store.transaction() as tx:
        return tx.insert("events", ts_utc="2026-11-25T12:00:00.000Z", kind=kind, data_json=json.dumps(content))


def names(folder: Path) -> set[str]:
    return {found.name for found in folder.iterdir()}


def columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def key_of(table: str) -> str:
    return "seq" if table == "audit_chain" else "id"


# Insert-only.


@pytest.mark.parametrize("table", TABLES)
def test_no_program_can_update_or_delete_a_row(path: Path, table: str) -> None:
    before = rows(path, f"SELECT * FROM {table}")  # noqa: S608 - our own names
    with plain(path) as db:
        for column in columns(db, table):
            for verb in ("UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"):
                with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only: UPDATE is not allowed"):
                    db.execute(f"{verb} {table} SET {column} = {column}")
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only: DELETE is not allowed"):
            db.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    assert before
    assert rows(path, f"SELECT * FROM {table}") == before  # noqa: S608 - our own names


@pytest.mark.parametrize("table", TABLES)
def test_no_program_can_replace_a_row_through_its_id_or_any_other_unique_column(path: Path, table: str) -> None:
    """INSERT OR REPLACE deletes what stands in its way without firing a delete trigger."""
    with plain(path) as db:
        uniques = [(key_of(table),)] + [
            tuple(name for _, _, name in db.execute(f"PRAGMA index_info({index[1]})") if name)  # None: an expression
            for index in db.execute(f"PRAGMA index_list({table})").fetchall()
            if index[2]
        ]
        for unique in uniques:
            known = " AND ".join(f"{column} IS NOT NULL" for column in unique)
            row = db.execute(f"SELECT * FROM {table} WHERE {known} ORDER BY 1 DESC").fetchone()  # noqa: S608 - our names
            copy = dict(zip(columns(db, table), row, strict=True))
            for column in {name for names in uniques for name in names} - set(unique):
                copy[column] = f"another {copy[column]}" if isinstance(copy[column], str) else None
            fields, marks = ",".join(copy), ",".join("?" * len(copy))
            with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only: that row exists"):
                db.execute(f"INSERT OR REPLACE INTO {table} ({fields}) VALUES ({marks})", [*copy.values()])  # noqa: S608


def test_a_link_of_the_chain_cannot_be_forged_in_place_of_another(path: Path) -> None:
    with plain(path) as db, pytest.raises(sqlite3.IntegrityError, match="audit_chain is append-only: that row exists"):
        db.execute(
            "INSERT OR REPLACE INTO audit_chain (seq, wall_ts, rows, rows_sha256, marks_json, prev_hash, hash) "
            "SELECT seq, wall_ts, rows, rows_sha256, '{}', prev_hash, 'x' FROM audit_chain"
        )


# One writer.


def test_a_transaction_needs_the_writer_lock(store: Store) -> None:
    with pytest.raises(RuntimeError, match="needs the writer lock"), store.transaction():
        pass
    assert not store.db.in_transaction


def test_while_one_store_writes_another_one_is_busy_and_reads_on(path: Path, store: Store) -> None:
    with closing(Store.open_writer(path, wall)) as other:
        with store.writing():
            with pytest.raises(BusyError, match="is in use by another process"):
                note(other)
            with pytest.raises(BusyError, match="is in use by another process"):
                Store.open_writer(path, wall, 0.0)
            with closing(Store.open_reader(path, wall)) as reader:
                assert reader.head == store.head
        assert note(other) > 0


def test_the_lock_may_be_asked_for_again_by_who_holds_it(store: Store) -> None:
    with store.writing():
        with store.writing(0.0):
            pass
        with store.transaction() as tx:
            tx.insert("events", ts_utc="t", kind="NOTICE", data_json="{}")


def test_a_second_store_sees_the_rows_of_the_first_and_continues_the_chain(path: Path, store: Store) -> None:
    with closing(Store.open_writer(path, wall)) as other:
        first = note(store, words="one")
        second = note(other, words="two")
        third = note(store, words="three")
        assert [first, second, third] == [first, first + 1, first + 2]
        links = rows(path, "SELECT link FROM events WHERE id >= ?", first)
        assert [link for (link,) in links] == [store.next_link - 3, store.next_link - 2, store.next_link - 1]
        assert list(store.broken_links()) == []
        assert list(other.broken_links()) == []


def test_a_store_that_takes_the_lock_knows_the_end_of_the_chain_at_once(path: Path, store: Store) -> None:
    with closing(Store.open_writer(path, wall)) as other:
        note(store)
        assert other.next_link == store.next_link - 1
        with other.writing():
            assert (other.next_link, other.head) == (store.next_link, store.head)


def test_two_desks_on_one_ledger_take_turns_and_never_give_one_name_to_two_cycles(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with scripted_desk(path) as one_desk, scripted_desk(path) as other_desk:
        seen = []
        for desk in (one_desk, other_desk, one_desk, other_desk, other_desk, one_desk):
            with desk.ledger.writing():
                seen.append(cycle(desk))
    assert len({done.trace_id for done in seen}) == 6
    assert [done.plan.at for done in seen] == sorted({done.plan.at for done in seen})


# Transactions.


def test_a_transaction_that_fails_leaves_neither_rows_nor_a_link(path: Path, store: Store) -> None:
    head, count = store.head, one(path, "SELECT count(*) FROM events")
    with pytest.raises(ZeroDivisionError), store.writing(), store.transaction() as tx:
        tx.insert("events", ts_utc="t", kind="NOTICE", data_json="{}")
        raise ZeroDivisionError
    assert not store.db.in_transaction
    assert store.head == head
    assert one(path, "SELECT count(*) FROM events") == count
    assert note(store) > 0
    assert list(store.broken_links()) == []


def test_transactions_together_keep_their_links_and_become_visible_at_once(path: Path, store: Store) -> None:
    first = store.next_link
    with store.writing(), store.together():
        for number in range(3):
            with store.transaction() as tx:
                tx.insert("events", ts_utc="2026-01-01T00:00:00.000Z", kind="NOTICE", data_json=str(number))
        assert one(path, "SELECT max(seq) FROM audit_chain") == (first - 1,)
    assert rows(path, "SELECT link FROM events ORDER BY id DESC LIMIT 3") == [(first + 2,), (first + 1,), (first,)]
    assert broken(path) == []


@pytest.mark.parametrize("caught", [True, False])
def test_of_transactions_together_none_stands_when_one_fails(path: Path, store: Store, caught: bool) -> None:
    before, head = sha256(path), store.head
    with store.writing(), pytest.raises((ValueError, RuntimeError)), store.together():
        note_in(store)
        try:
            with store.transaction() as tx:
                tx.insert("events", ts_utc="2026-01-01T00:00:00.000Z", kind="NOTICE", data_json="{}")
                raise ValueError("in the middle")
        except ValueError:
            if not caught:
                raise
    assert sha256(path) == before
    assert store.head == head
    with store.writing():
        note_in(store)
    assert broken(path) == []


def note_in(store: Store) -> None:
    """One event, written by a caller that holds the lock."""
    with store.transaction() as tx:
        tx.insert("events", ts_utc="2026-01-01T00:00:00.000Z", kind="NOTICE", data_json="{}")


def test_a_transaction_without_rows_makes_no_link(store: Store) -> None:
    head, link = store.head, store.next_link
    with store.writing(), store.transaction():
        pass
    assert (store.head, store.next_link) == (head, link)


def test_rows_of_one_transaction_share_one_link_and_the_wall_time(path: Path, store: Store) -> None:
    link = store.next_link
    with store.writing(), store.transaction() as tx:
        for kind in ("A", "B", "C"):
            tx.insert("events", ts_utc="t", kind=kind, data_json="{}")
    assert rows(path, "SELECT kind, link, wall_ts FROM events WHERE link >= ?", link) == [
        (kind, link, "2026-11-25T12:00:00.000Z") for kind in ("A", "B", "C")
    ]
    assert rows(path, "SELECT rows FROM audit_chain WHERE seq >= ?", link) == [(3,)]


def test_what_is_remembered_is_read_again_after_a_row_or_for_another_question(store: Store) -> None:
    asked: list[object] = []

    def ask(about: object) -> int:
        def load() -> int:
            asked.append(about)
            return len(asked)

        return store.remembered("number", ("events",), load, about=about)

    assert [ask(1), ask(1), ask(2), ask(2), ask(1)] == [1, 1, 2, 2, 3]
    with store.writing():
        note_in(store)
    assert ask(1) == 4
    store.forget()
    assert ask(1) == 5
    assert asked == [1, 2, 1, 1, 1]


@pytest.mark.parametrize("value", [True, 1.5, b"x", Decimal(1)])
def test_a_value_that_a_ledger_would_store_as_another_is_a_bug_and_makes_nothing(store: Store, value: Any) -> None:
    count = store.db.execute("SELECT count(*) FROM events").fetchone()
    with (
        store.writing(),
        pytest.raises(TypeError, match=r"events\.data_json takes text or whole numbers"),
        store.transaction() as tx,
    ):
        tx.insert("events", ts_utc="2026-01-01T00:00:00.000Z", kind="NOTICE", data_json=value)
    assert store.db.execute("SELECT count(*) FROM events").fetchone() == count


@pytest.mark.parametrize(
    ("table", "values"),
    [("evnets", {"kind": "A"}), ("events", {"knid": "A"}), ("open_orders", {"client_order_id": "x"})],
)
def test_a_misspelt_table_or_column_is_an_error_and_makes_nothing(
    path: Path, store: Store, table: str, values: dict[str, str]
) -> None:
    before = rows(path, "SELECT name FROM sqlite_master ORDER BY name")
    with pytest.raises(KeyError), store.writing(), store.transaction() as tx:
        tx.insert(table, **values)
    assert rows(path, "SELECT name FROM sqlite_master ORDER BY name") == before


def test_a_row_that_breaks_a_check_is_a_ledger_error_and_nothing_is_written(path: Path, store: Store) -> None:
    count = one(path, "SELECT count(*) FROM events")
    with pytest.raises(LedgerError, match="the ledger refused a row"), store.writing(), store.transaction() as tx:
        tx.insert("events", ts_utc="t", kind="A", data_json="{}")
        tx.insert("events", ts_utc="t", kind="B", data_json="not json")
    assert one(path, "SELECT count(*) FROM events") == count


# How the file is opened.


def test_a_writer_syncs_fully_checks_foreign_keys_and_keeps_a_write_ahead_log(store: Store) -> None:
    found = {
        name: store.db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "foreign_keys", "journal_mode", "busy_timeout", "temp_store", "cache_size")
    }
    assert found == {
        "synchronous": 2,
        "foreign_keys": 1,
        "journal_mode": "wal",
        "busy_timeout": 5_000,
        "temp_store": 2,
        "cache_size": -10_000,
    }


def test_after_an_order_was_sent_a_writer_waits_a_minute_and_then_as_before(store: Store) -> None:
    with store.patient():
        assert store.db.execute("PRAGMA busy_timeout").fetchone() == (60_000,)
    assert store.db.execute("PRAGMA busy_timeout").fetchone() == (5_000,)


def test_a_foreign_key_to_nowhere_is_refused(store: Store) -> None:
    with pytest.raises(LedgerError, match="FOREIGN KEY"), store.writing(), store.transaction() as tx:
        tx.insert("order_events", ts_utc="t", client_order_id="nobody", state="INTENT", evidence_json="{}")


def test_ledger_log_and_lock_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "agent.db"
    with closing(Store.open_writer(path, wall)) as store:
        note(store)
        modes = {found.name: found.stat().st_mode & 0o777 for found in path.parent.iterdir()}
    assert modes == dict.fromkeys(["agent.db", "agent.db-wal", "agent.db-shm", "agent.db.lock"], 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_reader_cannot_write(path: Path) -> None:
    with closing(Store.open_reader(path, wall)) as reader:
        for statement in ("CREATE TABLE x (a)", "INSERT INTO memory (ts_utc) VALUES ('t')", "PRAGMA user_version=7"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.db.execute(statement)


def test_a_reader_changes_no_byte_and_leaves_at_most_sqlites_own_empty_files(path: Path) -> None:
    before = sha256(path)
    with closing(Store.open_reader(path, wall)) as reader:
        assert list(reader.broken_links()) == []
    assert sha256(path) == before
    assert names(path.parent) <= {"agent.db", "agent.db-wal", "agent.db-shm"}
    log = path.with_name("agent.db-wal")
    assert not log.exists() or log.stat().st_size == 0


def test_a_reader_of_a_ledger_whose_writer_was_killed_sees_its_log_and_leaves_it_as_it_is(
    path: Path, store: Store, tmp_path: Path
) -> None:
    note(store)
    copy = left_by_a_killed_writer(path, tmp_path / "copy")
    log = copy.with_name("agent.db-wal")
    before = sha256(copy), sha256(log)
    assert log.stat().st_size > 0
    with closing(Store.open_reader(copy, wall)) as reader:
        assert reader.head == store.head
        assert list(reader.broken_links()) == []
    assert (sha256(copy), sha256(log)) == before
    with closing(Store.open_writer(copy, wall)) as writer:
        assert writer.head == store.head


@pytest.mark.parametrize("missing", ["agnet.db", "nowhere/agent.db", "folder"])
def test_reading_a_mistyped_path_creates_nothing(tmp_path: Path, missing: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotFoundError, match="no ledger at"):
        Store.open_reader(tmp_path / missing, wall)
    assert names(tmp_path) == {"folder"}
    assert names(tmp_path / "folder") == set()


@pytest.mark.parametrize("name", ["a b.db", "50%25.db", "what?.db", "a#b.db", "ünï.db", "file:x.db"])
def test_a_path_with_strange_characters_is_that_path(tmp_path: Path, name: str) -> None:
    with closing(Store.open_writer(tmp_path / name, wall)) as store:
        note(store)
    assert names(tmp_path) == {name, f"{name}.lock"}
    with closing(Store.open_reader(tmp_path / name, wall)) as reader:
        assert reader.next_link == 2


# Damage.


@pytest.mark.parametrize("table", ["decisions", "candles", "audit_chain", "portfolio", "decisions_by_time"])
def test_a_damaged_page_is_found_when_a_writer_starts(path: Path, table: str) -> None:
    (root,) = one(path, "SELECT rootpage FROM sqlite_master WHERE name = ?", table)
    (page_size,) = one(path, "PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(bytes(192))
    before = sha256(path)
    with pytest.raises(LedgerError, match="damaged"):
        Store.open_writer(path, wall)
    assert sha256(path) == before


def test_a_ledger_cut_short_is_found_when_a_writer_starts(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(LedgerError, match="damaged"):
        Store.open_writer(path, wall)


def test_another_program_that_holds_the_file_makes_a_writer_busy_before_anything_is_written(
    path: Path, store: Store
) -> None:
    count = one(path, "SELECT count(*) FROM events")
    store.db.execute("PRAGMA busy_timeout=20")
    with plain(path) as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BusyError, match="is locked by another program"):
            note(store)
        db.execute("ROLLBACK")
    assert one(path, "SELECT count(*) FROM events") == count
    assert note(store) > 0
    assert list(store.broken_links()) == []


def test_a_ledger_that_was_moved_away_while_it_was_open_is_not_written(path: Path, store: Store) -> None:
    path.rename(path.with_name("away.db"))
    with pytest.raises(LedgerError, match="was moved or replaced while in use"):
        note(store)
    assert not path.exists()


def test_a_ledger_that_was_replaced_while_it_was_open_is_not_written(path: Path, store: Store, tmp_path: Path) -> None:
    other = ledger_at(tmp_path / "other.db", cycles=4)
    before = sha256(other)
    other.replace(path)
    with pytest.raises(LedgerError, match="was moved or replaced while in use"):
        note(store)
    assert sha256(path) == before


# The chain.


def link_of(path: Path, table: str, row_id: int) -> int:
    return int(one(path, f"SELECT link FROM {table} WHERE id = ?", row_id)[0])  # noqa: S608 - our own names


def broken(path: Path) -> list[str]:
    with closing(Store.open_reader(path, wall)) as reader:
        return list(reader.broken_links())


def test_a_grown_ledger_has_a_whole_chain(path: Path) -> None:
    assert broken(path) == []
    (links,) = one(path, "SELECT count(*) FROM audit_chain")
    assert links > 2 * TAIL_LINKS


@pytest.mark.parametrize("table", [table for table in CHAINED if table != "meta"])
def test_an_edited_row_is_named_whatever_the_column(path: Path, table: str) -> None:
    (row_id,) = one(path, f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {table})")  # noqa: S608
    link = link_of(path, table, row_id)
    with plain(path) as db:
        editable = [name for name in columns(db, table) if name not in ("id", "link")]
    with tampering(path) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        for column in editable:
            db.execute("BEGIN")
            more = " " if column.endswith("_json") else "1"  # what an index is over must stay JSON
            db.execute(f"UPDATE {table} SET {column} = coalesce({column}, 0) || ? WHERE id = ?", (more, row_id))  # noqa: S608
            said = next(Store(db, None, wall).broken_links(since=link))
            assert said == f"{table} {row_id} was changed (link {link})"
            db.execute("ROLLBACK")


def test_a_value_that_was_null_and_one_that_became_null_are_found(path: Path) -> None:
    (decision,) = one(path, "SELECT id FROM decisions WHERE cause IS NULL")
    with tampering(path) as db:
        db.execute("UPDATE decisions SET cause = 'because' WHERE id = ?", (decision,))
    assert broken(path) == [f"decisions {decision} was changed (link {link_of(path, 'decisions', decision)})"]
    (event,) = one(path, "SELECT id FROM order_events WHERE exchange_order_id IS NOT NULL")
    with tampering(path) as db:
        db.execute("UPDATE decisions SET cause = NULL WHERE id = ?", (decision,))
        db.execute("UPDATE order_events SET exchange_order_id = NULL WHERE id = ?", (event,))
    assert broken(path) == [f"order_events {event} was changed (link {link_of(path, 'order_events', event)})"]


def test_a_deleted_row_is_named(path: Path) -> None:
    (fill, link) = one(path, "SELECT id, link FROM fills ORDER BY id LIMIT 1 OFFSET 9")
    with tampering(path) as db:
        db.execute("DELETE FROM fills WHERE id = ?", (fill,))
    assert broken(path) == [f"fills {fill} is gone (link {link})"]


def test_a_row_that_was_smuggled_into_a_link_is_named(path: Path) -> None:
    (last, link) = one(path, "SELECT max(id), max(link) FROM decisions")
    with tampering(path) as db:
        db.execute(
            "INSERT INTO decisions (ts_utc, agent, payload_json, source, wall_ts, link) "
            "VALUES ('t', 'PLANNER', '{}', 'rules', 'w', ?)",
            (link,),
        )
    assert broken(path) == [f"decisions {last + 1} was added (link {link})"]


@pytest.mark.parametrize("link", [10**9, 0, -5])
@pytest.mark.parametrize("row_id", [None, -7, 0])
def test_a_row_without_an_honest_link_is_named_and_no_other_whatever_id_it_gave_itself(
    path: Path, link: int, row_id: int | None
) -> None:
    with tampering(path) as db:
        db.execute(
            "INSERT INTO events (id, ts_utc, kind, data_json, wall_ts, link) VALUES (?, 't', 'DEPOSIT', '{}', 'w', ?)",
            (row_id, link),
        )
        (found,) = db.execute("SELECT id FROM events WHERE ts_utc = 't'").fetchone()
    assert broken(path) == [f"events {found} belongs to no link"]


def test_two_rows_of_one_link_that_changed_places_are_named(path: Path) -> None:
    first, second, link = one(
        path, "SELECT min(id), max(id), link FROM fills GROUP BY link HAVING count(*) > 1 AND min(qty) <> max(qty)"
    )
    with tampering(path) as db:
        swap(db, "fills", first, second)
    assert broken(path) == [f"fills {row_id} was changed (link {link})" for row_id in (first, second)]


def test_two_rows_of_different_links_that_changed_places_are_named(path: Path) -> None:
    (one_id, one_link), (other_id, other_link) = rows(
        path, "SELECT id, link FROM portfolio ORDER BY id LIMIT 2 OFFSET 20"
    )
    with tampering(path) as db:
        swap(db, "portfolio", one_id, other_id)
    assert broken(path) == [
        f"portfolio {one_id} is gone (link {one_link})",
        f"portfolio {one_id} was added (link {other_link})",
        f"portfolio {other_id} is gone (link {other_link})",
        f"portfolio {other_id} belongs to no link",
    ]


def swap(db: sqlite3.Connection, table: str, one_id: int, other_id: int) -> None:
    """Exchange the ids of two rows."""
    for old, new in ((one_id, -1), (other_id, one_id), (-1, other_id)):
        db.execute(f"UPDATE {table} SET id = ? WHERE id = ?", (new, old))  # noqa: S608 - our own names


def test_a_deleted_link_is_named_and_so_are_the_rows_it_sealed(path: Path) -> None:
    (row_id, link) = one(path, "SELECT id, link FROM portfolio ORDER BY id LIMIT 1 OFFSET 20")
    with tampering(path) as db:
        db.execute("DELETE FROM audit_chain WHERE seq = ?", (link,))
    assert broken(path) == [f"link {link} is missing", f"portfolio {row_id} belongs to no link"]


@pytest.mark.parametrize("column", ["wall_ts", "rows", "rows_sha256", "marks_json", "prev_hash", "hash"])
def test_an_edited_link_is_named_whatever_the_column(path: Path, column: str) -> None:
    with tampering(path) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        db.execute(f"UPDATE audit_chain SET {column} = {column} || '7' WHERE seq = 100")  # noqa: S608 - our own names
    assert broken(path)[0] == (
        "link 100 does not stand on link 99" if column == "prev_hash" else "link 100 was changed"
    )


@pytest.mark.parametrize("marks", ["[]", "7", "{}", '{"decisions":7}', '{"decisions":[1]}', '{"decisions":["x","y"]}'])
def test_marks_that_were_forged_and_hashed_again_hide_no_edited_row_and_break_no_check(path: Path, marks: str) -> None:
    row_id, link = one(path, "SELECT id, link FROM decisions ORDER BY id DESC")
    (ledger_id,) = one(path, "SELECT value FROM meta WHERE key = 'ledger_id'")
    with tampering(path) as db:
        db.execute("UPDATE audit_chain SET marks_json = ? WHERE seq = ?", (marks, link))
        values = db.execute("SELECT * FROM audit_chain WHERE seq = ?", (link,)).fetchone()
        forged = dict(zip(columns(db, "audit_chain"), values, strict=True))
        db.execute("UPDATE audit_chain SET hash = ? WHERE seq = ?", (link_hash(ledger_id, forged), link))
        db.execute("UPDATE decisions SET cause = 'forged' WHERE id = ?", (row_id,))
    assert f"link {link}" in broken(path)[0]
    with pytest.raises(LedgerError, match=f"the audit chain is broken: .*link {link}"):
        Store.open_writer(path, wall)


def test_links_that_were_hashed_again_after_an_edit_still_break_at_the_first_honest_link(path: Path) -> None:
    """Who edits a row and mends its own link has to rewrite every later link as well."""
    link = 100
    with tampering(path) as db:
        db.execute("UPDATE audit_chain SET hash = ? WHERE seq = ?", ("f" * 64, link))
    assert broken(path) == [f"link {link} was changed", f"link {link + 1} does not stand on link {link}"]


def test_the_chain_of_one_ledger_is_none_in_another(path: Path) -> None:
    with tampering(path) as db:
        db.execute("UPDATE meta SET value = 'another' WHERE key = 'ledger_id'")
    said = broken(path)
    links = one(path, "SELECT count(*) FROM audit_chain")[0]
    assert said == [f"link {link} was changed" for link in range(1, links + 1)]


Edit = Callable[[sqlite3.Connection], object]
NEW_EDITS: dict[str, Edit] = {
    "an edited row": lambda db: db.execute(
        "UPDATE decisions SET cause = 'x' WHERE id = (SELECT max(id) FROM decisions)"
    ),
    "a deleted row": lambda db: db.execute("DELETE FROM portfolio WHERE id = (SELECT max(id) FROM portfolio)"),
    "an inserted row": lambda db: db.execute(
        "INSERT INTO events (ts_utc, kind, data_json, wall_ts, link) "
        "SELECT 't', 'DEPOSIT', '{\"amount\":\"9\"}', 'w', max(seq) FROM audit_chain"
    ),
    "a deleted link": lambda db: db.execute("DELETE FROM audit_chain WHERE seq = (SELECT max(seq) FROM audit_chain)"),
    "an edited link": lambda db: db.execute(
        "UPDATE audit_chain SET hash = 'x' WHERE seq = (SELECT max(seq) - 3 FROM audit_chain)"
    ),
}


@pytest.mark.parametrize("edit", NEW_EDITS.values(), ids=NEW_EDITS)
def test_tampering_with_what_is_newest_is_found_when_a_writer_starts(path: Path, edit: Edit) -> None:
    with tampering(path) as db:
        edit(db)
    before = sha256(path)
    with pytest.raises(LedgerError, match="the audit chain is broken") as refusal:
        Store.open_writer(path, wall)
    assert "ledger verify" in str(refusal.value.hint)
    assert sha256(path) == before


def test_a_writers_start_looks_at_the_newest_links_only_and_verify_at_all(path: Path) -> None:
    (row_id, link) = one(path, "SELECT id, link FROM decisions ORDER BY id LIMIT 1")
    with tampering(path) as db:
        db.execute("UPDATE decisions SET cause = 'x' WHERE id = ?", (row_id,))
    Store.open_writer(path, wall).close()
    assert broken(path) == [f"decisions {row_id} was changed (link {link})"]


def test_a_chain_walked_from_any_link_on_says_nothing_of_a_whole_ledger(path: Path) -> None:
    with closing(Store.open_reader(path, wall)) as reader:
        for since in range(0, reader.next_link + 3, 7):
            assert list(reader.broken_links(since)) == []


def test_a_ledger_in_memory_is_written_without_a_lock_and_has_a_chain(tmp_path: Path) -> None:
    with closing(Store.in_memory(wall)) as store:
        note(store)
        note(store)
        assert store.next_link == 3
        assert list(store.broken_links()) == []
    assert names(tmp_path) == set()
