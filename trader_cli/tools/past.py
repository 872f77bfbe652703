"""The past, moving on: a copy in memory that holds what stood in the ledger before a link, for a later link each time.

What a replay asks of it is what a phase asks of a ledger, so that there is one way of reading either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trader_cli.tools.chain import Row
from trader_cli.tools.ledger import Ledger

Rewind = Callable[[int], Ledger]
"""A writable copy of the ledger as it stood before a link."""

_FOLLOWED = (
    "events",
    "observations",
    "orders",
    "order_events",
    "fills",
    "trades",
    "portfolio",
    "memory",
)
"""Tables whose rows a phase may need of the past. Decisions are copied only where an order stands on them."""


class Past:
    """What `ledger` held before a link that only moves on. Close it when done."""

    def __init__(self, ledger: Ledger, rewind: Rewind, link: int) -> None:
        self._source = ledger
        self._link = link
        self._rows = {table: ledger.rows_since(table, link) for table in _FOLLOWED if table in ledger.tables}
        self._next = {table: next(rows, None) for table, rows in self._rows.items()}
        self.ledger = rewind(link)

    def close(self) -> None:
        """Let go of the copy."""
        self.ledger.close()

    def move_to(self, link: int) -> Ledger:
        """The copy as the ledger stood before `link`. Raises ValueError for an earlier one than before."""
        if link < self._link:
            raise ValueError(f"the past moves on: needs a link from {self._link} on, was {link}")
        if link > self._link:
            self.ledger.follow(self._between(link), link - 1)
            self._link = link
        return self.ledger

    def _between(self, link: int) -> Iterator[tuple[str, Row]]:
        for table, rows in self._rows.items():
            row = self._next[table]
            while row is not None and int(str(row["link"])) < link:
                if table == "orders":
                    yield from self._behind(row)
                yield table, row
                row = next(rows, None)
            self._next[table] = row

    def _behind(self, order: Row) -> Iterator[tuple[str, Row]]:
        """The decisions that an order stands on: the position's owner is read from them."""
        cursor = self._source.db.execute(
            "SELECT * FROM decisions WHERE id IN (?1, (SELECT plan_id FROM decisions WHERE id = ?1)) ORDER BY id",
            (order["proposal_id"],),
        )
        names = [column[0] for column in cursor.description]
        rows: list[Any] = cursor.fetchall()
        for row in rows:
            if not self.ledger.has_decision(int(row[0])):
                yield "decisions", dict(zip(names, row, strict=True))
