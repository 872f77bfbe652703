"""The ledger's past, walked once: what stood before each verdict and each order, and the rows that tell of them."""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, sub
from trader_cli.core.moments import HOUR_MS, Moment, day_start, parse_iso, read_span
from trader_cli.core.orders import LATE_MS
from trader_cli.schemas.book import Book
from trader_cli.schemas.market import Candle, Costs, Defect, Market, Observation, Window
from trader_cli.schemas.order import SETTLED, OrderState, Side
from trader_cli.schemas.question import Answer
from trader_cli.schemas.situation import History, Limits, Situation, TradingState
from trader_cli.tools.accounts import changed
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import ANEW, TAKEN_OR_REFUSED, read_market, refused_by_exchange
from trader_cli.tools.strategy import UNDEFINED


@dataclass(frozen=True, slots=True)
class Ruled:
    """A verdict, or an order under it, with all it stands on.

    Attributes:
        id: of the verdict; `key` the order's client id, for an order.
        at: market time of the row; `verdict_at` that of its verdict.
        where: what the ledger held before the row's link; its state is the one the ledger kept.
        answer: what the judge's model said; None when none was asked.
        sent: an order's side, qty, worst_price and reserved_quote.
    """

    id: int
    key: str | None
    at: Moment
    verdict_at: Moment
    where: Situation
    plan: dict[str, Any]
    proposal: dict[str, Any]
    verdict: dict[str, Any]
    law: dict[str, Any] | None
    source: str
    cause: str | None
    answer: Answer | None
    sent: tuple[str, Decimal, Decimal, Decimal] | None


_COLUMNS = """
j.id, j.ts_utc, p.payload_json, t.payload_json, j.payload_json, j.law_json, j.source, j.cause, m.terms_json,
s.id, s.trace_id, s.ts_utc, s.source, s.last_at, s.price, s.age_ms, s.defects_json,
s.balance_quote, s.balance_base, c.model, c.status, c.reply, c.error, j.link"""
_JOINS = """
LEFT JOIN decisions AS t ON t.id = j.proposal_id LEFT JOIN decisions AS p ON p.id = t.plan_id
LEFT JOIN terms AS m ON m.sha256 = j.terms_sha256 LEFT JOIN observations AS s ON s.id = j.observation_id
LEFT JOIN model_calls AS c ON c.id = j.model_call_id"""


def verdicts(ledger: Ledger) -> Iterator[Ruled | str]:
    """Every verdict in order; words where a row it stands on is not there."""
    past = _Past(ledger)
    sql = f"SELECT {_COLUMNS} FROM decisions AS j {_JOINS} WHERE j.agent = 'JUDGE' ORDER BY j.id"
    for row in ledger.db.execute(sql):
        if None in (row[2], row[3], row[8], row[9]):
            yield f"verdict {row[0]} stands on a plan, proposal, terms or observation that is not there"
            continue
        yield _ruled(past, row, parse_iso(row[1]), row[23])


def orders(ledger: Ledger) -> Iterator[Ruled | str]:
    """Every order in order, judged when it was sent."""
    past = _Past(ledger)
    own = ledger.has("orders", "terms_sha256")  # an older program wrote down an order under its verdict's terms
    joins = _JOINS.replace("= j.terms_sha256", "= coalesce(o.terms_sha256, j.terms_sha256)") if own else _JOINS
    sql = (
        f"SELECT {_COLUMNS}, o.client_order_id, o.ts_utc, o.side, o.qty, o.worst_price, o.reserved_quote, o.law_json, "
        f"o.link FROM orders AS o LEFT JOIN decisions AS j ON j.id = o.verdict_id {joins} "
        "WHERE o.origin = 'verdict' ORDER BY o.id"
    )
    for row in ledger.db.execute(sql):
        if None in (row[0], row[2], row[3], row[8], row[9]):
            yield f"order {row[24]} stands on a verdict, plan, proposal, terms or observation that is not there"
            continue
        yield _ruled(past, row, parse_iso(row[25]), row[31])


def _ruled(past: _Past, row: tuple[Any, ...], at: Moment, link: int) -> Ruled:
    past.move_to(link)
    order = row[24:] or None
    law = order[6] if order else row[5]
    return Ruled(
        id=row[0],
        key=order[0] if order else None,
        at=at,
        verdict_at=parse_iso(row[1]),
        where=past.situation(at, row[8], _observation(row[9:19], past.timeframe_ms)),
        plan=json.loads(row[2]),
        proposal=json.loads(row[3]),
        verdict=json.loads(row[4]),
        law=None if law is None else json.loads(law),
        source=row[6],
        cause=row[7],
        answer=None if row[19] is None else Answer(row[19], row[20], row[21], error=row[22]),
        sent=(order[2], dec(order[3]), dec(order[4]), dec(order[5])) if order else None,
    )


def _observation(row: tuple[Any, ...], timeframe_ms: int) -> Observation:
    """What the law reads of an observation: of its candles only when the newest opened."""
    row_id, trace_id, ts_utc, source, last_at, price, age_ms, defects_json, *held = row
    newest = () if last_at is None else (Candle(parse_iso(last_at), ZERO, ZERO, ZERO, ZERO, ZERO),)
    defects = tuple(Defect(**one) for one in json.loads(defects_json)) if defects_json != "[]" else ()
    window = Window(source, timeframe_ms, newest, defects, None if price is None else dec(price), age_ms)
    return Observation(
        row_id, trace_id, parse_iso(ts_utc), window, UNDEFINED, *(None if one is None else dec(one) for one in held)
    )


@lru_cache(maxsize=64)
def read_terms(terms_json: str) -> tuple[Market, Costs, Limits]:
    """What `rows.terms_text` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    document = json.loads(terms_json)
    costs = Costs(**{name: dec(value) for name, value in document["costs"].items()})
    limits: dict[str, Any] = {
        name: dec(value) if isinstance(value, str) else value for name, value in document["limits"].items()
    }
    return read_market(document["market"]), costs, Limits(**{"edition": 1, **limits})


class _Rows:
    """The rows of a query, which carry their link first, handed out up to a link."""

    def __init__(self, rows: sqlite3.Cursor) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def before(self, link: int) -> Iterator[Any]:
        """The rows not yet handed out whose link is below `link`."""
        while self._next is not None and self._next[0] < link:
            yield self._next[1:]
            self._next = next(self._rows, None)


class _Past:
    """What the ledger held before a link that only moves on."""

    def __init__(self, ledger: Ledger) -> None:
        def rows(sql: str) -> _Rows:
            return _Rows(ledger.db.execute(sql))

        identity = ledger.identity()
        self.timeframe_ms = read_span(identity.get("timeframe") or "5m")
        self._base, self._quote = (identity.get("symbol") or "/").split("/")
        self._events = rows("SELECT link, data_json FROM events WHERE kind = 'STATE' ORDER BY id")
        self._resumes = rows(f"SELECT link, * FROM ({ANEW} ORDER BY id)")
        self._orders = rows("SELECT link, client_order_id, ts_utc, reserved_quote FROM orders ORDER BY id")
        self._steps = rows("SELECT link, client_order_id, state, ts_utc FROM order_events ORDER BY id")
        self._answers = rows(f"SELECT link, ts_utc, state, evidence_json FROM ({TAKEN_OR_REFUSED} ORDER BY id)")
        self._trades = rows("SELECT link, link, side, ts_utc FROM trades ORDER BY id")
        self._changes = ledger.changes()
        self._change = next(self._changes, None)
        self._snapshots = rows("SELECT link, link, ts_utc, equity_usdt, peak_usdt FROM portfolio ORDER BY id")
        self._book = Book()
        self._state = TradingState.RUN
        self._open: dict[str, Decimal] = {}
        self._late: dict[str, tuple[Moment, Decimal]] = {}
        self._sent: list[Moment] = []
        self._last_order: Moment | None = None
        self._first_equity: Decimal | None = None
        self._days: dict[Moment, tuple[Moment, Decimal]] = {}
        self._peak: tuple[int, Decimal] | None = None
        self._anew: tuple[int, Moment, Decimal] | None = None
        self._gained: dict[int, Decimal] = {}
        self._losses: tuple[Moment, ...] = ()
        self._refusals: tuple[Moment, ...] = ()

    def move_to(self, link: int) -> None:
        """Take in all rows of the links before `link`."""
        for (content,) in self._events.before(link):
            self._state = TradingState[json.loads(content)["to"]]
        for resumed, ts_utc, equity in self._resumes.before(link):
            self._anew = resumed, parse_iso(ts_utc), dec(equity)
        for key, ts_utc, reserved in self._orders.before(link):
            self._open[key] = dec(reserved)
            self._last_order = parse_iso(ts_utc)
            insort(self._sent, self._last_order)
        for key, state, ts_utc in self._steps.before(link):
            self._late.pop(key, None)
            if OrderState(state) in SETTLED:
                reserved = self._open.pop(key, ZERO)
                if OrderState(state) is OrderState.ABANDONED:
                    self._late[key] = parse_iso(ts_utc), reserved
        self._fold(link)
        for taken, ts_utc, equity, peak in self._snapshots.before(link):
            self._peak = taken, dec(peak)
            self._take(parse_iso(ts_utc), dec(equity))

    def _fold(self, link: int) -> None:
        """The book, and what stands in a row: sales at a loss, orders that the exchange refused."""
        while (change := self._change) is not None and change.link < link:
            before = self._book.realized
            self._book = changed(self._book, change, self._base, self._quote)
            gained = sub(self._book.realized, before)
            if change.fill is not None:
                self._gained[change.link] = add(self._gained.get(change.link, ZERO), gained)
            self._change = next(self._changes, None)
        for traded, side, ts_utc in self._trades.before(link):
            gained = self._gained.pop(traded, ZERO)
            if side == Side.SELL:
                self._losses = (*self._losses, parse_iso(ts_utc)) if gained < ZERO else ()
        for ts_utc, state, evidence in self._answers.before(link):
            if state != "REJECTED":
                self._refusals = ()
            elif refused_by_exchange(evidence):
                self._refusals = (*self._refusals, parse_iso(ts_utc))

    def _take(self, at: Moment, equity: Decimal) -> None:
        if self._first_equity is None:
            self._first_equity = equity
        known = self._days.get(day_start(at))
        if known is None or known[0] <= at:
            self._days[day_start(at)] = at, equity

    def situation(self, at: Moment, terms_json: str, seen: Observation) -> Situation:
        """What the law could reckon with; beliefs and the position's owner are nothing to it."""
        market, costs, limits = read_terms(terms_json)
        return Situation(
            at=at,
            timeframe_ms=self.timeframe_ms,
            market=market,
            costs=costs,
            limits=limits,
            observation=seen,
            book=self._book,
            owner=None,
            state=self._state,
            stop_cause=None,
            open_orders=tuple(self._open),
            reserved=add(*self._open.values(), *(worth for when, worth in self._late.values() if when >= at - LATE_MS)),
            history=self._history(at),
            posteriors=(),
        )

    def _history(self, at: Moment) -> History:
        midnight, now = day_start(at), bisect_right(self._sent, at)
        day = max((one for one in self._days if one < midnight), default=None)
        opened, peak = self._first_equity if day is None else self._days[day][1], self._peak
        if self._anew is not None and self._anew[1] >= midnight:
            opened = self._anew[2]
        resumed = peak is not None and self._anew is not None and self._anew[0] > peak[0]
        return History(
            orders_today=now - bisect_left(self._sent, midnight),
            last_order_at=self._last_order,
            day_equity=opened,
            peak_equity=self._anew[2] if resumed and self._anew else peak and peak[1],
            orders_last_hour=now - bisect_right(self._sent, at - HOUR_MS),
            losses=self._losses,
            refusals=self._refusals,
        )
