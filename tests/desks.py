"""Whole desks with fakes on them: a pinned ledger in memory or in a file, 200 clean bars, nothing patched."""

from __future__ import annotations

import atexit
import sqlite3
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from tests.fakes import (
    FIVE,
    NOW,
    PRICE,
    FakeClock,
    FakeExchange,
    FakeIds,
    FakeStop,
    ScriptedModel,
    bars,
    plan_words,
    proposal_words,
    verdict_words,
)
from trader_cli.core.decimals import text
from trader_cli.core.moments import iso
from trader_cli.phases.cycle import cycle
from trader_cli.phases.desk import Desk, Minds
from trader_cli.phases.judge import judge
from trader_cli.phases.plan import plan
from trader_cli.phases.propose import propose
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Costs
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Limits
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import CHECKS

LIMITS = Limits(
    deposit_cap=Decimal(500),
    live_only=False,
    max_order=None,
    max_orders_per_day=20,
    cooldown_ms=0,
    daily_loss=None,
    max_drawdown_pct=Decimal(20),
    min_confidence=0.5,
    verdict_max_age_ms=120_000,
    max_age_ms=2 * FIVE,
    max_drift_pct=Decimal("0.5"),
)
"""Limits that let a sensible order through."""

COSTS = Costs(fee_pct=Decimal("0.1"), spread_bps=Decimal(1), slippage_bps=Decimal(2))

Judged = tuple[Decision[Plan], Decision[Proposal], Decision[Verdict]]


@dataclass
class Scene:
    """A desk, with the fakes on it within reach. A scene over a file is used in a `with`, which closes it."""

    desk: Desk
    clock: FakeClock
    model: ScriptedModel
    exchange: FakeExchange
    stop: FakeStop
    ledger: Ledger
    closing: ExitStack
    locking: ExitStack

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.close()

    def unlock(self) -> None:
        """Let go of the writer lock of a file, as a loop does in its sleep."""
        self.locking.close()

    # --- acting

    def script(
        self, proposal: str | None = None, verdict: str | None = None, planned: str | None = None, cycles: int = 1
    ) -> None:
        """What all three minds will say: by default TRADE, BUY 0.001, APPROVE."""
        for _ in range(cycles):
            self.model.will_say(Agent.PLANNER, plan_words() if planned is None else planned)
            self.model.will_say(Agent.TRADER, proposal_words() if proposal is None else proposal)
            self.model.will_say(Agent.JUDGE, verdict_words() if verdict is None else verdict)

    def judged(self, proposal: str | None = None, verdict: str | None = None) -> Judged:
        """A trace up to its verdict."""
        self.script(proposal, verdict)
        planned = plan(self.desk, self.desk.new_trace())
        proposed = propose(self.desk, planned)
        return planned, proposed, judge(self.desk, planned, proposed)

    def traded(self, proposal: str | None = None) -> Cycle:
        """A whole cycle after which time moves on to the next bar."""
        self.script(proposal)
        came = cycle(self.desk)
        self.clock.advance(FIVE)
        return came

    def limit(self, **changes: Any) -> None:
        """Other limits from now on."""
        self.desk = replace(self.desk, limits=replace(self.desk.limits, **changes))

    # --- looking

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.one(f"SELECT count(*) FROM {table}"))  # noqa: S608 - our own table names

    def one(self, sql: str, *values: object) -> Any:
        """The first value of the first row."""
        return self.ledger.db.execute(sql, values).fetchone()[0]

    def column(self, sql: str, *values: object) -> list[Any]:
        """The first value of every row."""
        return [row[0] for row in self.ledger.db.execute(sql, values)]

    def counts(self) -> dict[str, int]:
        """How many rows every table of consequence has."""
        tables = ("decisions", "orders", "order_events", "fills", "trades", "portfolio", "events", "model_calls")
        return {table: self.rows(table) for table in tables}

    def problems(self) -> list[str]:
        """What `ledger verify` finds wrong, but for its slowest looks: at the pages and at the schema."""
        return [
            problem
            for name, look in CHECKS
            if not name.startswith(("pages", "tables"))
            for problem in look(self.ledger, SimpleNamespace(seen=0))  # type: ignore[arg-type]  # its own counter
        ]


def desk(
    path: Path | None = None,
    *,
    limits: Limits = LIMITS,
    deposit: Decimal | None = Decimal(1000),
    exchange: Callable[[Ledger], Any] | None = None,
    clock: FakeClock | None = None,
) -> Scene:
    """A whole desk over a fresh ledger in memory, or over the file at `path` with the writer lock held.

    `exchange` makes another exchange than the fake one out of the ledger. Without a `deposit` the ledger is that of
    an account, which it knows nothing of yet.
    """
    clock = clock or FakeClock()
    ledger = _young(deposit, clock) if path is None else Ledger.open_writer(path, clock.wall)
    closing, locking = ExitStack(), ExitStack()
    if path is None:
        weakref.finalize(ledger, ledger.db.close)  # a scene nobody closes leaves no open database behind
    else:
        closing.callback(ledger.close)
        closing.enter_context(locking)
        locking.enter_context(ledger.writing())
    _pin(ledger, deposit)
    fake, model, stop = FakeExchange(quote_held=deposit or Decimal(0)), ScriptedModel(), FakeStop()
    whole = Desk(
        clock=clock,
        ids=FakeIds(),
        minds=Minds(model, model, model),
        exchange=exchange(ledger) if exchange else fake,
        ledger=ledger,
        limits=limits,
        costs=COSTS,
        stop=stop,
        timeframe_ms=FIVE,
        ohlcv_limit=200,
    )
    return Scene(whole, clock, model, fake, stop, ledger, closing, locking)


def _young(deposit: Decimal | None, clock: FakeClock) -> Ledger:
    """A ledger in memory that is pinned and has seen the bars up to NOW: a copy, for making one takes a while."""
    # Any thread may close it: a scene that nobody closes is collected in whichever one happens to make room.
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _template(deposit).backup(db)
    db.execute("PRAGMA foreign_keys=ON")
    return Ledger(db, None, clock.wall)


@cache
def _template(deposit: Decimal | None) -> sqlite3.Connection:
    ledger = Ledger.in_memory(lambda: NOW)
    atexit.register(ledger.close)
    _pin(ledger, deposit)
    with ledger.transaction() as tx:
        for candle in bars():
            values = dict(zip(("open", "high", "low", "close", "volume"), map(text, candle[1:]), strict=True))
            tx.insert("candles", opened_at=iso(candle.opened_at), revision=0, **values)
    return ledger.db


def _pin(ledger: Ledger, deposit: Decimal | None) -> None:
    money = {} if deposit is None else {"paper_balance": text(deposit)}
    ledger.pin("test-ledger", IDENTITY | money, deposit, NOW)


IDENTITY = {
    "mode": "paper",
    "exchange": "fake",
    "symbol": "BTC/USDT",
    "timeframe": "300s",
    "market": "recorded:fake.csv",
}
"""What the ledgers of tests are pinned to."""

BUY_COST = Decimal("0.001") * PRICE * Decimal("1.00525") * Decimal("1.001")
"""What a BUY of 0.001 may cost at worst: with the tolerated drift, half the spread, the slippage and its fee."""
