"""`ledger export`: every row whole and once, money as it is kept, files whole or not there, no formula in a cell."""

from __future__ import annotations

import csv
import io
import json
import resource
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import ledger_at, only, plain, reading, rows, tampering
from tests.test_hostile import Say, say
from trader_cli.core import accounting
from trader_cli.core.errors import UsageError
from trader_cli.schemas.book import Book
from trader_cli.schemas.order import Side
from trader_cli.tools import exports
from trader_cli.tools.files import save
from trader_cli.tools.rows import FILLS, read_fill
from trader_cli.views.output import clean

__all__ = ["say"]


def exported(say: Say, *words: str) -> list[dict[str, str]]:
    """The rows of an export as CSV."""
    said = say("ledger", "export", *words)
    assert (said.code, said.stderr) == (0, "")
    return list(csv.DictReader(io.StringIO(said.stdout)))


@pytest.mark.parametrize("table", exports.TABLES)
def test_a_table_is_exported_whole_and_as_it_is_kept(ledger: Path, say: Say, table: str) -> None:
    if table in ("decisions", "trades"):
        return  # these have more columns, see below
    kept = rows(ledger, f"SELECT * FROM {table}")
    with plain(ledger) as db:
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    found = exported(say, table)
    assert [list(row) for row in found] == [names] * len(kept)
    assert [list(row.values()) for row in found] == [["" if v is None else clean(str(v)) for v in row] for row in kept]


def test_decisions_carry_what_they_said_in_columns(ledger: Path, say: Say) -> None:
    found = exported(say, "decisions")
    assert len(found) == only(ledger, "SELECT count(*) FROM decisions")
    for row in found:
        said = json.loads(row["payload_json"])
        for name in ("mode", "action", "qty", "policy_id", "decision", "revised_qty", "notes"):
            assert row[name] == str(said.get(name, ""))


def test_trades_carry_their_policy_and_what_they_realized(ledger: Path, say: Say) -> None:
    found = exported(say, "trades")
    assert len(found) == only(ledger, "SELECT count(*) FROM trades") > 5
    assert {row["policy"] for row in found} == {"ma_trend"}
    total = sum(Decimal(row["realized_pnl"]) for row in found)
    last = only(ledger, "SELECT realized_pnl_usdt FROM portfolio ORDER BY id DESC LIMIT 1")
    assert total == Decimal(last) != 0
    assert sum(Decimal(row["fee_quote"]) for row in found) == Decimal(
        only(ledger, "SELECT fees_usdt FROM portfolio ORDER BY id DESC LIMIT 1")
    )


def test_lots_add_up_to_the_book(ledger: Path, say: Say) -> None:
    found = exported(say, "lots")
    book = Book()
    for row in rows(ledger, FILLS + " ORDER BY f.id"):
        book = accounting.fold(book, Side(row[0]), read_fill(row), "BTC", "USDT")
    still = [row for row in found if row["state"] == "open"]
    closed = [row for row in found if row["state"] == "closed"]
    assert closed
    assert sum(Decimal(row["qty"]) for row in still) == book.base
    profit = sum(Decimal(row["profit"]) for row in closed)
    cost = sum(Decimal(row["cost"]) for row in still)
    assert profit - cost == book.realized - book.cost
    for row in closed:
        assert Decimal(row["profit"]) == Decimal(row["proceeds"]) - Decimal(row["cost"])
        assert row["opened_at"] <= row["closed_at"]
        assert row["policy"] == "ma_trend"


@pytest.mark.untraced
def test_returns_multiply_to_the_growth_of_equity(tmp_path: Path, say: Say) -> None:
    assert say("loop", "--cycles", "700", "--speed", "fast", "-q").code == 0
    found = exported(say, "returns")
    assert [row["date"] for row in found] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    growth = Decimal(1)
    for row in found:
        growth *= 1 + Decimal(row["return"])
    assert abs(growth * 1000 - Decimal(found[-1]["equity"])) < Decimal("1e-8")
    (last,) = rows(tmp_path / "data" / "agent.db", "SELECT equity_usdt FROM portfolio ORDER BY id DESC LIMIT 1")[0]
    assert found[-1]["equity"] == last


def test_money_put_in_is_no_return(ledger: Path) -> None:
    with tampering(ledger) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(portfolio)")]
        newest = db.execute("SELECT * FROM portfolio ORDER BY id DESC LIMIT 1").fetchone()
        row = dict(zip(names, newest, strict=True))
        row |= {"id": row["id"] + 1, "ts_utc": "2030-01-01T00:00:00.000Z"}
        row["deposits_usdt"] = str(Decimal(row["deposits_usdt"]) + 500)
        row["equity_usdt"] = str(Decimal(row["equity_usdt"]) + 500)
        db.execute(f"INSERT INTO portfolio VALUES ({','.join('?' * len(row))})", list(row.values()))
    with reading(ledger) as open_ledger:
        last = list(exports.export(open_ledger, "returns", exports.Span()))[-1]
    assert (last["date"], last["return"]) == ("2030-01-01", "0")


def test_cycles_are_those_of_the_screen_oldest_first(ledger: Path, say: Say) -> None:
    shown = json.loads(say("ledger", "show", "-n", "0", "--json").stdout)["cycles"]
    assert json.loads(say("ledger", "export", "cycles", "--json").stdout)["rows"] == shown[::-1]


def test_a_span_of_time_leaves_the_rest_out(ledger: Path, say: Say) -> None:
    times = [row["ts_utc"] for row in exported(say, "cycles")]
    since, until = times[3], times[-4]
    for what in ("cycles", "decisions", "portfolio", "observations", "trades", "fills"):
        everything = exported(say, what)
        wanted = [row for row in everything if since <= row["ts_utc"] < until]
        assert exported(say, what, "--since", since, "--until", until) == wanted
        assert 0 < len(wanted) < len(everything)
    assert say("ledger", "export", "meta", "--since", since).code == 2
    assert say("ledger", "export", "cycles", "--since", "yesterdayy").code == 2


def test_json_lines_and_json_hold_the_same_rows_with_json_inside_opened(ledger: Path, say: Say) -> None:
    lines = say("ledger", "export", "decisions", "--format", "jsonl").stdout.splitlines()
    document = json.loads(say("ledger", "export", "decisions", "--format", "json").stdout)
    assert document["schema"] == "trader.export/1"
    assert [json.loads(line) for line in lines] == document["rows"]
    assert isinstance(document["rows"][0]["payload"], dict)


@pytest.mark.parametrize("word", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_word_of_a_model_is_a_formula_or_a_second_line(ledger: Path, say: Say, word: str) -> None:
    with tampering(ledger) as db:
        db.execute("UPDATE decisions SET cause = ? WHERE id = 4", (word + '\n"x,\x1b]52;c;aGk=\x07\u202e',))
    said = say("ledger", "export", "decisions")
    (cell,) = [row["cause"] for row in csv.DictReader(io.StringIO(said.stdout)) if row["id"] == "4"]
    assert cell[0] in "'\\"
    assert "\n" not in cell
    assert "\x1b" not in said.stdout
    assert len(said.stdout.splitlines()) == only(ledger, "SELECT count(*) FROM decisions") + 1


def test_a_file_is_private_whole_and_never_overwritten_unasked(ledger: Path, say: Say, tmp_path: Path) -> None:
    file = tmp_path / "trades.jsonl"
    assert say("ledger", "export", "trades", "-o", str(file)).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    assert len(before.splitlines()) == only(ledger, "SELECT count(*) FROM trades")
    refused = say("ledger", "export", "cycles", "-o", str(file))
    assert (refused.code, file.read_bytes()) == (2, before)
    assert "--force" in refused.stderr
    told: dict[str, Any] = json.loads(say("ledger", "export", "cycles", "-o", str(file), "--force", "--json").stdout)
    assert told["bytes"] == file.stat().st_size != len(before)
    assert [path.name for path in tmp_path.iterdir()] == ["data", "trades.jsonl"] or len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_is_full_leaves_no_part_of_a_file(ledger: Path, say: Say, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        said = say("ledger", "export", "decisions", "-o", str(tmp_path / "full.csv"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.code == 6
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("where", ["nowhere/x.csv", "data", "a\0b"])
def test_a_file_that_cannot_be_is_refused(ledger: Path, say: Say, where: str) -> None:
    assert say("ledger", "export", "trades", "-o", where).code == 2


def test_what_there_is_not_is_refused_with_a_suggestion(ledger: Path, say: Say) -> None:
    said = say("ledger", "export", "candels")
    assert said.code == 2
    assert 'Did you mean "candles"?' in said.stderr
    assert say("ledger", "export", "trades", "--force").code == 2


def test_an_empty_ledger_gives_a_header_and_no_row(say: Say) -> None:
    assert say("snapshot").code == 0
    for what in ("cycles", "trades", "lots", "decisions", "fills"):
        assert len(say("ledger", "export", what).stdout.splitlines()) == 1
    assert json.loads(say("ledger", "export", "trades", "--json").stdout)["rows"] == []
    assert say("ledger", "export", "trades", "--db", "no.db").code == 8


@pytest.mark.parametrize("what", exports.WHAT)
def test_no_export_sorts_a_table_or_keeps_it_in_memory(ledger: Path, what: str) -> None:
    spans = [exports.Span()]
    if what in ("decisions", "trades", "portfolio", "orders", "cycles"):
        spans.append(exports.Span(since=1, until=2**40))
    asked: list[str] = []
    with reading(ledger) as open_ledger:
        for span in spans:
            open_ledger.db.set_trace_callback(asked.append)
            list(exports.export(open_ledger, what, span))
            open_ledger.db.set_trace_callback(None)
        for sql in (sql for sql in asked if sql.lstrip().startswith("SELECT")):
            plan = [row[3] for row in open_ledger.db.execute("EXPLAIN QUERY PLAN " + sql)]
            assert not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)


@pytest.mark.parametrize("name", ["agent.db", "agent.db-wal", "agent.db.lock", "agent.db.before-schema-2.bak", "STOP"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_what_belongs_to_the_ledger_is_never_written_over(
    ledger: Path, say: Say, name: str, force: tuple[str, ...]
) -> None:
    before = {path.name: path.read_bytes() for path in ledger.parent.iterdir()}
    assert say("ledger", "export", "trades", "-o", str(ledger.with_name(name)), *force).code == 2
    assert {path.name: path.read_bytes() for path in ledger.parent.iterdir()} == before


def test_another_ledger_is_never_written_over_either(ledger: Path, say: Say, tmp_path: Path) -> None:
    other = ledger_at(tmp_path / "other.csv")
    before = other.read_bytes()
    assert say("ledger", "export", "trades", "-o", str(other), "--force").code == 2
    assert other.read_bytes() == before


def test_a_file_that_somebody_makes_meanwhile_stays(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"

    def pieces() -> Iterator[str]:
        file.write_text("theirs", encoding="utf-8")
        yield "ours"

    with pytest.raises(UsageError, match="is there already"):
        save(file, pieces(), "-o")
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["theirs"]
