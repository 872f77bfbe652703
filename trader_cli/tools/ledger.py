"""The ledger's rows and records: what phases write (log_*, reserve, settle, snapshot) and read back.

All SQL of the daily commands is here and in `store.py`. Money is written as canonical decimal
text, moments as ISO-8601; a record that comes back equals the one that was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from trader_cli.core.decimals import ZERO, dec, text
from trader_cli.core.errors import ConfigError, NotFoundError
from trader_cli.core.hostile import storable
from trader_cli.core.moments import Moment, day_start, iso, parse_iso
from trader_cli.schemas.book import Book, Snapshot
from trader_cli.schemas.decision import LAW, Decision
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Candle, Costs, Defect, Features, Market, Observation, Window
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import History, Limits, Owner, TradingState
from trader_cli.schemas.trader import Proposal
from trader_cli.tools import chain
from trader_cli.tools.accounts import AccountStore, changed
from trader_cli.tools.calls import CallStore
from trader_cli.tools.orders import missing
from trader_cli.tools.rows import (
    ANEW,
    BOOK,
    DECISIONS,
    SNAPSHOTS,
    TAKEN_OR_REFUSED,
    bar_line,
    bars_sha256,
    candle_texts,
    dumps,
    read_decision,
    read_market,
    read_snapshot,
    refused_by_exchange,
    review_document,
    terms_text,
)
from trader_cli.tools.store import Transaction

_BARS_KEPT = 4_096
HOUR_MS = 3_600_000


class _Bar(NamedTuple):
    """A stored bar: its newest revision, as a record and as its line of a window's hash."""

    revision: int
    candle: Candle
    line: bytes


class _Anew(NamedTuple):
    """From where peak and daily loss count: the newest resume, or the epoch of a wiped account."""

    link: int
    at: Moment
    equity: Decimal


class Ledger(CallStore, AccountStore):
    """A store that knows what its rows mean."""

    def __init__(self, db: Any, path: Path | None, wall: Callable[[], Moment]) -> None:
        self._bars: dict[Moment, _Bar] = {}
        self._observation: Observation | None = None
        self._newest: dict[Agent, Decision[Any] | None] = {}
        self._terms: tuple[Market, Costs, Limits, str] | None = None
        self._lines: list[bytes] = []
        self._day: tuple[tuple[Moment, _Anew | None], Decimal] | None = None
        self._lost: tuple[int, tuple[Moment, ...]] = (0, ())
        super().__init__(db, path, wall)

    def forget(self) -> None:
        """Drop what is remembered: another process wrote, or a transaction failed."""
        super().forget()
        self._bars = {}
        self._observation = None
        self._day = None
        self._lost = (0, ())
        self._newest = {}
        self._terms = None
        self._lines = []

    # --- identity and events -----------------------------------------------------------------

    def identity(self) -> dict[str, str]:
        """What the ledger is pinned to; empty before the first pin."""
        return dict(self.db.execute("SELECT key, value FROM meta ORDER BY id").fetchall())

    def pin(self, ledger_id: str, identity: dict[str, str], deposit: Decimal | None, at: Moment) -> None:
        """Write the identity on the first use; later refuse settings that differ (ConfigError).

        `deposit` is what a paper account begins with; what a real one does is read from it later.
        """
        found = self.identity()
        if found:
            _same_identity(found, identity, self.path)
            return
        with self.transaction() as tx:
            for key, value in {"ledger_id": ledger_id, **identity, "began_at": iso(at)}.items():
                tx.insert("meta", key=key, value=value)
            self.ledger_id = ledger_id
            if deposit is not None:
                self.log_event(tx, "DEPOSIT", {"amount": text(deposit), "reason": "opening balance"}, at)

    def log_event(
        self, tx: Transaction, kind: str, content: dict[str, Any], at: Moment, trace_id: str | None = None
    ) -> int:
        """Something that happened: DEPOSIT, STATE, NOT_SENT, ERROR, NOTICE …"""
        return tx.insert("events", ts_utc=iso(at), trace_id=trace_id, kind=kind, data_json=storable(dumps(content)))

    def last_event(self, kind: str) -> tuple[Moment, dict[str, Any]] | None:
        """The newest event of a kind, with its market time."""
        row = self.db.execute(
            "SELECT ts_utc, data_json FROM events WHERE kind = ? ORDER BY id DESC LIMIT 1", (kind,)
        ).fetchone()
        return (parse_iso(row[0]), json.loads(row[1])) if row else None

    def trading_state(self) -> tuple[TradingState, str | None]:
        """The state the ledger keeps, and why it was set."""
        found = self.remembered("state", ("events",), lambda: self.last_event("STATE"))
        if found is None:
            return TradingState.RUN, None
        return TradingState[found[1]["to"]], found[1]["reason"]

    def braked(self) -> bool:
        """Whether the law itself set the state that the ledger keeps."""
        found = self.remembered("state", ("events",), lambda: self.last_event("STATE"))
        return found is not None and found[1].get("by") == LAW

    # --- observations ------------------------------------------------------------------------

    def log_observation(self, tx: Transaction, seen: Observation) -> Observation:
        """Store the bars that are new or restated, and the observation that names them."""
        window, candles = seen.window, seen.window.candles
        last = self._observation
        if last is not None and self._lines and len(candles) > 1 and candles[:-1] == last.window.candles[1:]:
            self._lines = [*self._lines[1:], self._log_candle(tx, candles[-1])]
            if len(self._bars) > _BARS_KEPT:
                self._bars = {candle.opened_at: self._bars[candle.opened_at] for candle in candles}
        else:
            self._remember_bars(candles[0].opened_at if candles else None)
            self._lines = [self._log_candle(tx, candle) for candle in candles]
        row_id = tx.insert(
            "observations",
            ts_utc=iso(seen.at),
            trace_id=seen.trace_id,
            source=window.source,
            first_at=iso(candles[0].opened_at) if candles else None,
            last_at=iso(candles[-1].opened_at) if candles else None,
            bars=len(candles),
            candles_sha256=bars_sha256(self._lines),
            price=None if window.price is None else text(window.price),
            age_ms=window.age_ms,
            features_json=dumps({name: getattr(seen.features, name) for name in seen.features.__slots__}),
            defects_json=storable(dumps([{"kind": d.kind, "detail": d.detail, "at": d.at} for d in window.defects]))
            if window.defects
            else "[]",
            balance_quote=None if seen.quote_balance is None else text(seen.quote_balance),
            balance_base=None if seen.base_balance is None else text(seen.base_balance),
        )
        self._observation = replace(seen, id=row_id)
        return self._observation

    def _log_candle(self, tx: Transaction, candle: Candle) -> bytes:
        """Store a bar if it is new or restated; returns its line of the window's hash."""
        known = self._bars.get(candle.opened_at)
        if known is None or known.candle != candle:
            texts = candle_texts(candle)
            known = _Bar(known.revision + 1 if known else 0, candle, bar_line(candle.opened_at, texts))
            values = dict(zip(("open", "high", "low", "close", "volume"), texts, strict=True))
            tx.insert("candles", opened_at=iso(candle.opened_at), revision=known.revision, **values)
            self._bars[candle.opened_at] = known
        return known.line

    def last_window(self) -> Window | None:
        """The window looked at last, if it is remembered."""
        return None if self._observation is None else self._observation.window

    def _remember_bars(self, first: Moment | None) -> None:
        if first is None:
            return
        if len(self._bars) > _BARS_KEPT:
            self._bars = {at: bar for at, bar in self._bars.items() if at >= first}
        if first not in self._bars:
            for row in self.db.execute(
                "SELECT opened_at, revision, open, high, low, close, volume FROM candles "
                "WHERE opened_at >= ? ORDER BY opened_at, revision",
                (iso(first),),
            ):
                candle = Candle(parse_iso(row[0]), *map(Decimal, row[2:]))
                self._bars[candle.opened_at] = _Bar(int(row[1]), candle, bar_line(candle.opened_at, row[2:]))

    def observation(self, row_id: int | None, timeframe_ms: int) -> Observation:
        """An observation with the candles it saw, as they stood then."""
        if self._observation is not None and self._observation.id == row_id:
            return self._observation
        self._lines = []
        row = self.db.execute(
            "SELECT ts_utc, trace_id, source, first_at, last_at, price, age_ms, features_json, defects_json, "
            "balance_quote, balance_base, link FROM observations WHERE id = ?",
            (row_id,),
        ).fetchone()
        if row is None:
            raise NotFoundError(f"no observation {row_id} in this ledger")
        window = Window(
            source=row[2],
            timeframe_ms=timeframe_ms,
            candles=self._candles_seen(row[3], row[4], row[11]),
            defects=tuple(Defect(**one) for one in json.loads(row[8])),
            price=None if row[5] is None else dec(row[5]),
            age_ms=row[6],
        )
        features = Features(**json.loads(row[7]))
        held = [None if value is None else dec(value) for value in row[9:11]]
        self._observation = Observation(row_id, row[1], parse_iso(row[0]), window, features, *held)
        return self._observation

    def _candles_seen(self, first_at: str | None, last_at: str | None, link: int) -> tuple[Candle, ...]:
        if first_at is None or last_at is None:
            return ()
        newest: dict[str, tuple[str, ...]] = {}
        for row in self.db.execute(
            "SELECT opened_at, open, high, low, close, volume FROM candles "
            "WHERE opened_at BETWEEN ? AND ? AND link <= ? ORDER BY opened_at, revision",
            (first_at, last_at, link),
        ):
            newest[row[0]] = tuple(row[1:])
        return tuple(Candle(parse_iso(at), *map(Decimal, texts)) for at, texts in newest.items())

    # --- decisions ---------------------------------------------------------------------------

    def log_terms(self, tx: Transaction, market: Market, costs: Costs, limits: Limits) -> str:
        """The trading rules, costs and limits a decision was made under, once each; returns their hash."""
        known = self._terms
        if known is not None and known[0] is market and known[1] is costs and known[2] is limits:
            return known[3]
        terms_json, sha256 = terms_text(market, costs, limits)
        if not self.db.execute("SELECT 1 FROM terms WHERE sha256 = ?", (sha256,)).fetchone():
            tx.insert("terms", sha256=sha256, terms_json=terms_json)
        self._terms = market, costs, limits, sha256
        return sha256

    def last_market(self) -> Market | None:
        """The trading rules of the newest decision."""
        row = self.db.execute(
            "SELECT t.terms_json FROM decisions AS d JOIN terms AS t ON t.sha256 = d.terms_sha256 "
            "ORDER BY d.id DESC LIMIT 1"
        ).fetchone()
        return read_market(json.loads(row[0])["market"]) if row else None

    def log_decision(self, tx: Transaction, agent: Agent, decision: Decision[Any], terms: str | None) -> Decision[Any]:
        """A plan, proposal or verdict, under the terms of that hash; returns it with its id and wall time."""
        row_id = tx.insert(
            "decisions",
            ts_utc=iso(decision.at),
            agent=agent.value,
            trace_id=decision.trace_id,
            payload_json=dumps(decision.payload.payload()),
            plan_id=decision.plan_id,
            proposal_id=decision.proposal_id,
            source=decision.source,
            cause=decision.cause,
            observation_id=decision.observation_id,
            model_call_id=decision.model_call_id,
            prompt_sha256=decision.prompt_sha256,
            terms_sha256=terms,
            law_json=None if decision.review is None else dumps(review_document(decision.review)),
            wake_at=None if decision.wake_at is None else iso(decision.wake_at),
        )
        made = replace(decision, id=row_id, wall_at=parse_iso(tx.wall_ts))
        said_once = made.upstream is not None or made.misconfigured is not None or made.cost_usd != ZERO
        self._newest[agent] = replace(made, upstream=None, misconfigured=None, cost_usd=ZERO) if said_once else made
        return made

    def decision(self, row_id: int) -> tuple[Agent, Decision[Any]]:
        """One decision by id. Raises NotFoundError."""
        return self._one_decision("id = ?", row_id) or missing(f"decision {row_id}")

    def ordered_since(self, observation_id: int | None) -> bool:
        """Whether an order was sent or settled after an observation, so that its balances are out of date."""
        newest = self.remembered(
            "last order event",
            ("order_events",),
            lambda: self.db.execute("SELECT link FROM order_events ORDER BY id DESC LIMIT 1").fetchone(),
        )
        seen = newest and self.db.execute("SELECT link FROM observations WHERE id = ?", (observation_id,)).fetchone()
        return newest is not None and seen is not None and newest[0] > seen[0]

    def has_decision(self, row_id: int) -> bool:
        """Whether there is a decision of that id."""
        return bool(self.db.execute("SELECT 1 FROM decisions WHERE id = ?", (row_id,)).fetchone())

    def newest_plan(self) -> Decision[Plan] | None:
        """The newest plan: the newest trace begins with it."""
        return self.newest(Agent.PLANNER)

    def newest(self, agent: Agent) -> Decision[Any] | None:
        """The newest decision of an agent."""
        if agent not in self._newest:
            found = self._one_decision("agent = ?", agent.value)
            self._newest[agent] = found[1] if found else None
        return self._newest[agent]

    def decision_of(self, trace_id: str, agent: Agent) -> Decision[Any] | None:
        """A trace's newest decision of an agent."""
        found = self._one_decision("trace_id = ? AND +agent = ?", trace_id, agent.value)
        return found[1] if found else None

    def proposal_of(self, plan_id: int) -> Decision[Proposal] | None:
        """The one proposal made under a plan."""
        newest = self.newest(Agent.TRADER)
        if newest is None or newest.id < plan_id:  # a plan's proposal comes after it
            return None
        found = self._one_decision("plan_id = ? AND agent = 'TRADER'", plan_id)
        return found[1] if found else None

    def verdict_of(self, proposal_id: int) -> Decision[Verdict] | None:
        """The one verdict on a proposal."""
        newest = self.newest(Agent.JUDGE)
        if newest is None or newest.id < proposal_id:  # a proposal's verdict comes after it
            return None
        found = self._one_decision("proposal_id = ? AND agent = 'JUDGE'", proposal_id)
        return found[1] if found else None

    def _one_decision(self, where: str, *values: Any) -> tuple[Agent, Decision[Any]] | None:
        row = self.db.execute(f"{DECISIONS} WHERE {where} ORDER BY id DESC LIMIT 1", values).fetchone()
        if row is None:
            return None
        return read_decision(row)

    def has_snapshot(self, trace_id: str) -> bool:
        """Whether a trace reached its end."""
        ended: dict[str, bool] = self.remembered("ended", ("portfolio",), dict)
        if trace_id not in ended:
            row = self.db.execute("SELECT 1 FROM portfolio WHERE trace_id = ? LIMIT 1", (trace_id,)).fetchone()
            ended[trace_id] = bool(row)
        return ended[trace_id]

    def market_time(self, began: Moment) -> Moment:
        """Virtual now: the newest trace's wake-up if it has its snapshot, else that trace's own time."""
        plan = self.newest_plan()
        if plan is None or plan.wake_at is None:
            return began
        return plan.wake_at if self.has_snapshot(plan.trace_id) else plan.at

    # --- the book ----------------------------------------------------------------------------

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

    def snapshot_portfolio(self, tx: Transaction, snapshot: Snapshot) -> int:
        """The book marked to a price. `balance_usdt` and `balance_btc` are quote and base, whatever the symbol."""
        book = snapshot.book
        row_id = tx.insert(
            "portfolio",
            ts_utc=iso(snapshot.at),
            balance_usdt=text(book.quote),
            balance_btc=text(book.base),
            unrealized_pnl_usdt=text(snapshot.unrealized),
            realized_pnl_usdt=text(book.realized),
            symbol=snapshot.symbol,
            trace_id=snapshot.trace_id,
            mark_price=text(snapshot.mark_price),
            equity_usdt=text(snapshot.equity),
            cost_usdt=text(book.cost),
            deposits_usdt=text(book.deposits),
            fees_usdt=text(book.fees),
            peak_usdt=text(snapshot.peak),
            drift_usdt=None if snapshot.drift_quote is None else text(snapshot.drift_quote),
            drift_btc=None if snapshot.drift_base is None else text(snapshot.drift_base),
        )
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
        midnight = day_start(at)
        lately, last_order_at = self.remembered(f"orders {midnight}", ("orders",), lambda: self._ordered(midnight))
        return History(
            orders_today=sum(1 for one in lately if midnight <= one <= at),
            last_order_at=last_order_at,
            day_equity=self._day_equity(midnight),
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
        known_id, run = self._lost
        newest: list[Moment] = []
        sales = self.db.execute("SELECT id, link, ts_utc FROM trades WHERE side = 'SELL' ORDER BY id DESC")
        row = first = sales.fetchone()
        while row is not None and row[0] > known_id:
            if self._realized(row[1] + 1) >= self._realized(row[1]):
                run = ()
                break
            newest.insert(0, parse_iso(row[2]))
            row = sales.fetchone()
        self._lost = (first[0] if first else 0, (*run, *newest))
        return self._lost[1]

    def _realized(self, link: int) -> Decimal:
        """The realized profit as it stood before a link: of the snapshot before it, and of the fills between."""
        after = chain.first_id(self.db, "portfolio", link)
        row = self.db.execute(
            f"SELECT {BOOK}, link FROM portfolio WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT 1", (after, after)
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

    def _day_equity(self, midnight: Moment) -> Decimal | None:
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

    def owner(self) -> Owner | None:
        """The policy of the newest BUY, with the parameters its plan gave it."""
        return self.remembered("owner", ("trades",), self._owner)

    def _owner(self) -> Owner | None:
        row = self.db.execute(
            "SELECT d.payload_json, p.payload_json FROM trades AS t LEFT JOIN decisions AS d ON d.id = t.proposal_id "
            "LEFT JOIN decisions AS p ON p.id = d.plan_id WHERE t.side = 'BUY' ORDER BY t.id DESC LIMIT 1"
        ).fetchone()
        if row is None or row[0] is None or row[1] is None:
            return None  # nothing was bought, or it was adopted without a decision
        policy_id = json.loads(row[0])["policy_id"]
        for strategy in json.loads(row[1])["strategies"]:
            if strategy["policy_id"] == policy_id:
                return Owner(policy_id, strategy["params"])
        return Owner(policy_id, {})


_NAMES = {
    "mode": "MODE",
    "exchange": "EXCHANGE_ID",
    "symbol": "SYMBOL",
    "timeframe": "TIMEFRAME",
    "market": "MARKET",
    "paper_balance": "PAPER_BALANCE_USDT",
}
"""What an operator calls the things a ledger is pinned to."""


def _same_identity(found: dict[str, str], wanted: dict[str, str], path: Path | None) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            other = f"{(path or Path('agent.db')).with_suffix('')}-{_slug(value)}.db"
            raise ConfigError(
                f'this ledger is for {_NAMES.get(key, key)} "{found.get(key)}", the settings say "{value}"',
                f'Use a ledger of its own: --db "{other}", or change the setting back.',
            )


def _slug(value: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in value.lower())[:40].strip("-")
