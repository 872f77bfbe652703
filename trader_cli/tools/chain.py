"""Walking the audit chain: the rows of each link, hashed again and held against what the link sealed.

Rows carry their link and links ascend with ids, so one pass over every table in id order is
enough, in memory that does not grow with the ledger.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import cast

from trader_cli.core import audit

Row = dict[str, audit.Value]
Columns = Mapping[str, tuple[str, ...]]
"""The columns of every chained table, in the table's order."""


def rows_since(db: sqlite3.Connection, table: str, columns: tuple[str, ...], link: int) -> Iterator[Row]:
    """The rows of one chained table from `link` on, in id order."""
    start = first_id(db, table, link)
    if start is None:
        return
    for row in db.execute(f"SELECT {','.join(columns)} FROM {table} WHERE id >= ? ORDER BY id", (start,)):
        yield dict(zip(columns, row, strict=True))


def first_id(db: sqlite3.Connection, table: str, link: int) -> int | None:
    """The first id whose link is at least `link`, found by halving; None when there is none."""
    if link <= 1:
        return -(2**63)  # a forger may give a row any id
    newest = db.execute(f"SELECT id, link FROM {table} ORDER BY id DESC LIMIT 1").fetchone()
    if newest is None or newest[1] < link:
        return None
    low, high = 1, int(newest[0])
    while low < high:
        middle = (low + high) // 2
        row = db.execute(f"SELECT id, link FROM {table} WHERE id >= ? ORDER BY id LIMIT 1", (middle,)).fetchone()
        if row[1] >= link:
            high = middle
        else:
            low = int(row[0]) + 1
    return low


MARK_CHARS = 8
_LINK = ("seq", "wall_ts", "rows", "rows_sha256", "marks_json", "prev_hash", "hash")


def marks_json(first: Mapping[str, int], hashes: Mapping[str, list[bytes]]) -> str:
    """For each table its first id and the beginning of each row's hash: enough to say which row was changed."""
    marked = ((table, "".join([one.hex()[:MARK_CHARS] for one in hashes[table]])) for table in first)
    return "{" + ", ".join([f'"{table}": [{first[table]}, "{marks}"]' for table, marks in marked]) + "}"


def broken_links(db: sqlite3.Connection, columns: Columns, ledger_id: str, since: int) -> Iterator[str]:
    """What does not fit from link `since` on: rows changed, missing or without a link, links changed or missing."""
    since = max(1, since)
    last = db.execute("SELECT coalesce(max(seq), 0) FROM audit_chain").fetchone()[0]
    walkers = {table: _Walker(rows_since(db, table, columns[table], since), last) for table in columns}
    row = db.execute("SELECT hash FROM audit_chain WHERE seq = ?", (since - 1,)).fetchone()
    prev, expected = str(row[0]) if row else audit.GENESIS, since
    columns_of_link = ("seq", "wall_ts", "rows", "rows_sha256", "marks_json", "prev_hash", "hash")
    for values in db.execute(
        f"SELECT {','.join(columns_of_link)} FROM audit_chain WHERE seq >= ? ORDER BY seq", (since,)
    ):
        link: Row = dict(zip(columns_of_link, values, strict=True))
        seq = int(values[0])
        rows = {table: list(walkers[table].take(seq)) for table in columns}
        hashes = {table: [audit.row_hash(table, one) for one in found] for table, found in rows.items()}
        flat = [one for table in columns for one in hashes[table]]
        if seq != expected:
            yield f"link {expected} is missing"
        elif link["prev_hash"] != prev:
            yield f"link {seq} does not stand on link {seq - 1}"
        elif audit.link_hash(ledger_id, link) != link["hash"]:
            yield f"link {seq} was changed"
        elif link["rows"] != len(flat) or audit.rows_hash(flat) != link["rows_sha256"]:
            yield from _differences(seq, rows, hashes, str(link["marks_json"]))
        prev, expected = str(link["hash"]), seq + 1
    for table, walker in walkers.items():
        for one in walker.rest():
            yield f"{table} {one['id']} belongs to no link"


def _differences(
    seq: int, rows: Mapping[str, list[Row]], hashes: Mapping[str, list[bytes]], marks_json: str
) -> Iterator[str]:
    """Which rows of a link are not as they were sealed."""
    sealed = _sealed(marks_json)
    named = 0
    for table, found in rows.items():
        first, marked = sealed.get(table, (0, ""))
        before = {first + n: marked[n * MARK_CHARS :][:MARK_CHARS] for n in range(len(marked) // MARK_CHARS)}
        now = {int(str(row["id"])): one.hex()[:MARK_CHARS] for row, one in zip(found, hashes[table], strict=True)}
        for row_id in sorted(before.keys() | now.keys()):
            if before.get(row_id) != now.get(row_id):
                named += 1
                how = "is gone" if row_id not in now else "was added" if row_id not in before else "was changed"
                yield f"{table} {row_id} {how} (link {seq})"
    if not named:
        yield f"the rows of link {seq} are not as they were sealed"


def _sealed(marks_json: str) -> dict[str, tuple[int, str]]:
    """The first id and the marks of each table; nothing where they are not as a link writes them."""
    try:
        return {str(table): (int(first), str(marked)) for table, (first, marked) in json.loads(marks_json).items()}
    except (AttributeError, TypeError, ValueError):
        return {}


class _Walker:
    """The rows of one table, handed out link by link; a row that no later link can take holds up no other."""

    def __init__(self, rows: Iterator[Row], last: int) -> None:
        self._rows = rows
        self._last = last
        self._strays: list[Row] = []
        self._next = next(rows, None)

    def take(self, seq: int) -> Iterator[Row]:
        """The rows that carry link `seq`."""
        while self._next is not None and not seq < cast(int, self._next["link"]) <= self._last:
            if self._next["link"] == seq:
                yield self._next
            else:
                self._strays.append(self._next)
            self._next = next(self._rows, None)

    def rest(self) -> Iterator[Row]:
        """The rows that no link took."""
        yield from self._strays
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)
