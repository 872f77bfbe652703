"""A ledger of any size: the cycles of a small one, again and again, with ids, times and names moved on.

Rows, indexes and sizes are as a loop of that length leaves them; only the chain does not hold from one
copy to the next, so it is for reading.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

REFERS = {
    "plan_id": "decisions",
    "proposal_id": "decisions",
    "verdict_id": "decisions",
    "observation_id": "observations",
    "model_call_id": "model_calls",
    "link": "audit_chain",
    "seq": "audit_chain",
}
"""Columns that hold the id of a row, and whose."""

TIMES = ("ts_utc", "opened_at", "first_at", "last_at", "wake_at")
DIGESTS = ("trace_id", "hash")
NAMES = ("client_order_id", "trade_id", "idempotency_key", "exchange_order_id")
ONCE = ("meta", "prompts", "terms", "events", "memory")
"""Tables that hardly grow with the cycles."""


def grow(small: Path, large: Path, decisions: int) -> None:
    """Write to `large` the rows of `small` as often as it takes to have `decisions` decisions."""
    shutil.copyfile(small, large)
    db = sqlite3.connect(large, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-200000")
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    tables = [
        row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%STRICT'")
    ]
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    db.execute("BEGIN")
    sizes = {table: _highest(db, table) for table in (*tables, "audit_chain")}
    copies = max(0, -(-decisions // sizes["decisions"]) - 1)
    first, last = db.execute("SELECT min(opened_at), max(opened_at) FROM candles").fetchone()
    (span,) = db.execute("SELECT unixepoch(?) - unixepoch(?) + 300", (last, first)).fetchone()
    for table in tables:
        if table not in (*ONCE, "open_orders"):
            db.execute(_copying(db, table, sizes, span), {"copies": copies})
    for _, sql in triggers:
        db.execute(sql)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode=WAL")
    db.close()


def _copying(db: sqlite3.Connection, table: str, sizes: Mapping[str, int], span: int) -> str:
    """The statement that appends the copies of one table's rows."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    values = [_moved(table, column, sizes, span) for column in columns]
    return (
        "WITH RECURSIVE copy(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM copy WHERE k < :copies) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
        f"FROM copy CROSS JOIN {table} AS r WHERE r.{columns[0]} <= {sizes[table]} AND :copies > 0"
    )


def _moved(table: str, column: str, sizes: Mapping[str, int], span: int) -> str:
    """A column's value in copy number k."""
    if column == "id" or column in REFERS:
        return f"r.{column} + k * {sizes[table if column == 'id' else REFERS[column]]}"
    if column in TIMES:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', r.{column}, '+' || (k * {span}) || ' seconds')"
    if column in DIGESTS:
        return f"printf('%08x', k * 2654435761 & 4294967295) || substr(r.{column}, 9)"
    if column in NAMES:
        return f"r.{column} || '-' || k"
    return f"r.{column}"


def _highest(db: sqlite3.Connection, table: str) -> int:
    key = "seq" if table == "audit_chain" else "rowid"
    return int(db.execute(f"SELECT coalesce(max({key}), 0) FROM {table}").fetchone()[0])


if __name__ == "__main__":
    grow(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
