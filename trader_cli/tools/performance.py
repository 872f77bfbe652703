"""What a ledger's trading came to, read in one pass over its snapshots: memory does not grow with them.

Money is exact: `moved` is the difference of two snapshots, and the days add up to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, mul
from trader_cli.core.equity import Extremes, Stand, Walk, moved, with_costs
from trader_cli.core.moments import iso, parse_iso
from trader_cli.core.pricing import DOLLARS
from trader_cli.core.returns import sharpe, sortino
from trader_cli.schemas.performance import DAYS_A_YEAR, Deal, Mark, Money, Performance
from trader_cli.tools.exports import Span
from trader_cli.tools.ids import SeededIds
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.otherwise import FLIPS, Otherwise
from trader_cli.tools.rows import readable
from trader_cli.tools.shares import calibrated, ended_trips, model_shares, policy_shares, trips

STRETCHES, DEALS = 300, 300
"""How many stretches of a chart keep their lowest and highest point, and how many deals are drawn."""

ALL_OF_IT = Span()
_MONEY = "equity_usdt, deposits_usdt, realized_pnl_usdt, unrealized_pnl_usdt, fees_usdt"
_SNAPSHOTS = f"SELECT ts_utc, mark_price, balance_btc, {_MONEY} FROM portfolio WHERE id >= ? AND id <= ?"


def performance(ledger: Ledger, span: Span = ALL_OF_IT, name: str = "", flips: int = FLIPS) -> Performance:
    """What came of the cycles of a span of market time, beside `flips` coins at most.

    Raises LedgerError for rows that cannot be read.
    """
    with readable("the account's history"):
        return _Reading(ledger, span).performance(name, flips)


class _Reading:
    """One pass over a ledger."""

    def __init__(self, ledger: Ledger, span: Span) -> None:
        self._ledger = ledger
        self._span = span
        self._quote = (ledger.identity().get("symbol") or "/").partition("/")[2]
        self._first, self._last = _rows_of(ledger, span)
        self._begun = self._book_before()
        self._cost = self._costs()
        self._deals, self._slippage = self._trades()

    def performance(self, name: str, flips: int) -> Performance:
        """All of it."""
        walk, marks, otherwise = self._walk()
        spent = add(*self._cost.values())
        change = replace(moved(self._begun, walk.ended), model_cost=spent)
        returns = walk.full_days()
        chance = SeededIds("report").chance
        lots = ended_trips(self._ledger, self._span)
        pinned = self._ledger.identity()
        traded = add(*(mul(deal.price, deal.qty) for deal in self._deals))
        shown = self._deals[:: -(-len(self._deals) // DEALS) or 1]
        return Performance(
            name=name,
            mode=pinned.get("mode", ""),
            symbol=pinned.get("symbol", ""),
            timeframe=pinned.get("timeframe", ""),
            market=pinned.get("market", ""),
            begun=self._begun,
            ended=replace(walk.ended, model_cost=spent),
            moved=change,
            began_at=walk.began_at,
            ended_at=walk.ended_at,
            cycles=self._count_cycles(),
            trades=len(self._deals),
            gained=walk.gained,
            net_gained=self._net(walk, spent),
            fall=walk.fall,
            exposure=walk.exposure,
            turnover=float(traded) / walk.mean_equity if walk.mean_equity > 0 else None,
            slippage_bps=self._slippage,
            returns_of="1d",
            sharpe=sharpe(returns, DAYS_A_YEAR, chance("sharpe")),
            sortino=sortino(returns, DAYS_A_YEAR, chance("sortino")),
            trips=trips(lots),
            calibrated=calibrated(lots),
            baselines=otherwise.baselines(walk.ended.equity, flips) if walk.began_at is not None else None,
            days=with_costs(walk.days, self._cost),
            policies=policy_shares(self._ledger, self._span, self._last, lots),
            models=model_shares(self._ledger, self._span),
            marks=tuple(marks),
            deals=tuple(shown),
            deals_left_out=len(self._deals) - len(shown),
            returns=tuple(returns),
        )

    def _walk(self) -> tuple[Walk, Iterator[Mark], Otherwise]:
        per_day = Counter(iso(deal.at)[:10] for deal in self._deals)
        walk = Walk(self._begun, per_day.__getitem__)
        extremes: Extremes[Mark] = Extremes(self._last - self._first + 1, STRETCHES)
        otherwise = Otherwise(self._ledger, self._begun, (self._first, self._last))
        for row in self._ledger.db.execute(f"{_SNAPSHOTS} ORDER BY id", (self._first, self._last)):
            at, mark = parse_iso(row[0]), dec(row[1])
            one = Stand(at, _money(row[3:]), mul(dec(row[2]), mark))
            walk.add(one)
            held = otherwise.add(one, mark)
            equity = float(one.money.equity)
            extremes.add(equity, Mark(at, equity, held))
        walk.end()
        return walk, extremes.kept(), otherwise

    def _book_before(self) -> Money:
        row = self._ledger.db.execute(
            f"SELECT {_MONEY} FROM portfolio WHERE id < ? ORDER BY id DESC LIMIT 1", (self._first,)
        ).fetchone()
        return _money(row) if row else Money()

    def _costs(self) -> dict[str, Decimal]:
        """What models cost on each UTC day of market time, in USD."""
        found: dict[str, Decimal] = {}
        for at, cost in self._ledger.db.execute("SELECT ts_utc, cost_usd FROM model_calls WHERE cost_usd <> '0'"):
            if self._span.holds(at):
                found[at[:10]] = add(found.get(at[:10], ZERO), dec(cost))
        return found

    def _trades(self) -> tuple[list[Deal], float | None]:
        """Filled orders, and how far against us they were filled from what their proposal saw."""
        sql = (
            "SELECT t.ts_utc, t.side, t.price, t.qty, s.price FROM trades AS t "
            "LEFT JOIN decisions AS d ON d.id = t.proposal_id LEFT JOIN observations AS s ON s.id = d.observation_id "
            "ORDER BY t.id"
        )
        deals, away = [], []
        for at, side, price, qty, seen in self._ledger.db.execute(sql):
            if not self._span.holds(at):
                continue
            deals.append(Deal(parse_iso(at), side, dec(price), dec(qty)))
            if seen is not None and dec(seen) > ZERO:
                worse = float(price) / float(seen) - 1.0
                away.append(worse if side == "BUY" else -worse)
        return deals, 10_000 * sum(away) / len(away) if away else None

    def _count_cycles(self) -> int:
        bounds = ((">=", self._span.since), ("<", self._span.until))
        terms = "".join(f" AND ts_utc {sign} ?" for sign, at in bounds if at is not None)
        values = [iso(at) for _, at in bounds if at is not None]
        row = self._ledger.db.execute(
            f"SELECT count(*) FROM decisions WHERE {'+' if terms else ''}agent = 'PLANNER'{terms}", values
        ).fetchone()
        return int(row[0])

    def _net(self, walk: Walk, spent: Decimal) -> float | None:
        """The return less what models cost, as a share of the mean equity."""
        if walk.gained is None or self._quote not in DOLLARS or walk.mean_equity <= 0.0:
            return None
        return walk.gained - float(spent) / walk.mean_equity


def _rows_of(ledger: Ledger, span: Span) -> tuple[int, int]:
    """The first and the last snapshot of a span; the last one before the first where there is none."""
    first, last = ledger.db.execute("SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM portfolio").fetchone()
    sql = "SELECT id FROM portfolio WHERE ts_utc {} ? ORDER BY ts_utc {}, id {} LIMIT 1"
    for at, sign, order in ((span.since, ">=", "ASC"), (span.until, "<", "DESC")):
        if at is None:
            continue
        row = ledger.db.execute(sql.format(sign, order, order), (iso(at),)).fetchone()
        if sign == ">=":
            first = row[0] if row else last + 1
        else:
            last = row[0] if row else 0
    return int(first), max(int(last), int(first) - 1)


def _money(row: tuple[Any, ...]) -> Money:
    return Money(*map(dec, row))
