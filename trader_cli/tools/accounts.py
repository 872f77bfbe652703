"""What the ledger keeps of an account: epochs, what on it is not ours, proofs about its key, scans, bans.

All of it is events. Those that change the book are folded with the fills, in the order of their links.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from heapq import merge
from typing import Any, NamedTuple

from trader_cli.core import accounting
from trader_cli.core import lots as fifo
from trader_cli.core.decimals import ZERO, dec
from trader_cli.core.moments import Moment, parse_iso
from trader_cli.schemas.book import Balances, Book
from trader_cli.schemas.lot import ClosedLot, Lot
from trader_cli.schemas.order import Fill, Order, OrderState, Side
from trader_cli.tools import chain
from trader_cli.tools.events import EventStore
from trader_cli.tools.orders import OrderStore
from trader_cli.tools.rows import FILLS, read_fill

MOST_ABANDONED = 64
"""More orders than these are not given up within a day: while one is unsettled no other is sent."""

FILL = "FILL"
_TURNS = "'ACCEPTED','DEPOSIT','EPOCH'"
"""Kinds of events that change the book."""


class Change(NamedTuple):
    """One change of the book: a fill of an order, or an event and what it says."""

    link: int
    kind: str
    said: dict[str, Any]
    order: str = ""
    side: Side = Side.BUY
    fill: Fill | None = None


def changed(book: Book, change: Change, base: str, quote: str) -> Book:
    """The book after a fill, a deposit, an epoch that begins anew, or a state of the account that was accepted."""
    said = change.said
    if change.fill is not None:
        return accounting.fold(book, change.side, change.fill, base, quote)
    if change.kind == "DEPOSIT":
        return accounting.deposit(book, dec(said["amount"]))
    if change.kind == "EPOCH":
        return accounting.opening(dec(said["quote"]))
    return accounting.withdraw(book, dec(said["withdrawn_base"]), dec(said["withdrawn_quote"]))


def lotted(
    lots: tuple[Lot, ...], change: Change, book: Book, base: str, quote: str
) -> tuple[tuple[Lot, ...], tuple[ClosedLot, ...]]:
    """The lots after a change that made the book `book`, and what it closed.

    What was withdrawn is taken from all lots in proportion, and their cost is the book's from then on.
    """
    if change.fill is not None:
        return fifo.fold(lots, change.side, change.fill, change.order, base, quote)
    if change.kind == "EPOCH":
        return (), ()
    if change.kind == "ACCEPTED" and dec(change.said["withdrawn_base"]):
        return fifo.withdrawn(lots, book.base, book.cost), ()
    return lots, ()


class AccountStore(OrderStore, EventStore):
    """A store that knows the account it is the ledger of."""

    def changes(self, link: int = 0) -> Iterator[Change]:
        """All that changed the book after link `link`, in the order of the links."""
        first = chain.first_id(self.db, "events", link + 1)
        events = (
            ()
            if first is None
            else self.db.execute(
                f"SELECT link, kind, data_json FROM events WHERE +kind IN ({_TURNS}) AND id >= ? ORDER BY id", (first,)
            )
        )
        turns = (Change(int(row[0]), str(row[1]), json.loads(row[2])) for row in events)
        return merge(turns, self._fills(link), key=lambda change: change.link)

    def _fills(self, link: int) -> Iterator[Change]:
        first = chain.first_id(self.db, "fills", link + 1)
        if first is not None:
            for row in self.db.execute(f"{FILLS} WHERE f.id >= ? ORDER BY f.id", (first,)):
                yield Change(row[9], FILL, {}, row[10], Side(row[0]), read_fill(row))

    def epoch(self) -> int | None:
        """Which epoch of the account this is; None before the account was ever looked at."""
        found = self._newest_event("EPOCH")
        return None if found is None else int(found[1]["number"])

    def later_epoch(self) -> int | None:
        """The epoch where it is not the first."""
        number = self.epoch()
        return None if number is None or number == 1 else number

    def epoch_began(self) -> Moment | None:
        """When the epoch began, market time."""
        found = self._newest_event("EPOCH")
        return None if found is None else found[0]

    def foreign(self) -> Balances | None:
        """What the account holds beyond our book; None where there is no account."""
        return self.remembered("foreign", ("events",), self._foreign)

    def _foreign(self) -> Balances | None:
        row = self.db.execute(
            "SELECT data_json FROM events WHERE kind IN ('EPOCH','ACCEPTED') ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        said = json.loads(row[0])
        return Balances(dec(said["foreign_base"]), dec(said["foreign_quote"]))

    def stranger(self) -> dict[str, Any] | None:
        """The newest order of somebody else, or other trouble with the account, that nobody accepted yet."""
        return self.remembered("stranger", ("events",), self._stranger)

    def _stranger(self) -> dict[str, Any] | None:
        row = self.db.execute(
            "SELECT kind, data_json FROM events WHERE kind IN ('EXTERNAL','EPOCH','ACCEPTED') ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return json.loads(row[1]) if row is not None and row[0] == "EXTERNAL" else None

    def strangers(self) -> frozenset[str]:
        """The exchange's ids of foreign orders that are noted in this epoch."""
        began = self.db.execute("SELECT coalesce(max(id), 0) FROM events WHERE kind = 'EPOCH'").fetchone()[0]
        rows = self.db.execute("SELECT data_json FROM events WHERE kind = 'EXTERNAL' AND id > ?", (began,))
        return frozenset(str(json.loads(row[0]).get("exchange_order_id")) for row in rows)

    def scanned_to(self) -> Moment | None:
        """Up to when the account's orders have been looked through in this epoch, market time."""
        row = self.db.execute(
            "SELECT kind, data_json FROM events WHERE kind IN ('SCAN','EPOCH') ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return parse_iso(json.loads(row[1])["until"]) if row is not None and row[0] == "SCAN" else None

    def restored_since_scan(self) -> bool:
        """Whether this ledger was restored from a backup and the account's orders were not looked through since."""
        row = self.db.execute(
            "SELECT kind FROM events WHERE kind IN ('SCAN','RESTORED') ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return row is not None and row[0] == "RESTORED"

    def proof(self, what: str, of: str) -> tuple[Moment, dict[str, Any]] | None:
        """The newest proof of its kind about `of`, and when it was taken, on the wall."""
        row = self.db.execute(
            "SELECT wall_ts, data_json FROM events WHERE kind = 'PROOF' AND json_extract(data_json, '$.what') = ? "
            "AND json_extract(data_json, '$.of') = ? ORDER BY id DESC LIMIT 1",
            (what, of),
        ).fetchone()
        return (parse_iso(row[0]), json.loads(row[1])) if row else None

    def account(self) -> str | None:
        """Whose account this ledger belongs to, as a hash; None before that was proved."""
        row = self.db.execute(
            "SELECT data_json FROM events WHERE kind = 'PROOF' AND json_extract(data_json, '$.what') = 'key' "
            "ORDER BY id LIMIT 1"
        ).fetchone()
        return str(json.loads(row[0])["account"]) if row else None

    def banned_until(self) -> tuple[Moment, str] | None:
        """Until when, on the wall, the exchange wants no request, and why."""
        found = self._newest_event("BAN")
        return None if found is None else (parse_iso(found[1]["until"]), str(found[1]["reason"]))

    def _newest_event(self, kind: str) -> tuple[Moment, dict[str, Any]] | None:
        return self.remembered(f"newest {kind}", ("events",), lambda: self.last_event(kind))

    def last_executed(self) -> Order | None:
        """The newest order of this epoch that was executed."""
        began = self.db.execute("SELECT coalesce(max(link), 0) FROM events WHERE kind = 'EPOCH'").fetchone()[0]
        row = self.db.execute(
            "SELECT idempotency_key FROM trades WHERE link > ? ORDER BY id DESC LIMIT 1", (began,)
        ).fetchone()
        return self.order(row[0]) if row else None

    def abandoned_since(self, at: Moment) -> tuple[Order, ...]:
        """Orders that were given up as never taken, at or after `at`: some may still turn up."""
        found = self.remembered("abandoned", ("order_events",), self._abandoned)
        return tuple(order for when, order in found if when >= at)

    def _abandoned(self) -> tuple[tuple[Moment, Order], ...]:
        """The newest that are still given up, and since when."""
        rows = self.db.execute(
            "SELECT ts_utc, client_order_id FROM order_events WHERE state = 'ABANDONED' ORDER BY ts_utc DESC LIMIT ?",
            (MOST_ABANDONED,),
        ).fetchall()
        found = ((parse_iso(when), self.order(key)) for when, key in rows)
        return tuple((when, one) for when, one in found if one is not None and one.state is OrderState.ABANDONED)

    def late_reserves(self, at: Moment) -> Decimal:
        """What orders given up at or after `at` may still cost."""
        return sum((order.intent.reserved_quote for order in self.abandoned_since(at)), ZERO)
