"""The market's door: the newest closed candles of an exchange, checked, with where they come from."""

from __future__ import annotations

from trader_cli.core.candles import examine
from trader_cli.core.moments import Moment
from trader_cli.core.ports import Exchange
from trader_cli.schemas.market import Window


def get_ohlcv(exchange: Exchange, timeframe_ms: int, limit: int, now: Moment, before: Window | None = None) -> Window:
    """The last `limit` bars that closed at or before `now`; whatever is wrong with them is in `defects`.

    `before` is the window looked at last: bars it has passed are not examined again.

    Raises UpstreamError when the exchange cannot be asked. Never fills in a bar.
    """
    return examine(exchange.candles(limit, now), timeframe_ms, now, limit, before)
