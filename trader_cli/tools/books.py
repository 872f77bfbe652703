"""The book in rows: snapshots, the fold of what came after them, and what the account did lately."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from trader_cli.core.decimals import dec
from trader_cli.core.moments import HOUR_MS, Moment, day_start, iso, parse_iso
from trader_cli.schemas.book import Book, Snapshot
from trader_cli.schemas.situation import History
from trader_cli.tools import chain
from trader_cli.tools.accounts import AccountStore, changed
from trader_cli.tools.rows import (
    ANEW,
    BOOK,
    SNAPSHOTS,
    TAKEN_OR_REFUSED,
    read_snapshot,
    refused_by_exchange,
    snapshot_columns,
)
from trader_cli.tools.store import Transaction

_HISTORY = ("events", "order_events", "orders", "portfolio", "trades")
"""The tables that what the account did lately follows from."""


class _Anew(NamedTuple):
    """From where peak and daily loss count: a resume, an epoch of the account, or a state of it that was accepted."""

    link: int
    at: Moment
    equity: Decimal


class BookStore(AccountStore):
    """A store that keeps our book."""

    def __init__(self, db: Any, path: Path | None, wall: Callable[[], Moment]) -> None:
        self._day: tuple[tuple[Moment, _Anew | None], Decimal] | None = None
        self.losing: tuple[int, tuple[Moment, ...]] = (0, ())
        super().__init__(db, path, wall)

    def forget(self) -> None:
        """Drop what is remembered: another process wrote, or a transaction failed."""
        super().forget()
        self._day = None
        self.losing = (0, ())

    def book(self, base: str, quote: str) -> Book:
        """Where we stand: the newest snapshot's book with the deposits and fills after it folded in."""
        return self.remembered("book", ("events", "fills"), lambda: self._book(base, quote))

    def _book(self, base: str, quote: str) -> Book:
        row = self.db.execute(f"SELECT {BOOK}, link FROM portfolio ORDER BY id DESC LIMIT 1").fetchone()
        book = Book(*map(dec, row[:6])) if row else Book()
        since = int(row[6]) if row else 0
        return self.fold_since(book, since, base, quote)

    def fold_since(self, book: Book, link: int, base: str, quote: str) -> Book:
        """`book` with everything written after link `link` that changes it folded in, in the order of the links."""
        for change in self.changes(link):
            book = changed(book, change, base, quote)
        return book

    def snapshot_portfolio(self, tx: Transaction, snapshot: Snapshot, terms: str | None) -> int:
        """The book marked to a price, under the terms of that hash."""
        under = {"terms_sha256": terms} if self.has("portfolio", "terms_sha256") else {}
        row_id = tx.insert("portfolio", **snapshot_columns(snapshot), **under)
        self.remember("snapshot", ("portfolio",), replace(snapshot, id=row_id))
        self.remember("snapshot link", ("portfolio",), tx.seq)
        if snapshot.trace_id is not None:
            self.remember("ended", ("portfolio",), {snapshot.trace_id: True})
        return row_id

    def last_snapshot(self) -> Snapshot | None:
        """The newest snapshot."""
        return self.remembered("snapshot", ("portfolio",), self._last_snapshot)

    def _last_snapshot(self) -> Snapshot | None:
        row = self.db.execute(f"{SNAPSHOTS} ORDER BY id DESC LIMIT 1").fetchone()
        return read_snapshot(row) if row else None

    def history(self, at: Moment) -> History:
        """What the account did lately, as the law reckons it."""
        return self.remembered("history", _HISTORY, lambda: self._history(at), about=at)

    def _history(self, at: Moment) -> History:
        midnight = day_start(at)
        lately, last_order_at = self.remembered("orders", ("orders",), lambda: self._ordered(midnight), about=midnight)
        return History(
            orders_today=sum(1 for one in lately if midnight <= one <= at),
            last_order_at=last_order_at,
            day_equity=self.day_equity(midnight),
            peak_equity=self.peak(),
            orders_last_hour=sum(1 for one in lately if at - HOUR_MS < one <= at),
            losses=self.remembered("losses", ("trades",), self._losses),
            refusals=self.remembered("refusals", ("order_events",), self._refusals),
        )

    def _ordered(self, midnight: Moment) -> tuple[list[Moment], Moment | None]:
        """When orders were written down from an hour before `midnight` on, and the newest of all."""
        since = iso(midnight - HOUR_MS)
        lately = self.db.execute("SELECT ts_utc FROM orders WHERE ts_utc >= ?", (since,)).fetchall()
        last = self.db.execute("SELECT ts_utc FROM orders ORDER BY id DESC LIMIT 1").fetchone()
        return [parse_iso(one) for (one,) in lately], parse_iso(last[0]) if last else None

    def peak(self) -> Decimal | None:
        """The highest equity so far, counted anew from a resume on; None without a snapshot."""
        last, anew = self.last_snapshot(), self._anew()
        if last is None or anew is None:
            return last.peak if last else None
        newest = "SELECT link FROM portfolio ORDER BY id DESC LIMIT 1"
        link = self.remembered("snapshot link", ("portfolio",), lambda: self.db.execute(newest).fetchone()[0])
        return anew.equity if anew.link > link else last.peak

    def _anew(self) -> _Anew | None:
        return self.remembered("anew", ("events",), self._newest_anew)

    def _newest_anew(self) -> _Anew | None:
        row = self.db.execute(f"{ANEW} ORDER BY id DESC LIMIT 1").fetchone()
        return _Anew(int(row[0]), parse_iso(row[1]), dec(row[2])) if row else None

    def _losses(self) -> tuple[Moment, ...]:
        """When each sale at a loss since the last one at a gain was settled, oldest first."""
        known_id, run = self.losing
        newest: list[Moment] = []
        sales = self.db.execute("SELECT id, link, ts_utc FROM trades WHERE side = 'SELL' ORDER BY id DESC")
        row = first = sales.fetchone()
        while row is not None and row[0] > known_id:
            if self._realized(row[1] + 1) >= self._realized(row[1]):
                run = ()
                break
            newest.insert(0, parse_iso(row[2]))
            row = sales.fetchone()
        self.losing = (first[0] if first else 0, (*run, *newest))
        return self.losing[1]

    def _realized(self, link: int) -> Decimal:
        """The realized profit as it stood before a link: of the snapshot before it, and of the fills between."""
        after = chain.first_id(self.db, "portfolio", link)
        row = self.db.execute(
            f"SELECT {BOOK}, link FROM portfolio WHERE id < ? ORDER BY id DESC LIMIT 1", (after or 2**63 - 1,)
        ).fetchone()
        base, quote = (self.identity().get("symbol") or "/").split("/")
        book, since = (Book(*map(dec, row[:6])), int(row[6])) if row else (Book(), 0)
        for change in self.changes(since):
            if change.link >= link:
                break
            book = changed(book, change, base, quote)
        return book.realized

    def _refusals(self) -> tuple[Moment, ...]:
        """When the exchange refused each order since the last one that it took, oldest first."""
        times: list[Moment] = []
        for ts_utc, state, evidence, _ in self.db.execute(f"{TAKEN_OR_REFUSED} ORDER BY id DESC"):
            if state != "REJECTED":
                break
            if refused_by_exchange(evidence):
                times.insert(0, parse_iso(ts_utc))
        return tuple(times)

    def day_equity(self, midnight: Moment) -> Decimal | None:
        """The equity a day began with, or that of a resume in it: the last snapshot before it, else the first of all.

        A past one never changes.
        """
        anew = self._anew()
        if anew is not None and anew.at >= midnight:
            return anew.equity
        if self._day is None or self._day[0] != (midnight, anew):
            row = (
                self.db.execute(
                    "SELECT equity_usdt FROM portfolio WHERE ts_utc < ? ORDER BY ts_utc DESC, id DESC LIMIT 1",
                    (iso(midnight),),
                ).fetchone()
                or self.db.execute("SELECT equity_usdt FROM portfolio ORDER BY id LIMIT 1").fetchone()
            )
            if row is None:
                return None
            self._day = (midnight, anew), dec(row[0])
        return self._day[1]

    def learnt_until(self) -> tuple[str, int, int]:
        """This ledger, its newest trade and its newest lesson: what is believed rests on no more."""
        trade, lesson = (
            int(self.db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])
            for table in ("trades", "memory")
        )
        return self.ledger_id, trade, lesson

    def has_snapshot(self, trace_id: str) -> bool:
        """Whether a trace reached its end."""
        ended: dict[str, bool] = self.remembered("ended", ("portfolio",), dict)
        if trace_id not in ended:
            row = self.db.execute("SELECT 1 FROM portfolio WHERE trace_id = ? LIMIT 1", (trace_id,)).fetchone()
            ended[trace_id] = bool(row)
        return ended[trace_id]
