"""A market whose future is another one: what was decided before must not know the difference.

Bars that close at or before a moment are as they are. Later ones are flat at the last close (`truncated`: nothing is
there to be known), or change places (`shuffled`, seeded), openings and all, so that whoever reads them decides
otherwise. What was decided is compared, not what came of it: orders fill at other prices, of course.
"""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core.moments import Moment
from trader_cli.core.ports import CandleSource
from trader_cli.schemas.market import Candle
from trader_cli.tools.ids import SeededIds

_ONE = Decimal(1)
WAYS = ("truncated", "shuffled")

_REACH = 64
"""From how many bars further on a shuffled bar may come."""


class AlteredMarket:
    """A CandleSource over another one, with its future after `moment` altered in one of `WAYS`."""

    def __init__(self, source: CandleSource, moment: Moment, way: str) -> None:
        self._source = source
        self._moment = moment
        self._way = way
        last = source.closed(1, moment)
        self._last = last[-1].close if last else None
        self.provenance = source.provenance
        self.timeframe_ms = source.timeframe_ms

    def start(self, warmup: int) -> Moment:
        """As the source's."""
        return self._source.start(warmup)

    def end(self) -> Moment | None:
        """As the source's."""
        return self._source.end()

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """The source's bars, the future ones altered."""
        return tuple(self._bar(bar) for bar in self._source.closed(limit, now))

    def next_open(self, now: Moment) -> Candle | None:
        """The source's bar, altered."""
        bar = self._source.next_open(now)
        return None if bar is None else self._bar(bar)

    def _bar(self, bar: Candle) -> Candle:
        if bar.opened_at + self.timeframe_ms <= self._moment:
            return bar
        ahead = 1 + SeededIds("shuffled").chance(str(bar.opened_at)).randrange(_REACH)
        other = self._source.next_open(bar.opened_at + ahead * self.timeframe_ms) if self._way == "shuffled" else None
        if other is not None:
            return other._replace(opened_at=bar.opened_at)
        price = bar.open if self._last is None else self._last
        return bar._replace(open=price, high=price, low=price, close=price, volume=_ONE)
