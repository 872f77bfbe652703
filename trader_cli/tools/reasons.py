"""What `why` reads: which trace or order is meant, its rows, and what memory and the book hold of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trader_cli.core.documents import opened
from trader_cli.core.errors import NotFoundError, UsageError
from trader_cli.schemas.memory import Held, Learnt
from trader_cli.tools import queries
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import learnt_of, still_held

SHORTEST = 6
"""The least that must be given of an order's name."""

Row = dict[str, Any]

_OF_ORDER = {
    "orders": "SELECT * FROM orders WHERE client_order_id = ?",
    "order_events": "SELECT * FROM order_events WHERE client_order_id = ? ORDER BY id",
    "fills": "SELECT * FROM fills WHERE client_order_id = ? ORDER BY id",
    "trades": "SELECT * FROM trades WHERE idempotency_key = ? ORDER BY id",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about.

    Attributes:
        trace_id: its cycle; None for an order that no decision of this ledger made.
        client_order_id: the order, where one was named.
    """

    trace_id: str | None
    client_order_id: str | None = None


def subject(ledger: Ledger, word: str) -> Subject:
    """What a trade's number, an order's name, the beginning of either name or of a trace, or `last` means.

    Digits are a trade if there is one of that number, else a trace. Raises NotFoundError, UsageError.
    """
    number = word.removeprefix("#")
    if number.isascii() and number.isdigit() and len(number) <= 18:
        sql = "SELECT trace_id, idempotency_key FROM trades WHERE id = ?"
        row = ledger.db.execute(sql, (int(number),)).fetchone()
        if row is not None:
            return Subject(*row)
        if word.startswith("#") or len(word) < 4:
            raise NotFoundError(
                f"no trade #{number} in this ledger: {_trades(ledger)}", "See them: trader ledger show --trades -o wide"
            )
    if word.startswith("t1-"):
        return _order(ledger, word)
    return Subject(queries.full_trace_id(ledger, word))


def _trades(ledger: Ledger) -> str:
    """Which trades there are."""
    first, last = ledger.db.execute("SELECT min(id), max(id) FROM trades").fetchone()
    return "it has none yet" if first is None else f"it has #{first} to #{last}"


def _order(ledger: Ledger, word: str) -> Subject:
    if not word.isascii():
        raise NotFoundError(f'no order "{word}" in this ledger', "See them: trader ledger show --trades -o wide")
    rows = ledger.db.execute(
        "SELECT trace_id, client_order_id FROM orders WHERE client_order_id >= ? AND client_order_id < ? "
        "ORDER BY client_order_id LIMIT 6",
        (word, word + "\x7f"),
    ).fetchall()
    if found := next((row for row in rows if row[1] == word), None):
        return Subject(*found)
    if len(word) < SHORTEST + 3:
        raise UsageError(f'needs {SHORTEST} or more characters after "t1-", was "{word}"', "See: trader ledger trace")
    if not rows:
        raise NotFoundError(f'no order "{word}" in this ledger', "See them: trader ledger show --trades -o wide")
    if len(rows) > 1:
        raise UsageError(f'"{word}" begins several orders: {", ".join(row[1] for row in rows)}', "Give more of it.")
    return Subject(*rows[0])


def rows_of(ledger: Ledger, asked: Subject) -> dict[str, list[Row]]:
    """Every row of a trace; of an order that has none, what there is of the order."""
    if asked.trace_id is not None:
        return queries.trace(ledger, asked.trace_id)
    of_order = {table: _rows(ledger, sql, (asked.client_order_id,)) for table, sql in _OF_ORDER.items()}
    nothing: dict[str, list[Row]] = {
        table: [] for table in ("decisions", "observations", "model_calls", "portfolio", "events")
    }
    return {**nothing, **of_order}


def _rows(ledger: Ledger, sql: str, values: tuple[Any, ...]) -> list[Row]:
    cursor = ledger.db.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [opened(dict(zip(names, row, strict=True))) for row in cursor]


def outcomes_of(ledger: Ledger, client_order_id: str) -> tuple[list[Learnt], list[Held]]:
    """What memory learnt of an order, and what of it is still held."""
    learnt = list(learnt_of(ledger, client_order_id))
    return learnt, [one for one in still_held(ledger) if one.opened_by == client_order_id]


def mark(ledger: Ledger) -> str | None:
    """The newest mark price."""
    row = ledger.db.execute("SELECT mark_price FROM portfolio ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def lookups(calls: list[Row]) -> tuple[str, ...]:
    """What the trader's tool calls got."""
    return tuple(
        one["output"]
        for call in calls
        if call["agent"] == "TRADER"
        for one in call.get("tools") or ()
        if one["output"] is not None
    )
