"""A market whose future is another one: what was decided before must not know the difference.

Bars that close at or before a moment are as they are. Later ones are flat at their own opening (`truncated`: nothing
is there to be known), or change places (`shuffled`, seeded), so that whoever reads them decides otherwise.
"""

from __future__ import annotations

from trader_cli.core.moments import Moment
from trader_cli.core.ports import CandleSource
from trader_cli.schemas.market import Candle
from trader_cli.tools.ids import SeededIds

WAYS = ("truncated", "shuffled")

_REACH = 64
"""From how many bars further on a shuffled bar may come."""


class AlteredMarket:
    """A CandleSource over another one, with its future after `moment` altered in one of `WAYS`."""

    def __init__(self, source: CandleSource, moment: Moment, way: str) -> None:
        self._source = source
        self._moment = moment
        self._way = way
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
        """The source's bar, altered but for its opening: at that an order fills."""
        bar = self._source.next_open(now)
        return None if bar is None else self._bar(bar)

    def _bar(self, bar: Candle) -> Candle:
        if bar.opened_at + self.timeframe_ms <= self._moment:
            return bar
        if self._way == "truncated":
            return bar._replace(high=bar.open, low=bar.open, close=bar.open)
        ahead = 1 + SeededIds("shuffled").chance(str(bar.opened_at)).randrange(_REACH)
        other = self._source.next_open(bar.opened_at + ahead * self.timeframe_ms) or bar
        prices = sorted((bar.open, other.close, other.open, other.high, other.low))
        return bar._replace(high=prices[-1], low=prices[0], close=other.close, volume=other.volume)
