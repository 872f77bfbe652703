"""The simulated market: any bar of any time, computed from the seed alone, with no state and no files.

A block of bars begins and ends on an anchor of seeded fractal noise; between two anchors a
volatility-clustered, fat-tailed walk is bent to meet both. Only + - * / and square roots are used:
IEEE 754 rounds them alike everywhere (exp, log, cos and, since Python 3.12, sum of floats differ), so
the bars are equal on every platform. They leave as whole ticks: no float reaches money.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from functools import lru_cache
from hashlib import blake2b
from math import copysign, fsum, sqrt
from random import Random
from typing import NamedTuple

from trader_cli.core.decimals import MONEY
from trader_cli.core.moments import Moment, ceil_to, parse_iso
from trader_cli.schemas.market import Candle

BEGINNING = parse_iso("2026-01-01")
"""Where virtual time begins. Bars exist before it, so no warm-up is lost."""

Chance = Callable[[], float]

_FIVE_MINUTES_MS = 300_000
_BLOCK_BARS = 256
_BARS_KEPT = 2048
_LEVELS = {"BTC": 60_000.0, "ETH": 3_000.0}
_TURNOVER = 6_000_000.0
"""Mean traded value of five minutes, in quote."""
_LOT = Decimal("0.000001")
_REACH = 0.95
"""Anchors stay within e^+-0.95 of the symbol's level: for BTC between about 23,000 and 155,000."""
_HEAT = 0.63
"""The GARCH state a block begins with: measured, so that a block's first move is as large as any other."""


class Regime(NamedTuple):
    """How a stretch of bars moves: its share of the usual volatility, and the pull back to where it began."""

    volatility: float
    pull: float


RANGE = Regime(0.6, 0.04)
DRIFT = Regime(0.9, 0.0)
TREND = Regime(0.7, 0.0)
TURBULENT = Regime(2.0, 0.0)


class SimulatedMarket:
    """A CandleSource that never ends and needs nothing: the same seed gives the same bars to every process.

    `tick` is the step of prices, in quote. Raises ValueError for a timeframe or tick that is not positive.
    """

    def __init__(self, symbol: str, timeframe_ms: int, seed: int, tick: Decimal) -> None:
        if timeframe_ms <= 0 or not (tick.is_finite() and tick > 0):
            raise ValueError(f"needs a positive timeframe and tick, was {timeframe_ms} ms and {tick}")
        self.provenance = f"simulated:{seed}"
        self.timeframe_ms = timeframe_ms
        self._tick = tick
        self._key = f"{seed}|{symbol}|{timeframe_ms}|".encode()
        self._sigma = min(0.0022 * sqrt(timeframe_ms / _FIVE_MINUTES_MS), 0.03)
        self._size = _block_bars(self._sigma)
        self._step = self._sigma * sqrt(self._size)
        self._octaves = tuple(_octaves(self._step))
        self._level = max(_level(symbol.partition("/")[0]) / float(tick), 10_000.0)
        turnover = _TURNOVER * timeframe_ms / _FIVE_MINUTES_MS
        self._lots = turnover / (self._level * float(tick)) / float(_LOT)
        self._block = lru_cache(maxsize=_BARS_KEPT // self._size)(self._generate)

    def start(self, warmup: int) -> Moment:
        """2026-01-01 UTC, on the grid, whatever the warm-up: there are bars before it."""
        return ceil_to(BEGINNING, self.timeframe_ms)

    def end(self) -> Moment | None:
        """None: there is always another bar."""
        return None

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """The last `limit` bars that closed at or before `now`, ascending."""
        stop = now // self.timeframe_ms
        return self._bars(max(stop - limit, 0), stop)

    def next_open(self, now: Moment) -> Candle | None:
        """The first bar that opens at or after `now`."""
        index = max(ceil_to(now, self.timeframe_ms) // self.timeframe_ms, 0)
        return self._bars(index, index + 1)[0]

    def _bars(self, first: int, stop: int) -> tuple[Candle, ...]:
        if first >= stop:
            return ()
        head, tail = first // self._size, (stop - 1) // self._size
        if head == tail:
            return self._block(head)[first - head * self._size : stop - head * self._size]
        bars = self._block(head)[first - head * self._size :]
        for block in range(head + 1, tail):
            bars += self._block(block)
        return bars + self._block(tail)[: stop - tail * self._size]

    # The anchors: where each block begins, and the weather between them.

    def _draw(self, name: str, index: int) -> float:
        return _fraction(f"{name}|{index}", self._key)

    def _anchor(self, block: int) -> float:
        """The logarithm of price/level at which `block` opens: value noise over all octaves."""
        total = 0.0
        for octave, size in enumerate(self._octaves):
            spacing = 1 << octave
            place = block + int(spacing * self._draw("phase", octave))
            cell, offset = divmod(place, spacing)
            left, right = self._draw(f"octave {octave}", cell), self._draw(f"octave {octave}", cell + 1)
            total += size * (2 * (left + (right - left) * offset / spacing) - 1)
        return total

    def _price(self, block: int) -> float:
        """The price, in ticks, at which `block` opens and the one before it closes."""
        return self._level * _exp(self._anchor(block))

    def _mood(self, block: int) -> float:
        """The slow part of volatility where `block` opens, as a share of the usual one."""
        return 0.6 + 0.8 * self._draw("mood", block)

    def _regime(self, block: int) -> Regime:
        """What the anchors do decides: far apart is a trend, near is a range; storms come by themselves."""
        if self._draw("storm", block // 2) < 0.15:
            return TURBULENT
        distance = abs(self._anchor(block + 1) - self._anchor(block)) / self._step
        return RANGE if distance < 0.4 else DRIFT if distance < 1.0 else TREND

    # The bars between two anchors.

    def _generate(self, block: int) -> tuple[Candle, ...]:
        chance = Random(int(self._draw("block", block) * 2**53))
        moves, scales = self._walk(block, chance.random)
        opened_at, before = block * self._size * self.timeframe_ms, int(self._price(block))
        bars = []
        with localcontext(MONEY):
            for close, scale in zip(self._closes(block, moves, scales), scales, strict=True):
                bars.append(self._bar(opened_at, before, close, scale, chance.random))
                opened_at, before = opened_at + self.timeframe_ms, close
        return tuple(bars)

    def _walk(self, block: int, chance: Chance) -> tuple[list[float], list[float]]:
        """Raw log returns and their scales: slow volatility x regime x GARCH(1,1), Student's t shocks.

        A regime lasts from a random bar of its block to a random bar of the next.
        """
        (volatility, pull), turn = self._regime(block - 1), int(self._draw("turn", block) * self._size)
        slow = self._sigma * self._mood(block)
        slope = (self._sigma * self._mood(block + 1) - slow) / self._size
        moves, scales = [], []
        heat, place, home = _HEAT, 0.0, 0.0
        for bar, shock in enumerate(_shocks(chance, self._size)):
            if bar == turn:
                (volatility, pull), home = self._regime(block), place
            scale = (slow + slope * bar) * volatility * sqrt(heat)
            scale = scale if scale < 0.1 else 0.1
            move = scale * shock
            move = (move if -0.2 < move < 0.2 else copysign(0.2, move)) - pull * (place - home)
            square = shock * shock
            heat = 0.05 + heat * (0.80 + 0.15 * (square if square < 9.0 else 9.0))
            heat = heat if heat < 9.0 else 9.0
            place += move
            moves.append(move)
            scales.append(scale)
        return moves, scales

    def _closes(self, block: int, moves: list[float], scales: list[float]) -> list[int]:
        """The walk bent to meet the next anchor, more where it is wilder; in ticks."""
        slack = self._anchor(block + 1) - self._anchor(block) - fsum(moves)
        share = slack / fsum(scales)
        price, closes = self._price(block), []
        for move, scale in zip(moves, scales, strict=True):
            bent = move + share * scale
            price *= 1 + bent * (1 + bent / 2 * (1 + bent / 3))
            closes.append(int(price))
        closes[-1] = int(self._price(block + 1))
        return closes

    def _bar(self, opened_at: int, before: int, close: int, scale: float, chance: Chance) -> Candle:
        """One candle from ticks: it opens near `before`, with wicks and a volume that grow with the move."""
        span = before * scale
        opened = before + int(0.04 * span * (chance() - 0.5))
        high, low = chance(), chance()
        top = max(opened, close) + int(1.2 * span * high * high)
        bottom = min(opened, close) - int(1.2 * span * low * low)
        busy = 0.3 + (0.5 * abs(close - before) / before + 0.3 * scale) / self._sigma
        lots = 1 + int(self._lots * busy * (0.4 + 1.2 * chance()))
        tick = self._tick
        return Candle(opened_at, opened * tick, top * tick, bottom * tick, close * tick, lots * _LOT)


def _level(base: str) -> float:
    """About what one `base` costs in dollars; for a coin we do not know, what its name's hash says."""
    known = _LEVELS.get(base)
    return known if known else 0.05 * 10 ** int(5 * _fraction(base)) * (1 + 9 * _fraction(base + "|"))


def _block_bars(sigma: float) -> int:
    """Fewer bars between anchors on long timeframes, so that a block's walk stays small beside `_REACH`."""
    bars = _BLOCK_BARS
    while bars > 16 and sigma * sqrt(bars) > 0.15:
        bars //= 2
    return bars


def _octaves(step: float) -> Iterator[float]:
    """Amplitudes that double in variance with each octave, as a random walk's do, until `_REACH` is used up.

    Beginning with sqrt(3)/2 of `step` makes one block's increment, summed over all octaves, vary by `step`.
    """
    size, left = 0.866 * step, _REACH
    while size <= left:
        yield size
        left -= size
        size *= sqrt(2.0)


def _fraction(name: str, key: bytes = b"") -> float:
    """A number in [0, 1) that depends on nothing but the name and the key."""
    digest = blake2b(key + name.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _shocks(chance: Chance, count: int) -> Iterator[float]:
    """Student's t with 4 degrees of freedom, variance 1, by Bailey's polar method (1994).

    Leaving out the innermost w keeps every shock within 14.1.
    """
    while count:
        u, v = 2 * chance() - 1, 2 * chance() - 1
        w = u * u + v * v
        if 1e-4 < w <= 1:
            count -= 1
            yield u * sqrt(2 * (1 / sqrt(w) - 1) / w)


def _exp(x: float) -> float:
    """e^x for |x| <= 1.5 by arithmetic alone: the series at x/32, squared five times."""
    y = x / 32
    value = 1 + y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6)))))
    for _ in range(5):
        value *= value
    return value
