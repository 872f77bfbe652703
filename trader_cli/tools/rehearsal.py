"""rehearse(): a ledger in memory that holds what a phase may read of a real one. Nothing reaches the file.

It copies the ends of the tables, not the file: the newest lineage, open orders, the last
snapshot and what came after it, the candles of a window. Without a ledger it begins empty.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from trader_cli.core.errors import LedgerError
from trader_cli.core.moments import Moment, day_start, iso
from trader_cli.tools import migrations
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.store import errors

ROWS = 3_000
"""How many of the newest rows of a table are copied: more than one window and one day of orders."""

_FEWER = {"model_calls": 1, "model_reserves": 0, "observations": 60, "decisions": 600}
"""Tables with wide rows of which a phase reads only the end."""

_WHOLE = ("meta", "prompts")
_NEWEST = tuple(table for table in migrations.CHAINED if table not in _WHOLE)
_OLDER = {
    "events": "SELECT max(id) FROM source.events GROUP BY kind",
    "decisions": "SELECT d.id FROM source.trades AS t JOIN source.decisions AS p ON p.id = t.proposal_id "
    "JOIN source.decisions AS d ON d.id IN (p.id, p.plan_id) "
    "WHERE t.id = (SELECT max(id) FROM source.trades WHERE side = 'BUY')",
    "model_reserves": "SELECT id FROM source.model_reserves WHERE wall_ts >= :day",
    "model_calls": "SELECT c.id FROM source.model_reserves AS r JOIN source.model_calls AS c ON c.reserve_id = r.id "
    "WHERE r.wall_ts >= :day",
}
"""What is read however old it is: the trading state (the newest event of each kind), whose the position is, and what
models cost today."""


def rehearse(path: Path, wall: Callable[[], Moment]) -> Ledger:
    """A writable copy in memory; the file is opened read-only and closed again."""
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
                    "a dry run needs a ledger of this program's schema", "Run any writing command once: trader recover"
                )
            db.execute("BEGIN")
            for table in _WHOLE:
                db.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table} ORDER BY id")
            for table in _NEWEST:
                copy = f"INSERT INTO main.{table} SELECT * FROM source.{table} WHERE id"
                newest = f"(SELECT coalesce(max(id), 0) FROM source.{table}) - {_FEWER.get(table, ROWS)}"
                if older := _OLDER.get(table):
                    db.execute(f"{copy} IN ({older}) AND id <= {newest} ORDER BY id", {"day": iso(day_start(wall()))})
                db.execute(f"{copy} > {newest} ORDER BY id")
            db.execute("INSERT INTO main.audit_chain SELECT * FROM source.audit_chain ORDER BY seq DESC LIMIT 1")
            db.execute("INSERT INTO main.open_orders SELECT * FROM source.open_orders")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.execute("DETACH DATABASE source")
    ledger.refresh()
    return ledger
