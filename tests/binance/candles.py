"""Prices as a function of time: a made-up, deterministic path, and what a test pinned the price to.

One path for all intervals; a bar's extremes come from nine points of it, so a day's high is not every minute's.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from decimal import Decimal
from typing import Any

from tests.binance.amounts import cut, fixed, floored
from tests.binance.symbols import Symbol

MINUTE_MS = 60_000
INTERVALS = {
    "1s": 1_000,
    **{f"{number}m": number * MINUTE_MS for number in (1, 3, 5, 15, 30)},
    **{f"{number}h": number * 60 * MINUTE_MS for number in (1, 2, 4, 6, 8, 12)},
    **{f"{number}d": number * 1_440 * MINUTE_MS for number in (1, 3)},
}
"""Milliseconds of a bar. Weeks and months are not here."""
WAVES = ((37, 500), (190, 1_500), (1_100, 4_000), (7_000, 10_000), (43_000, 20_000))
"""Minutes of a wave and its height in millionths of the price."""
POINTS = 8
AVERAGE_MINS = 5


class Prices:
    """The price of one symbol over time. Times in ms on the server's clock, prices in quote."""

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.average: Decimal | None = None
        self._around = symbol.price
        self._pinned_since: list[int] = []
        self._pinned: list[Decimal | None] = []

    def pin(self, price: Decimal | None, now: int) -> None:
        """From now on the price is this one; None leaves it to the path again."""
        place = bisect_right(self._pinned_since, now)
        self._pinned_since[place:], self._pinned[place:] = [now], [price]

    def lead_to(self, price: Decimal, now: int) -> None:
        """Move the whole history so that it comes to a price at this moment, and pin it there."""
        self._around = price * 1_000_000 / self._millionths(now)
        self.pin(self._on_tick(price), now)

    def last(self, now: int) -> Decimal:
        """The price of this moment."""
        pinned = self._pin_of(now)
        return self._path(now) if pinned is None else pinned

    def mean(self, now: int) -> Decimal:
        """The average of the last five minutes, or the one a test set."""
        if self.average is not None:
            return self.average
        points = [self.last(now - number * MINUTE_MS) for number in range(AVERAGE_MINS)]
        return cut(sum(points, Decimal(0)) / len(points))

    def klines(self, interval_ms: int, first: int, last: int, now: int) -> list[list[Any]]:
        """Bars that open in [first, last] and not after now, ascending; the newest may still be forming."""
        start = -(-first // interval_ms) * interval_ms
        return [self._bar(at, interval_ms, now) for at in range(start, min(last, now) + 1, interval_ms)]

    def _bar(self, opened_at: int, interval_ms: int, now: int) -> list[Any]:
        closes_at = opened_at + interval_ms
        until = min(closes_at, now)
        points = [self._drawn(opened_at + (until - opened_at) * part // POINTS) for part in range(POINTS)]
        points.append(self.last(now) if until < closes_at else self._drawn(closes_at))
        # Only what was traded counts for the volume, and something always was.
        traded_ms = max(1_000, until - opened_at)
        quote = Decimal(600_000 + _chance(opened_at) % 900_000) * traded_ms / MINUTE_MS
        volume = max(floored(quote / points[0], self.symbol.step), self.symbol.step)
        return [
            opened_at,
            fixed(points[0]),
            fixed(max(points)),
            fixed(min(points)),
            fixed(points[-1]),
            fixed(volume),
            closes_at - 1,
            fixed(volume * points[0]),
            max(1, traded_ms // 100),
            fixed(volume / 2),
            fixed(volume * points[0] / 2),
            "0",
        ]

    def _drawn(self, at: int) -> Decimal:
        """A point for a bar: a pinned price trembles a little, for a flat line is no market."""
        pinned = self._pin_of(at)
        if pinned is None:
            return self._path(at)
        return self._on_tick(pinned * (1_000_000 + _chance(at) % 101 - 50) / 1_000_000)

    def _path(self, at: int) -> Decimal:
        return self._on_tick(self._around * self._millionths(at) / 1_000_000)

    def _millionths(self, at: int) -> int:
        return 1_000_000 + sum(_wave(at, minutes, height) for minutes, height in WAVES) + _chance(at) % 141 - 70

    def _on_tick(self, price: Decimal) -> Decimal:
        return max(floored(price, self.symbol.tick), self.symbol.tick)

    def _pin_of(self, at: int) -> Decimal | None:
        place = bisect_right(self._pinned_since, at)
        return self._pinned[place - 1] if place else None


def _wave(at: int, minutes: int, height: int) -> int:
    """A triangle between -height and height."""
    period = minutes * MINUTE_MS
    place = 4 * height * (at % period) // period
    return place - height if place < 2 * height else 3 * height - place


def _chance(at: int) -> int:
    return zlib.crc32(str(at // 1_000).encode())
