"""What would have come of doing otherwise with a ledger's own bars, costs and deals: holding, cash, a coin."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from trader_cli.core import accounting
from trader_cli.core.baselines import Holder, Play, flipped, is_position, played
from trader_cli.core.decimals import ZERO, add, dec, div, sub
from trader_cli.core.equity import Growth, Stand
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.book import Book
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.order import Side
from trader_cli.schemas.performance import Baselines, Coin, Money
from trader_cli.tools import chain
from trader_cli.tools.accounts import changed
from trader_cli.tools.ids import SeededIds
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification_past import read_terms

FLIPS, MOST_DEALS = 200, 40_000
"""How many coins are flipped; fewer where their deals together would be more than that."""


class Otherwise:
    """Holding and cash walk along with the snapshots; coins are flipped at the end."""

    def __init__(self, ledger: Ledger, begun: Money, rows: tuple[int, int]) -> None:
        """`begun` is the book before the snapshots with ids from `rows[0]` to `rows[1]`."""
        self._ledger = ledger
        self._rows = rows
        self._terms = _terms(ledger, rows[0])
        self._holder = Holder(self._terms) if self._terms else None
        self._growth = Growth()
        self._cash = begun.equity
        self._deposits = begun.deposits
        self._mark = ZERO
        self._waiting = begun.equity

    def add(self, one: Stand, mark: Decimal) -> float | None:
        """The next snapshot; returns what holding would be worth at its mark."""
        came = sub(one.money.deposits, self._deposits)
        self._cash, self._deposits, self._mark = add(self._cash, came), one.money.deposits, mark
        self._waiting = put_in = add(self._waiting, came)
        if self._holder is None or mark <= ZERO:
            return None
        if put_in:
            self._holder.pay(put_in, self._opening(one.at) or mark, one.at)
            self._waiting = ZERO
        equity = float(self._holder.equity(mark))
        self._growth.add(one.at, equity, float(put_in))
        return equity

    def baselines(self, equity: Decimal, flips: int = FLIPS) -> Baselines:
        """All three, after the last snapshot; `equity` is what the run itself came to. No coin without `flips`."""
        hold = self._holder.equity(self._mark) if self._holder is not None and self._mark > ZERO else None
        gained = self._growth.factor - 1.0 if hold is not None and self._growth.factor is not None else None
        coin = self._coin(equity, flips) if flips else None
        return Baselines(self._cash, hold, gained, self._growth.fall, coin)

    def _coin(self, equity: Decimal, flips: int) -> Coin | None:
        if self._terms is None:
            return None
        begun, plays = self._plays(self._terms[0])
        if not plays:
            return None
        flips = max(20, min(flips, MOST_DEALS // len(plays)))
        chance = SeededIds("coin").chance("coin")
        first, last = self._rows
        opening_at = lru_cache(maxsize=4096)(lambda place: self._opening_of(first + place))
        worth = []
        for _ in range(flips):
            deals = flipped(plays, last - first + 1, chance, opening_at, self._is_held(begun))
            book = played(begun, deals, self._terms)
            worth.append(accounting.equity(book, self._mark))
        ranked = sorted(worth)
        beaten = sum(one < equity for one in worth) / flips
        middle = div(add(ranked[(flips - 1) // 2], ranked[flips // 2]), Decimal(2))
        low, high = ranked[int(0.05 * (flips - 1))], ranked[-1 - int(0.05 * (flips - 1))]
        return Coin(flips, beaten, middle, low, high, worth[0])

    def _is_held(self, book: Book) -> bool:
        assert self._terms is not None  # noqa: S101 - its caller has looked
        price = div(book.cost, book.base) if book.base > ZERO else ZERO
        return is_position(book.base, price, self._terms[0])

    def _plays(self, market: Market) -> tuple[Book, list[Play]]:
        """The book before the span, with all that comes in later; the run's deals, each with its cycle's number."""
        first, last = self._rows
        before, until = self._link_of(first - 1), self._link_of(last)
        base, quote = (self._ledger.identity().get("symbol") or "/").split("/")
        book = begun = Book()
        found: dict[str, Play] = {}
        for change in self._ledger.changes():
            if change.link > until:
                break
            was, book = book, changed(book, change, base, quote)
            if change.link <= before:
                begun = book
            if change.link <= before or change.fill is None or change.side is None:
                continue
            place = (chain.first_id(self._ledger.db, "portfolio", change.link) or last) - first
            known = found.get(change.order, Play(place, change.side, ZERO, False))
            if change.side is Side.BUY:
                amount = add(known.amount, change.fill.quote_qty)
            else:
                kept = sub(Decimal(1), known.amount)
                share = min(div(change.fill.qty, was.base), Decimal(1)) if was.base > ZERO else Decimal(1)
                amount = sub(Decimal(1), kept * sub(Decimal(1), share))
            leaves = is_position(book.base, change.fill.price, market)
            found[change.order] = Play(max(place, 0), change.side, amount, leaves)
        later = sub(self._deposits, begun.deposits)
        begun = replace(begun, quote=add(begun.quote, later), deposits=add(begun.deposits, later))
        return begun, list(found.values())

    def _link_of(self, row_id: int) -> int:
        row = self._ledger.db.execute(
            "SELECT link FROM portfolio WHERE id <= ? ORDER BY id DESC LIMIT 1", (row_id,)
        ).fetchone()
        return int(row[0]) if row else 0

    def _opening_of(self, row_id: int) -> Decimal | None:
        row = self._ledger.db.execute("SELECT ts_utc FROM portfolio WHERE id = ?", (row_id,)).fetchone()
        return None if row is None else self._opening(row[0])

    def _opening(self, at: Moment | str) -> Decimal | None:
        """The open of the first stored bar that opened at or after a moment."""
        row = self._ledger.db.execute(
            "SELECT open FROM candles WHERE opened_at >= ? ORDER BY opened_at, revision DESC LIMIT 1",
            (at if isinstance(at, str) else iso(at),),
        ).fetchone()
        return None if row is None else dec(row[0])


def _terms(ledger: Ledger, first: int) -> tuple[Market, Costs] | None:
    """The market's rules and the costs that were in force at a snapshot; of an older program's the first there are."""
    row = None
    if ledger.has("portfolio", "terms_sha256"):
        row = ledger.db.execute(
            "SELECT t.terms_json FROM portfolio AS p JOIN terms AS t ON t.sha256 = p.terms_sha256 "
            "WHERE p.id >= ? ORDER BY p.id LIMIT 1",
            (first,),
        ).fetchone()
    row = row or ledger.db.execute("SELECT terms_json FROM terms ORDER BY id LIMIT 1").fetchone()
    return None if row is None else read_terms(row[0])[:2]
