"""`ledger query`, `ledger stats`, `ledger path`: SQL that can only read, figures without a scan, a name."""

from __future__ import annotations

import json
import resource
from decimal import Decimal
from pathlib import Path

import pytest

from tests.ledgers import only, reading, rows, sha256, tampering
from tests.test_hostile import Say, say
from trader_cli.tools.migrations import CHAINED
from trader_cli.tools.sql import select
from trader_cli.tools.stats import stats
from trader_cli.views.output import Column

__all__ = ["say"]


def test_a_select_gives_a_header_and_every_value_whole(ledger: Path, say: Say) -> None:
    said = say(
        "ledger", "query", "select side, qty, 5e-05 as small, x'00ff' as raw, null as none from v_trades limit 1"
    )
    assert said.stdout.splitlines()[0] == "side\tqty\tsmall\traw\tnone"
    assert said.stdout.splitlines()[1].split("\t")[2:] == ["0.00005", "00ff", ""]


def test_columns_of_one_name_are_told_apart(ledger: Path, say: Say) -> None:
    said = say("ledger", "query", "select 1 as a, 2 as a, 3 as a", "--json")
    assert json.loads(said.stdout) == {"schema": "trader.query/1", "rows": [{"a": 1, "a_2": 2, "a_3": 3}]}


@pytest.mark.parametrize(
    "sql",
    [
        "delete from trades",
        "insert into events (ts_utc) values ('x')",
        "update meta set value = 'x'",
        "drop table trades",
        "create table x (a)",
        "create temp table x (a)",
        "attach 'other.db' as other",
        "detach main",
        "pragma user_version = 9",
        "pragma journal_mode = delete",
        "pragma writable_schema = on",
        "vacuum into 'copy.db'",
        "begin",
        "rollback",
        "commit",
        "reindex",
        "select load_extension('x')",
        "with x as (select 1) delete from trades",
        "select 1; delete from trades",
        "",
        "-- nothing",
        "selec 1",
        "select * from nowhere",
        "select zeroblob(1000000000)",
        "select json_extract('x', '$.a')",
        "select 'a\0b",
    ],
)
def test_nothing_can_be_written_loaded_or_attached(ledger: Path, say: Say, tmp_path: Path, sql: str) -> None:
    before = sha256(ledger)
    said = say("ledger", "query", sql)
    assert (said.code, said.stdout) == (2, "")
    assert sha256(ledger) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_query_without_end_is_ended(ledger: Path, say: Say) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    said = say("ledger", "query", endless, "--timeout", "0.2")
    assert said.code == 2
    assert "longer than 0.2 s" in said.stderr


def test_so_many_rows_and_no_more_are_read(ledger: Path, say: Say) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    said = say("ledger", "query", endless, "-n", "3")
    assert said.stdout.splitlines() == ["i", "1", "2", "3"]
    assert "-n 0" in said.stderr


def test_what_a_query_sorts_goes_to_a_file_and_not_into_memory(ledger: Path) -> None:
    with reading(ledger) as open_ledger, select(open_ledger.db, "select 1", 5.0):
        open_ledger.db.set_authorizer(None)
        assert open_ledger.db.execute("PRAGMA temp_store").fetchone() == (1,)


def test_no_room_to_sort_is_no_damage(ledger: Path, say: Say) -> None:
    many = "with recursive n(i) as (select 1 union all select i + 1 from n limit 20000)"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        said = say("ledger", "query", f"{many} select i, hex(zeroblob(500)) as x from n order by x, -i")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.code == 6
    assert "damaged" not in said.stderr


def test_text_that_is_no_text_is_shown_harmlessly(ledger: Path, say: Say) -> None:
    with tampering(ledger) as db:
        db.execute("UPDATE decisions SET cause = CAST(x'1b5d35fe00' AS TEXT) WHERE id = 4")
    said = say("ledger", "query", "select cause from decisions where id = 4")
    assert said.stdout.splitlines()[1] == "\\x1b]5\\xfe\\x00"


def test_the_figures_are_those_of_the_tables(ledger: Path, say: Say) -> None:
    document = json.loads(say("ledger", "stats", "--json").stdout)
    for table in (*CHAINED, "audit_chain"):
        assert document["rows"][table] == only(ledger, f"SELECT count(*) FROM {table}")
    assert document["fallbacks"] == only(ledger, "SELECT count(*) FROM decisions WHERE source = 'fallback'") > 0
    assert sum(document["decisions"].values()) == only(ledger, "SELECT count(*) FROM decisions")
    assert document["trades"]["BUY"] == only(ledger, "SELECT count(*) FROM trades WHERE side = 'BUY'")
    costs = rows(ledger, "SELECT cost_usd FROM model_calls")
    assert Decimal(document["model_cost_usd"]) == sum(Decimal(cost) for (cost,) in costs) > 0


def test_costs_are_added_up_exactly(ledger: Path) -> None:
    with tampering(ledger) as db:
        db.execute("UPDATE model_calls SET cost_usd = CASE WHEN id <= 3 THEN '0.1' ELSE '0' END")
    with reading(ledger) as open_ledger:
        assert str(stats(open_ledger)["model_cost_usd"]) == "0.3"


def test_no_figure_reads_a_large_table_whole(ledger: Path) -> None:
    asked: list[str] = []
    with reading(ledger) as open_ledger:
        open_ledger.db.set_trace_callback(asked.append)
        stats(open_ledger)
        open_ledger.db.set_trace_callback(None)
        plans = {
            sql: [row[3] for row in open_ledger.db.execute("EXPLAIN QUERY PLAN " + sql)]
            for sql in asked
            if sql.startswith("SELECT")
        }
    for sql, plan in plans.items():
        whole = [step for step in plan if step.startswith("SCAN") and "INDEX" not in step]
        assert not whole or "open_orders" in sql or "trades" in sql, (sql, plan)
        assert not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)


def test_the_path_is_said_whether_or_not_there_is_a_ledger(ledger: Path, say: Say, tmp_path: Path) -> None:
    assert say("ledger", "path").stdout == f"{ledger}\n"
    said = say("ledger", "path", "--db", "other.db")
    assert (said.code, said.stdout) == (0, f"{tmp_path / 'other.db'}\n")
    assert "trader cycle" in said.stderr


def test_json_inside_the_ledger_can_be_asked_too(ledger: Path, say: Say) -> None:
    sql = "select count(*) as n from decisions, json_each(payload_json) where json_each.key = 'mode'"
    assert say("ledger", "query", sql).stdout.splitlines()[1] == str(
        only(ledger, "SELECT count(*) FROM decisions WHERE agent = 'PLANNER'")
    )
    assert "cost_usd" in say("ledger", "query", "select name from pragma_table_info('model_calls')").stdout


def test_a_step_that_takes_long_is_ended_by_the_clock_too(ledger: Path, say: Say) -> None:
    slow = (
        "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(length(randomblob(3000000))) from n"
    )
    assert say("ledger", "query", slow, "--timeout", "0.2").code == 2


def test_the_name_of_a_column_is_no_command_to_a_terminal(ledger: Path, say: Say) -> None:
    said = say("ledger", "query", 'select 1 as "a\x1b]52;c;aGk=\x07\u202e\tb"')
    assert said.stdout.splitlines() == ["a\\x1b]52;c;aGk=\\x07\\u202e\\x09b", "1"]
    assert Column("a", "x\x1by").heading == "x\\x1by"
