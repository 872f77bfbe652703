"""What `why` reads: the trace of a trade, and what memory and the book hold of a trace's order."""

from __future__ import annotations

from typing import Any

from trader_cli.core.errors import NotFoundError, UsageError
from trader_cli.schemas.memory import Held, Learnt
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import learnt_of, still_held
from trader_cli.tools.queries import full_trace_id

SHORTEST = 6
"""The least that must be given of an order's name."""


def subject(ledger: Ledger, word: str) -> str:
    """The trace that a trade's number, an order's name, the beginning of a trace or `last` means.

    Digits are a trade if there is one of that number, else a trace. Raises NotFoundError, UsageError.
    """
    number = word.removeprefix("#")
    if number.isascii() and number.isdigit() and len(number) <= 18:
        row = ledger.db.execute("SELECT id, trace_id FROM trades WHERE id = ?", (int(number),)).fetchone()
        if row is not None:
            return _of_trace(f"trade #{row[0]}", row[1])
        if word.startswith("#") or len(word) < 4:
            raise NotFoundError(f"no trade #{number} in this ledger", "See them: trader ledger show --trades")
    if word.startswith("t1-"):
        return _of_order(ledger, word)
    return full_trace_id(ledger, word)


def _of_order(ledger: Ledger, word: str) -> str:
    if len(word) < SHORTEST + 3 or not word.isascii():
        raise UsageError(f'needs {SHORTEST} or more characters after "t1-", was "{word}"', "See: trader ledger trace")
    rows = ledger.db.execute(
        "SELECT client_order_id, trace_id FROM orders WHERE client_order_id >= ? AND client_order_id < ? LIMIT 6",
        (word, word + "\x7f"),
    ).fetchall()
    if not rows:
        raise NotFoundError(f'no order "{word}" in this ledger', "See them: trader ledger show --trades -o wide")
    if len(rows) > 1:
        raise UsageError(f'"{word}" begins several orders: {", ".join(row[0] for row in rows)}', "Give more of it.")
    return _of_trace(f"order {rows[0][0]}", rows[0][1])


def _of_trace(what: str, trace_id: str | None) -> str:
    if trace_id is None:
        raise NotFoundError(
            f"{what} stands on no decision of this ledger: it was found on the exchange and adopted",
            "See it: trader ledger show --trades -o wide",
        )
    return trace_id


def outcomes_of(ledger: Ledger, client_order_ids: list[str]) -> tuple[list[Learnt], list[Held]]:
    """What memory learnt of these orders, and what of them is still held."""
    learnt = [one for key in client_order_ids for one in learnt_of(ledger, key)]
    held = [one for one in still_held(ledger) if one.opened_by in client_order_ids] if client_order_ids else []
    return learnt, held


def mark(ledger: Ledger) -> str | None:
    """The newest mark price."""
    row = ledger.db.execute("SELECT mark_price FROM portfolio ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def lookups(calls: list[dict[str, Any]]) -> tuple[str, ...]:
    """What the trader's tool calls got."""
    return tuple(
        one["output"]
        for call in calls
        if call["agent"] == "TRADER"
        for one in call.get("tools") or ()
        if one["output"] is not None
    )
