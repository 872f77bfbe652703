"""rehearse(): a ledger in memory that holds what a phase may read of a real one. Nothing reaches the file.

It copies the ends of the tables, not the file: the newest lineage, open orders, the last
snapshot and what came after it, the candles of a window. Without a ledger it begins empty.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from trader_cli.core.errors import LedgerError
from trader_cli.core.moments import Moment, day_start, iso
from trader_cli.schemas.order import SETTLED
from trader_cli.tools import chain, migrations
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.store import errors

ROWS = 3_000
"""How many of the newest rows of a table are copied: more than one window and one day of orders."""

_ALL = 2**62
"""More than the number of any link."""

_FEWER = {"model_calls": 1, "model_reserves": 0, "observations": 60, "decisions": 600, "memory": 300}
"""Tables with wide rows of which a phase reads only the end."""

_WHOLE = ("meta", "prompts")
_NEWEST = tuple(table for table in migrations.CHAINED if table not in _WHOLE)
_OLDER = {
    "events": "SELECT max(id) FROM source.events WHERE link < :before GROUP BY kind",
    "memory": "SELECT max(id) FROM source.memory WHERE link < :before GROUP BY key",
    "decisions": "SELECT d.id FROM source.trades AS t JOIN source.decisions AS p ON p.id = t.proposal_id "
    "JOIN source.decisions AS d ON d.id IN (p.id, p.plan_id) "
    "WHERE t.id = (SELECT max(id) FROM source.trades WHERE side = 'BUY' AND link < :before)",
    "model_reserves": "SELECT id FROM source.model_reserves WHERE wall_ts >= :day",
    "model_calls": "SELECT c.id FROM source.model_reserves AS r JOIN source.model_calls AS c ON c.reserve_id = r.id "
    "WHERE r.wall_ts >= :day UNION SELECT id FROM (SELECT id FROM source.model_calls "
    "WHERE cost_usd <> '0' AND id >= :since AND id <= :newest ORDER BY id DESC LIMIT 300)",
}
"""What is read however old it is: the trading state (the newest event of each kind), what memory knows of each policy,
whose the position is, and what models cost today and, as far as the newest calls tell, since the last sale."""


def rehearse(path: Path, wall: Callable[[], Moment], before: int | None = None) -> Ledger:
    """A writable copy in memory; the file is opened read-only and closed again.

    With `before`, as the ledger stood before that link was written.
    """
    ledger = Ledger.in_memory(wall)
    if not path.is_file():
        return ledger
    with errors(path):
        db = ledger.db
        db.execute("PRAGMA foreign_keys=OFF")  # old parents stay behind
        db.execute("ATTACH DATABASE ? AS source", (f"file:{quote(str(path))}?mode=ro",))
        try:
            if int(db.execute("PRAGMA source.user_version").fetchone()[0]) != len(migrations.STEPS):
                raise LedgerError(
                    "a look ahead or back needs a ledger of this program's schema",
                    "Run any writing command once: trader recover",
                )
            db.execute("BEGIN")
            _copy(db, {"day": iso(day_start(wall())), "before": _ALL if before is None else before})
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.execute("DETACH DATABASE source")
    ledger.refresh()
    return ledger


def _last_sale(db: sqlite3.Connection, values: dict[str, str | int]) -> int:
    """The link of the newest sale."""
    row = db.execute(
        "SELECT link FROM source.trades WHERE side = 'SELL' AND link < :before ORDER BY id DESC LIMIT 1", values
    ).fetchone()
    return int(row[0]) if row else 0


def _copy(db: sqlite3.Connection, values: dict[str, str | int]) -> None:
    """The ends of the tables, up to the link `before`."""
    for table in _WHOLE:
        db.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table} WHERE link < :before ORDER BY id", values)
    for table in _NEWEST:
        end = chain.first_id(db, f"source.{table}", int(values["before"]))
        newest = (
            db.execute(f"SELECT coalesce(max(id), 0) FROM source.{table}").fetchone()[0] if end is None else end - 1
        )
        here = {**values, "newest": newest, "oldest": newest - _FEWER.get(table, ROWS)}
        if table == "model_calls":
            here["since"] = chain.first_id(db, f"source.{table}", _last_sale(db, values)) or newest
        copy = f"INSERT INTO main.{table} SELECT * FROM source.{table} WHERE id"
        if older := _OLDER.get(table):
            db.execute(f"{copy} IN ({older}) AND id <= :oldest ORDER BY id", here)
        db.execute(f"{copy} > :oldest AND id <= :newest ORDER BY id", here)
    db.execute(
        "INSERT INTO main.audit_chain SELECT * FROM source.audit_chain WHERE seq < :before ORDER BY seq DESC LIMIT 1",
        values,
    )
    open_now = "SELECT * FROM source.open_orders"
    settled = ",".join(f"'{state.value}'" for state in SETTLED)
    open_then = (
        "SELECT o.client_order_id FROM main.orders AS o WHERE (SELECT e.state FROM main.order_events AS e "
        f"WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1) NOT IN ({settled})"
    )
    db.execute(f"INSERT INTO main.open_orders {open_now if values['before'] == _ALL else open_then}")
