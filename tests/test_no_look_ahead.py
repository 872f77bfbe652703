"""No look-ahead: whatever happens to the bars after a moment, every decision before it is the same to the byte.

Over the whole cycle: market, features, posteriors, planner, trader, law, judge, order, memory. A bar that closes after
the moment is another one; what was decided at or before it must not know.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FIVE
from tests.planted.desks import FixedPlan, planted_desk
from tests.planted.market import Edge, PlantedMarket
from tests.planted.trials import CALM_BARS, ENTRY, EXIT
from trader_cli.agents.prompts import short
from trader_cli.core.errors import TraderError
from trader_cli.core.experiments import whole_lots
from trader_cli.core.moments import Moment, iso, parse_iso
from trader_cli.core.ports import CandleSource
from trader_cli.core.posteriors import p_positive
from trader_cli.core.regimes import Regime
from trader_cli.phases.cycle import loop
from trader_cli.phases.desk import Desk
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.market import Candle
from trader_cli.tools.clock import wall_now
from trader_cli.tools.markets.simulated import SimulatedMarket
from trader_cli.tools.memory import all_learnt, read_posteriors
from trader_cli.tools.rehearsal import rehearse

pytestmark = pytest.mark.untraced

CYCLES = 60
TICK = Decimal("0.01")

Change = Callable[[Candle, Callable[[Moment], Candle]], Candle]
"""Another bar in the place of one; the bars there are can be looked up by their opening."""


def tripled(bar: Candle, of: Callable[[Moment], Candle]) -> Candle:
    """Prices no market has."""
    del of
    return bar._replace(open=bar.open * 3, high=bar.high * 3, low=bar.low * 3, close=bar.close * 3)


def fallen(bar: Candle, of: Callable[[Moment], Candle]) -> Candle:
    """A slow crash, which every check lets pass."""
    del of
    down = (bar.opened_at // FIVE) % 50
    return bar._replace(low=bar.low - 40 * down, close=bar.close - 30 * down, open=bar.open - 20 * down)


def shuffled(bar: Candle, of: Callable[[Moment], Candle]) -> Candle:
    """A bar of another hour in its place."""
    other = of(bar.opened_at + ((bar.opened_at // FIVE * 7) % 11 - 5) * FIVE)
    return other._replace(opened_at=bar.opened_at)


def senseless(bar: Candle, of: Callable[[Moment], Candle]) -> Candle:
    """What no exchange should send."""
    del of
    return bar._replace(high=bar.low - 1, volume=Decimal(-1))


CHANGES: tuple[Change, ...] = (tripled, fallen, shuffled, senseless)


@dataclass
class Rewritten:
    """A simulated market whose bars that close after `moment` are others; without a change they are the market's."""

    market: SimulatedMarket
    moment: Moment
    change: Change | None
    ends: bool = False

    def __post_init__(self) -> None:
        self.provenance = self.market.provenance
        self.timeframe_ms = self.market.timeframe_ms

    def start(self, warmup: int) -> Moment:
        """As the market's."""
        return self.market.start(warmup)

    def end(self) -> Moment | None:
        """Where it was cut off, if it was."""
        return self.moment if self.ends else None

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """The market's bars, or the others."""
        return tuple(self._bar(bar) for bar in self.market.closed(limit, now))

    def next_open(self, now: Moment) -> Candle | None:
        """The market's, or another."""
        bar = self.market.next_open(now)
        if bar is None or (self.ends and bar.opened_at + FIVE > self.moment):
            return None
        return self._bar(bar)

    def _bar(self, bar: Candle) -> Candle:
        if self.change is None or bar.opened_at + FIVE <= self.moment:
            return bar
        return self.change(bar, self._of)

    def _of(self, opened_at: Moment) -> Candle:
        return self.market.closed(1, opened_at + FIVE)[0]


class Leaking(Rewritten):
    """A source that cheats: the newest close it gives is the next bar's, or that bar's opening."""

    knows = "close"

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """Tomorrow's newspaper."""
        *bars, last = super().closed(limit, now)
        tomorrow = super().next_open(now)
        close = last.close if tomorrow is None else getattr(tomorrow, self.knows)
        return (*bars, last._replace(close=close, high=max(last.high, close), low=min(last.low, close)))


Story = list[tuple[object, ...]]


def decided(source: CandleSource, until: Moment, cycles: int = CYCLES) -> Story:
    """All that was decided at or before `until`: payloads, facts, the law's words, intents, what was learnt."""
    with planted_desk(source) as desk:
        for came in loop(desk, cycles):
            if isinstance(came, TraderError):
                break
        last = iso(until)
        rows = desk.ledger.db.execute(
            "SELECT d.ts_utc, d.agent, d.payload_json, d.source, d.cause, d.law_json, c.facts_json FROM decisions AS d "
            "LEFT JOIN model_calls AS c ON c.id = d.model_call_id WHERE d.ts_utc <= ? ORDER BY d.id",
            (last,),
        ).fetchall()
        rows += desk.ledger.db.execute(
            "SELECT ts_utc, client_order_id, side, qty, reserved_quote, law_json FROM orders WHERE ts_utc <= ? "
            "ORDER BY id",
            (last,),
        ).fetchall()
        rows += desk.ledger.db.execute(
            "SELECT key, value_json FROM memory WHERE ts_utc < ? ORDER BY id", (last,)
        ).fetchall()
    return rows


@cache
def market(seed: int) -> SimulatedMarket:
    """A simulated market; equal seeds, equal bars."""
    return SimulatedMarket("BTC/USDT", FIVE, seed, TICK)


def moment_of(seed: int, cycle: int) -> Moment:
    """When the cycle of that number is decided."""
    return market(seed).start(110) + cycle * FIVE


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@settings(max_examples=4, derandomize=True)
@given(seed=st.sampled_from((2, 3, 19, 112)), cycle=st.integers(5, CYCLES - 10))
def test_no_decision_knows_what_comes_after_it(change: Change, seed: int, cycle: int) -> None:
    moment = moment_of(seed, cycle)
    before = decided(Rewritten(market(seed), moment, None), moment)
    assert len(before) >= 3 * cycle
    assert decided(Rewritten(market(seed), moment, change), moment) == before


@settings(max_examples=4, derandomize=True)
@given(seed=st.sampled_from((2, 3, 19, 112)), cycle=st.integers(5, CYCLES - 10))
def test_a_market_that_ends_changes_nothing_before_its_end(seed: int, cycle: int) -> None:
    moment = moment_of(seed, cycle)
    cut = decided(Rewritten(market(seed), moment + FIVE, None, ends=True), moment)
    assert cut == decided(Rewritten(market(seed), moment, None), moment)


def test_the_runs_that_are_compared_trade_and_learn() -> None:
    story = decided(Rewritten(market(2), 0, None), moment_of(2, 400), 400)
    assert sum(row[2] in ("BUY", "SELL") for row in story if len(row) == 6) >= 4
    assert any(len(row) == 2 for row in story), "memory holds an outcome"


@pytest.mark.parametrize("change", [tripled, fallen], ids=lambda change: change.__name__)
def test_a_source_that_leaks_one_bar_of_the_future_is_found_out(change: Change) -> None:
    moment = moment_of(2, 30)
    assert decided(Leaking(market(2), moment, change), moment) != decided(Leaking(market(2), moment, None), moment)


def trading(path: Path | None = None) -> AbstractContextManager[Desk]:
    """A desk in a planted market that sells something every 15 bars, and learns from it."""
    planted = PlantedMarket(5, lambda block: Edge(20.0 * (block % 3), 40.0), CALM_BARS)
    return planted_desk(planted, lambda ids: FixedPlan("breakout", {"entry": ENTRY, "exit": EXIT}, ids), path)


def test_what_is_learnt_later_changes_no_answer_to_an_earlier_question() -> None:
    """By the clock: an old moment is answered as it was then, though memory has grown since."""
    known = []
    with trading() as desk:
        for came in loop(replace(desk, batch_ms=0), 150):  # each cycle is over before the next one
            assert isinstance(came, Cycle), came
            at = desk.clock.now() - 1  # the next cycle, whose moment it is, may yet sell in it
            known += [(at, here, read_posteriors(desk.ledger, at, here)) for here in Regime]
        assert len({beliefs for _, here, beliefs in known if here is Regime.RANGE}) > 100, "beliefs move"
        assert len(whole_lots((one.experiment for one in all_learnt(desk.ledger)), ())) == 10
        for at, here, then in known:
            assert read_posteriors(desk.ledger, at, here) == then


def test_what_is_written_later_reached_no_prompt_before_it(tmp_path: Path) -> None:
    """By the chain: with every row of a later link gone, the posteriors are those that the planner was told."""
    path = tmp_path / "agent.db"
    with trading(path) as desk:
        for came in loop(desk, 80):
            assert isinstance(came, Cycle), came
        told = desk.ledger.db.execute(
            "SELECT d.link, d.ts_utc, c.facts_json->>'$.regime', c.facts_json->>'$.posteriors' FROM decisions AS d "
            "JOIN model_calls AS c ON c.id = d.model_call_id WHERE d.agent = 'PLANNER' ORDER BY d.id"
        ).fetchall()
    assert len(told) == 80
    assert len({numbers for *_, numbers in told}) > 10
    for link, at, here, numbers in told[::4]:
        past = rehearse(path, wall_now, link)
        beliefs = read_posteriors(past, parse_iso(at), Regime(here))
        past.close()
        assert json.loads(numbers) == {
            one.policy_id: {
                "n": short(one.n),
                "mean_bp": short(one.mean_bp),
                "sd_bp": short(one.sd_bp),
                "p_positive": round(p_positive(one), 4),
            }
            for one in beliefs
        }


@pytest.mark.soak
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), cycle=st.integers(5, 390))
def test_no_decision_of_long_runs_knows_what_comes_after_it(change: Change, seed: int, cycle: int) -> None:
    moment = moment_of(seed, cycle)
    before = decided(Rewritten(market(seed), moment, None), moment, 400)
    assert decided(Rewritten(market(seed), moment, change), moment, 400) == before
