"""A market in which `breakout` earns exactly what was planted, and no other policy ever trades.

Calm bars within a band are followed by a spike above it (the purchase fills at the next open, which is the spike's
close), by a dip below it (the sale fills at the next open) and by a bar that opens at the planted price and is calm
again. A fill looks at an open and a signal at closes, so that a round trip's gross return is free to be chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from tests.fakes import BTC, FIVE
from trader_cli.core.decimals import ZERO, ceil_to, floor_to, mul
from trader_cli.core.moments import Moment, parse_iso
from trader_cli.schemas.market import Candle, Costs

ORIGIN = parse_iso("2026-01-01")
"""Where the first block begins; there are bars before it."""

LEVEL = Decimal(50_000)
TICK = BTC.tick
VOLUME = Decimal(100_000)
"""What a bar trades, in base: the first level of the paper exchange holds any order of these tests."""

NOISE_BP, BAND_BP, SPIKE_BP = 14.0, 16, 40
"""Calm closes stay within NOISE of the level, calm wicks reach BAND, spikes and dips close SPIKE away: basis points."""

ACTIVE_BARS = 3
"""The spike, the dip, and the bar in which the sale fills."""

REACH = 2.5
"""Deviations are cut off at so many standard deviations, evenly, so that their mean stays the mean."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What a round trip returns before costs: its mean and standard deviation (before the cut), in basis points."""

    mean_bp: float
    spread_bp: float


def fill_prices(bought_open: Decimal, sold_open: Decimal, costs: Costs) -> tuple[Decimal, Decimal]:
    """What a purchase and a sale at these opens fill at: half the spread and one slippage off, rounded to the tick."""
    off = mul(_half_and_slip(costs), Decimal("0.0001"))
    return ceil_to(mul(bought_open, 1 + off), TICK), floor_to(mul(sold_open, 1 - off), TICK)


def net_bp(gross_bp: float, costs: Costs) -> float:
    """What is left of a gross return: in closed form, linear in it, so that it holds of means as of single trips.

    net = (1 + gross) (1 - fee)^2 (1 - h) / (1 + h) - 1, where h is half the spread plus the slippage. Ticks are left
    out: they move one trip by up to 0.004 bp.
    """
    return _kept(costs) * (10_000 + gross_bp) - 10_000


def gross_bp(net: float, costs: Costs) -> float:
    """The gross return that leaves `net`, in basis points."""
    return (10_000 + net) / _kept(costs) - 10_000


def _kept(costs: Costs) -> float:
    fee, off = float(costs.fee_pct) / 100, float(_half_and_slip(costs)) / 10_000
    return (1 - fee) ** 2 * (1 - off) / (1 + off)


def _half_and_slip(costs: Costs) -> Decimal:
    return costs.spread_bps / 2 + costs.slippage_bps


class PlantedMarket:
    """A CandleSource without an end: one round trip of `breakout` a block, of the edge that `edge_of(block)` says.

    `calm_bars` must be at least the policy's `entry`, so that a block's channel is calm.
    """

    timeframe_ms = FIVE

    def __init__(self, seed: int, edge_of: Callable[[int], Edge], calm_bars: int) -> None:
        self.provenance = f"simulated:{seed}"
        self.size = calm_bars + ACTIVE_BARS
        self._seed = seed
        self._edge_of = edge_of
        self._calm = calm_bars
        self._first = 0
        self._bars: list[Candle] = []

    def start(self, warmup: int) -> Moment:
        """ORIGIN, whatever the warm-up."""
        del warmup
        return ORIGIN

    def end(self) -> Moment | None:
        """None: there is always another bar."""
        return None

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """The last `limit` bars that closed at or before `now`."""
        stop = (now - ORIGIN) // FIVE
        return self._between(stop - limit, stop)

    def next_open(self, now: Moment) -> Candle | None:
        """The first bar that opens at or after `now`."""
        index = -((ORIGIN - now) // FIVE)
        return self._between(index, index + 1)[0]

    # --- what is planted

    def deviation(self, block: int) -> float:
        """How far the block's trip lies from its edge's mean, in spreads: Normal, cut off at REACH."""
        return min(max(Random(f"{self._seed}|trip|{block}").gauss(0.0, 1.0), -REACH), REACH)

    def opens(self, block: int) -> tuple[Decimal, Decimal]:
        """The opens at which the block's purchase and sale fill."""
        bought = _at(SPIKE_BP)
        edge = self._edge_of(block)
        gross = edge.mean_bp + edge.spread_bp * self.deviation(block)
        return bought, floor_to(mul(bought, Decimal(repr(1 + gross / 10_000))), TICK)

    def signals_at(self, block: int) -> tuple[Moment, Moment]:
        """When the block's spike and dip close: the moments of the purchase and of the sale."""
        spike = ORIGIN + (block * self.size + self._calm + 1) * FIVE
        return spike, spike + FIVE

    # --- bars

    def _between(self, first: int, stop: int) -> tuple[Candle, ...]:
        if not self._bars:
            self._first = first
        if first < self._first:
            self._bars[:0] = [self._bar(index) for index in range(first, self._first)]
            self._first = first
        while self._first + len(self._bars) < stop:
            self._bars.append(self._bar(self._first + len(self._bars)))
        return tuple(self._bars[first - self._first : stop - self._first])

    def _bar(self, index: int) -> Candle:
        block, place = divmod(index, self.size)
        chance = Random(f"{self._seed}|bar|{index}")
        opened = close = _at(chance.uniform(-NOISE_BP, NOISE_BP))
        if place < self._calm:
            opened = _at(chance.uniform(-NOISE_BP, NOISE_BP))
        elif place == self._calm:
            close = _at(SPIKE_BP)
        elif place == self._calm + 1:
            opened, close = self.opens(block)[0], _at(-SPIKE_BP)
        else:
            opened = self.opens(block)[1]
        top, bottom = max(opened, close, _at(BAND_BP)), min(opened, close, _at(-BAND_BP))
        return Candle(ORIGIN + index * FIVE, opened, top, bottom, close, VOLUME)


def _at(off_bp: float) -> Decimal:
    """The price so many basis points off the level, on the tick."""
    return floor_to(mul(LEVEL, Decimal(repr(1 + off_bp / 10_000))), TICK) if off_bp else LEVEL


def traded_bp(bought_open: Decimal, sold_open: Decimal, qty: Decimal, costs: Costs) -> Decimal:
    """What a round trip of `qty` base that is sold whole leaves of its cost, in basis points, to the last digit.

    The fee of the purchase is taken in base and that of the sale in quote, both to 1e-8, half even.
    """
    bought, sold = fill_prices(bought_open, sold_open, costs)
    rate, quantum = costs.fee_pct / 100, Decimal("1e-8")
    cost = qty * bought
    left = qty - (qty * rate).quantize(quantum)
    proceeds = left * sold
    net = proceeds - (proceeds * rate).quantize(quantum) - cost
    return net * 10_000 / cost if cost > ZERO else ZERO
