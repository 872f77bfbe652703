"""The schema: the specification's tables as it wrote them, strict, and steps that happen whole or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.ledgers import failures, grow, ledger_at, one, plain, reading, rows, sha256, wall
from trader_cli.core.errors import LedgerError
from trader_cli.main import run
from trader_cli.tools import migrations
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.store import Store
from trader_cli.tools.verification import content_sha256

SPECIFICATION = """
CREATE TABLE IF NOT EXISTS decisions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,                    -- ISO timestamp
  agent TEXT CHECK(agent IN ('PLANNER','TRADER','JUDGE')) NOT NULL,
  trace_id TEXT,                           -- Links related decisions
  payload_json TEXT NOT NULL,              -- Full agent output
  plan_id INTEGER,                         -- FK to plan decision
  proposal_id INTEGER                      -- FK to proposal decision
);
CREATE TABLE IF NOT EXISTS trades (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  symbol TEXT NOT NULL,
  side TEXT CHECK(side IN ('BUY','SELL')) NOT NULL,
  qty TEXT NOT NULL,                       -- Decimal as string
  price TEXT NOT NULL,                     -- Decimal as string
  fee TEXT,                               -- Decimal as string
  order_id TEXT,                          -- Exchange order ID
  idempotency_key TEXT UNIQUE,            -- Prevents duplicates
  proposal_id INTEGER,                    -- Links to proposal
  status TEXT DEFAULT 'FILLED'
);
CREATE TABLE IF NOT EXISTS portfolio (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  balance_usdt TEXT NOT NULL,             -- Decimal as string
  balance_btc TEXT NOT NULL,              -- Decimal as string
  unrealized_pnl_usdt TEXT NOT NULL,      -- Decimal as string
  realized_pnl_usdt TEXT NOT NULL         -- Decimal as string
);
CREATE TABLE IF NOT EXISTS memory (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  key TEXT NOT NULL,                      -- Experiment identifier
  value_json TEXT NOT NULL                -- Results and parameters
);
"""
"""The specification's §3.2, word for word."""


@pytest.fixture
def made() -> Iterator[sqlite3.Connection]:
    """What the steps make of an empty file."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.apply(db)
        yield db


@pytest.fixture
def specified() -> Iterator[sqlite3.Connection]:
    """What the specification's own statements make."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(SPECIFICATION)
        yield db


def columns(db: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    """Name, type, NOT NULL, default and place in the primary key of each column, in order."""
    return [tuple(row[1:]) for row in db.execute(f"PRAGMA table_info({table})")]


def unique(db: sqlite3.Connection, table: str) -> set[tuple[str, ...]]:
    """The columns of each unique index."""
    indexes = [row for row in db.execute(f"PRAGMA index_list({table})") if row[2]]
    return {tuple(name for _, _, name in db.execute(f"PRAGMA index_info({row[1]})")) for row in indexes}


@contextmanager
def with_step(step: migrations.Step) -> Iterator[None]:
    """A program that is one step ahead of this one."""
    migrations.STEPS.append(step)
    migrations._shape.cache_clear()
    try:
        yield
    finally:
        migrations.STEPS.pop()
        migrations._shape.cache_clear()


@contextmanager
def with_steps(count: int) -> Iterator[None]:
    """A program of the past, that knows only the first steps."""
    later = migrations.STEPS[count:]
    del migrations.STEPS[count:]
    try:
        yield
    finally:
        migrations.STEPS.extend(later)


@pytest.mark.parametrize("table", ["decisions", "trades", "portfolio", "memory"])
def test_the_specifications_columns_come_first_and_in_its_order(
    made: sqlite3.Connection, specified: sqlite3.Connection, table: str
) -> None:
    wanted = columns(specified, table)
    assert wanted
    assert columns(made, table)[: len(wanted)] == wanted
    assert unique(made, table) >= unique(specified, table)


@pytest.mark.parametrize("check", ["agent IN ('PLANNER','TRADER','JUDGE')", "side IN ('BUY','SELL')"])
def test_the_specifications_checks_are_there_word_for_word(made: sqlite3.Connection, check: str) -> None:
    table = "decisions" if check.startswith("agent") else "trades"
    (sql,) = made.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    assert f"CHECK({check})" in SPECIFICATION
    assert f"CHECK({check}) NOT NULL" in sql


OUR_COLUMNS = {"wall_ts": "w", "link": 1}
DECISION = {"ts_utc": "t", "agent": "PLANNER", "payload_json": "{}", "source": "rules", **OUR_COLUMNS}
TRADE = {"ts_utc": "t", "symbol": "s", "side": "BUY", "qty": "1", "price": "1", "quote_qty": "1", **OUR_COLUMNS}


def insert(db: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    marks = ",".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks})", [*row.values()])  # noqa: S608 - our names


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("decisions", DECISION | {"agent": "TRADER_"}),
        ("decisions", DECISION | {"agent": None}),
        ("decisions", DECISION | {"payload_json": "{"}),
        ("decisions", DECISION | {"payload_json": '{"confidence":NaN}'}),
        ("decisions", DECISION | {"source": "mars"}),
        ("decisions", DECISION | {"source": "fallback"}),
        ("decisions", DECISION | {"agent": "TRADER"}),
        ("decisions", DECISION | {"agent": "JUDGE"}),
        ("trades", TRADE | {"side": "HOLD"}),
        ("trades", TRADE | {"side": None}),
        ("trades", TRADE | {"status": "REJECTED"}),
        ("trades", TRADE | {"qty": b"1"}),
        ("trades", TRADE | {"proposal_id": "first"}),
        ("memory", {"ts_utc": "t", "key": "k", "value_json": "no", **OUR_COLUMNS}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_a_row_that_breaks_a_check_or_a_type_is_refused(
    made: sqlite3.Connection, table: str, row: dict[str, object]
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(made, table, row)


def test_a_sound_row_is_taken_and_a_trade_is_filled_unless_it_says_otherwise(made: sqlite3.Connection) -> None:
    insert(made, "decisions", DECISION)
    insert(made, "trades", TRADE)
    assert made.execute("SELECT status FROM trades").fetchall() == [("FILLED",)]


def test_every_table_is_strict(made: sqlite3.Connection) -> None:
    loose = [row[1] for row in made.execute("PRAGMA table_list") if row[2] == "table" and not row[5]]
    assert [name for name in loose if not name.startswith("sqlite_")] == []


def test_every_chained_table_names_its_link_and_wall_time_and_has_ids_that_are_never_used_again(
    made: sqlite3.Connection,
) -> None:
    for table in migrations.CHAINED:
        (sql,) = made.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        assert "id INTEGER PRIMARY KEY AUTOINCREMENT" in sql
        assert {column[:3] for column in columns(made, table)} >= {("wall_ts", "TEXT", 1), ("link", "INTEGER", 1)}


def test_every_table_is_in_the_chain_or_is_known_to_be_derived(made: sqlite3.Connection) -> None:
    tables = {row[1] for row in made.execute("PRAGMA table_list") if row[2] == "table"}
    others = {name for name in tables if not name.startswith("sqlite_")} - set(migrations.CHAINED)
    assert others == {"audit_chain", "open_orders"}


def test_no_chained_column_can_hold_a_float(made: sqlite3.Connection) -> None:
    for table in migrations.CHAINED:
        assert {column[1] for column in columns(made, table)} <= {"TEXT", "INTEGER"}


def test_applying_the_steps_again_does_nothing(made: sqlite3.Connection) -> None:
    before = made.execute("SELECT * FROM sqlite_master").fetchall()
    assert migrations.apply(made) == 0
    assert made.execute("SELECT * FROM sqlite_master").fetchall() == before
    assert migrations.version(made) == len(migrations.STEPS)


def test_a_first_start_makes_the_whole_schema_and_a_second_one_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    Store.open_writer(path, wall).close()
    before = sha256(path)
    Store.open_writer(path, wall).close()
    assert sha256(path) == before
    assert rows(path, "PRAGMA user_version") == [(len(migrations.STEPS),)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"], ids=["as we keep it", "as a backup is"])
def test_a_ledger_of_a_newer_program_is_refused_and_left_as_it_was(tmp_path: Path, mode: str) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with plain(path) as db:
        db.execute(f"PRAGMA journal_mode={mode}")
        db.execute("PRAGMA user_version=999")
    before = sha256(path)
    for opener in (Store.open_writer, Store.open_reader):
        with pytest.raises(LedgerError, match=r"the ledger has schema 999, this program knows schema \d") as refusal:
            opener(path, wall)
        assert "newer trader" in str(refusal.value.hint)
        assert sha256(path) == before


@pytest.mark.parametrize("version", [0, 1, 999])
def test_the_database_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path, version: int) -> None:
    path = tmp_path / "music.db"
    with plain(path) as db:
        db.execute("CREATE TABLE songs (title TEXT)")
        db.execute(f"PRAGMA user_version={version}")
    before = sha256(path)
    for opener in (Store.open_writer, Store.open_reader):
        with pytest.raises(LedgerError, match="is not a trader ledger"):
            opener(path, wall)
    assert sha256(path) == before
    assert rows(path, "SELECT name FROM sqlite_master") == [("songs",)]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam,\n" * 300)
    before = sha256(path)
    for opener in (Store.open_writer, Store.open_reader):
        with pytest.raises(LedgerError, match="is not a trader ledger"):
            opener(path, wall)
    assert sha256(path) == before


def half_way(db: sqlite3.Connection) -> None:
    """A step that changes much and then fails."""
    db.execute("CREATE TABLE half (a TEXT)")
    db.execute("DROP TRIGGER decisions_no_delete")
    db.execute("ALTER TABLE memory ADD COLUMN mood TEXT")
    raise RuntimeError("the step failed half-way")


def test_a_step_that_fails_half_way_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    before = rows(path, "SELECT * FROM sqlite_master")
    bytes_before = sha256(path)
    with with_step(half_way), pytest.raises(RuntimeError, match="half-way"):
        Store.open_writer(path, wall)
    assert rows(path, "SELECT * FROM sqlite_master") == before
    assert rows(path, "PRAGMA user_version") == [(len(migrations.STEPS),)]
    assert sha256(path) == bytes_before
    with closing(Store.open_writer(path, wall)) as store:
        assert list(store.broken_links()) == []


def test_a_first_start_that_fails_half_way_leaves_no_table(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with with_step(half_way), pytest.raises(RuntimeError, match="half-way"):
        Store.open_writer(path, wall)
    assert rows(path, "SELECT name FROM sqlite_master") == []
    assert rows(path, "PRAGMA user_version") == [(0,)]
    Store.open_writer(path, wall).close()
    assert rows(path, "PRAGMA user_version") == [(len(migrations.STEPS),)]


def test_a_process_that_dies_in_a_step_leaves_the_ledger_as_it_was(tmp_path: Path, clean_env: dict[str, str]) -> None:
    path = ledger_at(tmp_path / "agent.db")
    before = rows(path, "SELECT * FROM sqlite_master")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from trader_cli.tools import migrations\n"
        "from trader_cli.tools.store import Store\n"
        "def step(db):\n"
        "    db.execute('CREATE TABLE half (a TEXT)')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "migrations.STEPS.append(step)\n"
        "Store.open_writer(Path(sys.argv[1]), lambda: 0)\n"
    )
    died = subprocess.run([sys.executable, "-c", program, str(path)], env=clean_env, cwd=ROOT, check=False)
    assert died.returncode == -9
    with closing(Store.open_writer(path, wall)) as store:
        assert list(store.broken_links()) == []
    assert rows(path, "SELECT * FROM sqlite_master") == before


def test_a_step_that_is_added_later_runs_once_and_keeps_every_row_and_hash(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    before = rows(path, "SELECT * FROM decisions")

    def later(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE decisions ADD COLUMN mood TEXT")  # a second time it would be an error

    with with_step(later):
        for _ in range(2):
            with closing(Store.open_writer(path, wall)) as store:
                assert migrations.version(store.db) == len(migrations.STEPS)
                assert list(store.broken_links()) == []
    assert [row[:-1] for row in rows(path, "SELECT * FROM decisions")] == before


VIEWS = ("v_cycles", "v_equity", "v_errors", "v_trades")
COPY = f"agent.db.before-schema-{len(migrations.STEPS)}.bak"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger that the first schema's program made and closed."""
    path = tmp_path / "agent.db"
    with with_steps(1):
        grow(path, 6)
    return path


def contents(path: Path) -> tuple[str, str, dict[str, list[object]]]:
    """The chain's head, the content hash and every row, but for columns without a value."""
    with reading(path) as ledger:
        return ledger.head, content_sha256(ledger), {name: kept(ledger, name) for name in EVERY}


def kept(ledger: Ledger, table: str) -> list[object]:
    cursor = ledger.db.execute(f"SELECT * FROM {table} ORDER BY 1")  # noqa: S608 - our own table names
    names = [column[0] for column in cursor.description]
    return [[(name, one) for name, one in zip(names, row, strict=True) if one is not None] for row in cursor]


EVERY = (*(name for name in migrations.CHAINED if name != "model_reserves"), "audit_chain", "open_orders")


def test_a_ledger_of_the_first_schema_gets_the_views_and_keeps_every_row_hash_and_link(old: Path) -> None:
    before = contents(old)
    Store.open_writer(old, wall).close()
    assert contents(old) == before
    assert rows(old, "PRAGMA user_version") == [(len(migrations.STEPS),)]
    assert failures(old) == {}
    assert [name for (name,) in rows(old, "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY 1")] == [*VIEWS]


def test_a_migrated_ledger_has_the_schema_of_a_fresh_one(old: Path, tmp_path: Path) -> None:
    Store.open_writer(old, wall).close()
    fresh = tmp_path / "fresh.db"
    Store.open_writer(fresh, wall).close()
    sql = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    assert rows(old, sql) == rows(fresh, sql)


def test_before_a_migration_the_ledger_is_copied_whole_and_for_its_owner_only(old: Path) -> None:
    before = contents(old)
    Store.open_writer(old, wall).close()
    copy = old.with_name(COPY)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert contents(copy) == before
    assert rows(copy, "PRAGMA user_version") == [(1,)]
    assert [one.name for one in old.parent.iterdir() if "schema" in one.name] == [COPY]


def test_a_fresh_or_current_ledger_is_not_copied(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    Store.open_writer(path, wall).close()
    Store.open_writer(tmp_path / "fresh.db", wall).close()
    assert list(tmp_path.glob("*.bak*")) == []


@pytest.mark.parametrize("other", [b"", b"mine", None], ids=["empty", "no ledger", "another ledger"])
def test_a_file_in_the_copys_place_is_left_as_it_is(old: Path, other: bytes | None) -> None:
    place = old.with_name(COPY)
    if other is None:
        ledger_at(place)
    else:
        place.write_bytes(other)
    kept = sha256(place)
    Store.open_writer(old, wall).close()
    assert sha256(place) == kept
    assert rows(old.with_name(COPY.replace(".bak", "-2.bak")), "PRAGMA user_version") == [(1,)]


def test_a_migration_that_failed_and_is_tried_again_keeps_one_copy(old: Path) -> None:
    with with_step(half_way):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="half-way"):
                Store.open_writer(old, wall)
        assert [one.name for one in old.parent.glob("*.bak*")] == [
            f"agent.db.before-schema-{len(migrations.STEPS)}.bak"
        ]
    assert rows(old, "PRAGMA user_version") == [(1,)]


def test_without_room_for_the_copy_nothing_is_changed(old: Path, clean_env: dict[str, str]) -> None:
    before, most = sha256(old), old.stat().st_size // 2
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
        "from trader_cli.main import run\n"
        "sys.exit(run(['recover', '--db', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(old)],
        env=clean_env, cwd=ROOT, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert COPY in done.stderr
    assert sha256(old) == before
    assert list(old.parent.glob("*schema*")) == []


def test_a_ledger_of_the_first_schema_can_be_looked_at_before_it_is_migrated(old: Path) -> None:
    before = sha256(old)
    for words in (
        ("status",),
        ("ledger", "show"),
        ("ledger", "show", "--errors"),
        ("ledger", "show", "--trades"),
        ("ledger", "show", "--action", "BUY"),
        ("ledger", "tail"),
        ("ledger", "trace", "last"),
    ):
        assert run([*words, "--db", str(old)]) == 0
    assert failures(old) == {}
    assert sha256(old) == before


def test_a_view_of_somebodys_own_in_the_place_of_one_of_ours_is_named_and_kept(old: Path) -> None:
    with plain(old) as db:
        db.execute("CREATE VIEW v_cycles AS SELECT 1 AS mine")
    with pytest.raises(LedgerError, match='holds a "v_cycles" of somebody') as refusal:
        Store.open_writer(old, wall)
    assert "Drop or rename it" in str(refusal.value.hint)
    assert rows(old, "SELECT mine FROM v_cycles") == [(1,)]
    assert rows(old, "PRAGMA user_version") == [(1,)]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_names_times_alike_and_keeps_money_as_text(tmp_path: Path, view: str) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with plain(path) as db:
        db.row_factory = sqlite3.Row
        found = db.execute(f"SELECT * FROM {view} ORDER BY time_utc DESC").fetchall()  # noqa: S608
    assert found
    assert {"time_utc", "trace_id"} <= set(found[0].keys())
    numbers = {name for row in found for name in row.keys() if isinstance(row[name], float)}  # noqa: SIM118
    assert numbers <= {"confidence"}


def test_the_views_hold_a_row_per_cycle_trade_snapshot_and_error(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    for view, table in (
        ("v_cycles", "decisions WHERE agent = 'PLANNER'"),
        ("v_trades", "trades"),
        ("v_equity", "portfolio"),
    ):
        assert one(path, f"SELECT count(*) FROM {view}") == one(path, f"SELECT count(*) FROM {table}")  # noqa: S608
    fallbacks = rows(path, "SELECT trace_id, agent FROM decisions WHERE source = 'fallback' ORDER BY id")
    assert rows(path, "SELECT trace_id, who FROM v_errors WHERE kind = 'FALLBACK' ORDER BY row_id") == fallbacks
    assert fallbacks


# Schema 4: trades are unique within an epoch of the account.

FILL = {
    **dict.fromkeys(("qty", "price", "quote_qty", "fee", "fee_quote"), "1"),
    "ts_utc": "t",
    "client_order_id": "t1-1",
    "trade_id": "28",
    "fee_asset": "BTC",
    **OUR_COLUMNS,
}


def test_a_trade_is_taken_once_in_an_epoch_and_again_in_the_next(made: sqlite3.Connection) -> None:
    made.execute("PRAGMA foreign_keys=OFF")
    for epoch in (None, 2, 3):
        insert(made, "fills", {**FILL, "epoch": epoch})
        with pytest.raises(sqlite3.IntegrityError, match="append-only: that row exists"):
            insert(made, "fills", {**FILL, "epoch": epoch})
    with pytest.raises(sqlite3.IntegrityError, match="append-only: that row exists"):
        insert(made, "fills", {**FILL, "epoch": 1})  # the first epoch is the one without a number
    insert(made, "fills", {**FILL, "trade_id": "29"})


def test_fills_of_an_older_ledger_keep_their_ids_and_numbers_are_not_given_again(old: Path) -> None:
    with closing(sqlite3.connect(old)) as db:
        before = db.execute("SELECT * FROM fills ORDER BY id").fetchall()
        counted = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'fills'").fetchone()
    assert before
    with closing(Ledger.open_writer(old, wall)) as ledger:
        assert [(*row[:-1],) for row in ledger.db.execute("SELECT * FROM fills ORDER BY id")] == before
        assert ledger.db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'fills'").fetchone() == counted
        assert list(ledger.broken_links()) == []
        for verb in ("UPDATE fills SET qty = '9'", "DELETE FROM fills"):
            with pytest.raises(sqlite3.IntegrityError, match="fills is append-only"):
                ledger.db.execute(verb)
