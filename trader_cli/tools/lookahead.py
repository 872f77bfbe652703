"""What a look for look-ahead needs of the rows: which traces to decide again, and all that was decided in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from trader_cli.core.moments import Moment, parse_iso
from trader_cli.tools.ledger import Ledger

T = TypeVar("T")

Story = list[tuple[object, ...]]
"""Rows of a trace that knew nothing of a later bar: what was seen, decided, ruled and meant to be sent."""

_STORY = (
    "SELECT 'seen', candles_sha256, features_json, price, defects_json FROM observations "
    "WHERE trace_id = ? ORDER BY id",
    "SELECT agent, payload_json, law_json, source, cause FROM decisions WHERE trace_id = ? ORDER BY id",
    "SELECT 'order', side, qty, worst_price, law_json FROM orders WHERE trace_id = ? ORDER BY id",
)


def story(ledger: Ledger, trace_id: str) -> Story:
    """All that a trace decided, but for what came of it."""
    return [row for sql in _STORY for row in ledger.db.execute(sql, (trace_id,)).fetchall()]


def sampled(ledger: Ledger, most: int) -> list[str]:
    """At most `most` traces, oldest first: half of them with orders if there are so many, evenly over the ledger."""
    sql = "SELECT trace_id FROM orders WHERE trace_id IS NOT NULL ORDER BY id"
    ordered = [row[0] for row in ledger.db.execute(sql)]
    newest = int(ledger.db.execute("SELECT coalesce(max(id), 0) FROM observations").fetchone()[0])
    chosen = set(_spread(ordered, most // 2))
    for at in _spread(range(1, newest + 1), most - len(chosen)):
        row = ledger.db.execute("SELECT trace_id FROM observations WHERE id = ?", (at,)).fetchone()
        chosen.update(row or ())
    return sorted(chosen, key=lambda trace_id: first_seen(ledger, trace_id)[0])


def first_seen(ledger: Ledger, trace_id: str) -> tuple[int, Moment]:
    """The link and the market time with which a trace began."""
    row = ledger.db.execute(
        "SELECT link, ts_utc FROM observations WHERE trace_id = ? ORDER BY id LIMIT 1", (trace_id,)
    ).fetchone()
    return int(row[0]), parse_iso(row[1])


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]
