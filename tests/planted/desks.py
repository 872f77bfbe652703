"""Whole desks over a planted market: the real loop, phases, law and paper exchange on virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from tests.desks import COSTS, LIMITS
from tests.fakes import BTC, FIVE, FakeStop
from trader_cli.core.decimals import text
from trader_cli.core.ports import CandleSource, Ids, Model
from trader_cli.phases.cycle import loop
from trader_cli.phases.desk import Desk, Minds
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.market import Market
from trader_cli.schemas.question import Agent, Answer, Question
from trader_cli.tools.clock import Signals, VirtualClock, wall_now
from trader_cli.tools.exchanges.paper import PaperExchange
from trader_cli.tools.ids import SeededIds
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.models.rules import RulesModel
from trader_cli.wiring import BATCH_MS

DEPOSIT = Decimal(1_000_000)
"""So much that no series of losses brings an order near the least one."""

FINE = replace(BTC, step=Decimal("1e-8"), min_qty=Decimal("1e-8"))
"""BTC/USDT with a step as fine as its fees, so that a sale leaves no dust: one purchase, one sale, one outcome."""

FREE = replace(LIMITS, deposit_cap=None, max_orders_per_day=1_000, max_drawdown_pct=Decimal(100))
"""Limits that bind nothing here: what is measured is memory, not the brakes."""

WARMUP = 110
"""The bars of a window: all that the features and the policies look back on."""


class FixedPlan:
    """A planner that always plans one policy with the same parameters, and the rules model for the rest."""

    name = "rules"

    def __init__(self, policy_id: str, params: Mapping[str, int], ids: Ids) -> None:
        self._plan = {
            "mode": "TRADE",
            "explore_ratio": 0.0,
            "next_wakeup_secs": FIVE // 1000,
            "strategies": [{"policy_id": policy_id, "params": dict(params)}],
        }
        self._rules = RulesModel(ids)

    def answer(self, question: Question) -> Answer:
        """The plan, whatever the facts; or what the rules say."""
        if question.agent is not Agent.PLANNER:
            return self._rules.answer(question)
        return Answer(model=self.name, status="ok", text=json.dumps(self._plan), source="rules")


@contextmanager
def planted_desk(
    source: CandleSource,
    planner: Callable[[Ids], Model] = RulesModel,
    path: Path | None = None,
    bars: int = WARMUP,
    market: Market = FINE,
) -> Iterator[Desk]:
    """A desk over `source`, with a fresh ledger in memory or in the file at `path`; closed at the end."""
    ledger = Ledger.in_memory(wall_now) if path is None else Ledger.open_writer(path, wall_now)
    try:
        start = source.start(bars)
        with ledger.writing():
            ledger.pin("test-ledger", _identity(source), DEPOSIT, start)
        ids = SeededIds(source.provenance)
        rules = RulesModel(ids)
        yield Desk(
            clock=VirtualClock(lambda: ledger.market_time(start), source.timeframe_ms, Signals(), fast=True),
            ids=ids,
            minds=Minds(planner(ids), rules, rules),
            exchange=PaperExchange(ledger, source, market, COSTS, DEPOSIT),
            ledger=ledger,
            limits=FREE,
            costs=COSTS,
            stop=FakeStop(),
            timeframe_ms=source.timeframe_ms,
            ohlcv_limit=bars,
            batch_ms=BATCH_MS,
        )
    finally:
        ledger.close()


def _identity(source: CandleSource) -> dict[str, str]:
    return {
        "mode": "paper",
        "exchange": "paper",
        "symbol": FINE.symbol,
        "timeframe": "5m",
        "market": source.provenance,
        "paper_balance": text(DEPOSIT),
    }


def run(desk: Desk, cycles: int) -> list[Cycle]:
    """So many cycles of the real loop, every one of which must come to its end."""
    came = []
    for one in loop(desk, cycles):
        assert isinstance(one, Cycle), one
        came.append(one)
    return came
